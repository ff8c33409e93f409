"""Who may speak to the server, and what a page of it may load: one middleware around all routes.

A web site that a person visits can make its own name point at this machine (DNS rebinding); the browser then takes
Thaw for a part of that site. The name still stands in the `Host` header, so only known names are answered.
"""

import base64
import hashlib
import hmac
import ipaddress
import os
import re
import socket
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import streamlit as st
from limits import parse
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from learner.errors import AccessError
from ui import people
from ui.web.entering import entered_by

HOSTS_SETTING = "THAW_HOSTS"
"""More names under which the server may be reached, with commas between them."""
FRAMES_SETTING = "THAW_FRAMED_BY"
"""Sites whose pages may show Thaw in a frame, with spaces between them: a Space's page does."""
_THIS_MACHINE = frozenset({"localhost", "127.0.0.1", "::1"})
_ALL_ADDRESSES = frozenset({"", "0.0.0.0", "::"})
_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_REFUSED = (
    f"Thaw does not answer under this name. Open it as http://localhost with its port. If it shall be reached under "
    f"another name, whoever runs it adds that name to {HOSTS_SETTING}.\n"
)


OPEN = (
    "Thaw listens where others can reach it, and asks nobody to sign in, so it does not answer. Set sign-in up "
    f"(docs/sign-in.md), or set {people.OPEN_SETTING}=yes if everybody who can reach it may see and change all of it.\n"
)
_NO_SIGN_IN = frozenset(
    {
        "/",
        "/favicon.png",
        "/manifest.json",
        "/health",
        "/auth/login",
        "/auth/logout",
        "/oauth2callback",
        "/_stcore/health",
        "/_stcore/host-config",
        "/_stcore/stream",  # what it carries are pages, each of which asks
    }
)
PROBE_SETTING = "THAW_PROBE_TOKEN"
"""With sign-in, `/ready` and `/metrics` answer programs that send this as a bearer token."""
_PROBED = frozenset({"/ready", "/metrics"})
_PAGES = frozenset({"/home", "/data", "/train", "/runs", "/results", "/predict"})
"""Addresses at which the browser gets Streamlit's own files and nothing of anybody's."""
RATES = {
    ("GET", "/auth/login"): "120/minute",  # a class behind one address comes at once
    ("GET", "/oauth2callback"): "120/minute",
    ("POST", "/api/uploads"): "120/minute",
    ("POST", "/api/live"): "1800/minute",  # two cameras of one person, as fast as they go
}
"""How often a person, or an address that has not signed in, may ask for what costs much or can be guessed at."""


def needs_no_sign_in(path: str) -> bool:
    """Whether an address has nothing of anybody's; every other one is for people who have signed in."""
    return path in _NO_SIGN_IN or path.rstrip("/") in _PAGES or path.startswith("/static/")


def is_probe(scope: Scope) -> bool:
    """Whether a program that watches the server asks, with the token that whoever runs it has set."""
    token = os.environ.get(PROBE_SETTING, "")
    said = Headers(scope=scope).get("authorization", "")
    return scope["path"] in _PROBED and bool(token) and hmac.compare_digest(said.encode(), f"Bearer {token}".encode())


class Rates:
    """Counts requests by who sends them, within the last minute."""

    def __init__(self):
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self._rates = {asked: parse(rate) for asked, rate in RATES.items()}

    def allow(self, scope: Scope, who: str) -> bool:
        rate = self._rates.get((scope.get("method", ""), scope["path"]))
        return rate is None or self._limiter.hit(rate, who, scope["path"])


class Guard:
    """Answers known names only, and says to browsers what the pages may load and who may show them."""

    def __init__(self, app: ASGIApp):
        self._app = app
        self._rates = Rates()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is None:
            await self._app(scope, receive, _with_headers(send, Headers(scope=scope)["host"]))
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        else:
            await refusal(scope, receive, send)

    def _refusal(self, scope: Scope) -> ASGIApp | None:
        """Why a request is not answered; None where it is."""
        if not is_welcome(scope):
            return PlainTextResponse(_REFUSED, 421)
        if people.is_open_to_others() and not people.may_be_open():
            return PlainTextResponse(OPEN, 403)
        who = ""
        if people.sign_in_is_on() and not needs_no_sign_in(scope["path"]) and not is_probe(scope):
            request = HTTPConnection(scope)
            try:
                place = entered_by(request)
            except AccessError as error:
                signed_in = bool(people.claims_of(request.cookies))
                return JSONResponse({"error": str(error)}, 404 if signed_in else 401)
            who = place.person.name if place.person else ""
        client = scope.get("client") or ("", 0)
        if not self._rates.allow(scope, who or client[0]):
            return PlainTextResponse("Too many requests in a short time. Wait a minute.\n", 429, {"Retry-After": "60"})
        return None


def is_welcome(scope: Scope) -> bool:
    """Whether a request names this server as its host, and what changes anything comes from a page of it."""
    headers = Headers(scope=scope)
    hosts = headers.getlist("host")
    if len(hosts) != 1 or not _is_allowed(hosts[0]):
        return False
    reads = scope["type"] == "http" and scope["method"] in _READING
    origin = headers.get("origin")
    return reads or origin is None or _is_allowed(urlsplit(origin).netloc)


def _is_allowed(netloc: str) -> bool:
    """`netloc` is a name or address, with or without a port."""
    try:
        name = urlsplit(f"//{netloc}").hostname or ""
    except ValueError:
        return False
    name = name.rstrip(".")
    if "@" in netloc or not name:
        return False
    if name in _THIS_MACHINE or name in _more_names():
        return True
    address = str(st.get_option("server.address") or "")
    if address not in _ALL_ADDRESSES:
        return name == address.lower()
    # Open to the network: by this machine's own name, and by address, which no other site can make its own.
    own = socket.gethostname().lower()
    return name in (own, f"{own}.local") or _is_address(name)


def _more_names() -> set[str]:
    named = {name.strip().lower() for name in os.environ.get(HOSTS_SETTING, "").split(",")}
    return {*named, str(st.get_option("browser.serverAddress") or "").lower()} - {""}


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _with_headers(send: Send, host: str) -> Send:
    async def send_(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["Content-Security-Policy"] = _policy(host)
            headers["X-Content-Type-Options"] = "nosniff"
            headers["Referrer-Policy"] = "no-referrer"
            if not os.environ.get(FRAMES_SETTING):  # the header knows no list; browsers that know the policy ignore it
                headers["X-Frame-Options"] = "SAMEORIGIN"
        await send(message)

    return send_


def _policy(host: str) -> str:
    """As strict as Streamlit bears. Nothing may be fetched from anywhere else.

    Vega compiles expressions (`unsafe-eval`), emotion writes styles into the page, and components of our own come as
    `blob:` modules.
    """
    return "; ".join(
        [
            "default-src 'self'",
            f"script-src 'self' blob: 'unsafe-eval' {_inline_scripts()}",
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data: blob:",
            "media-src 'self' data: blob:",
            "font-src 'self' data:",
            "worker-src 'self' blob:",
            f"connect-src 'self' data: blob: ws://{host} wss://{host}",  # not every browser counts ws: to 'self'
            "frame-src 'self' blob:",
            "object-src 'none'",
            "base-uri 'self'",
            "form-action 'self'",
            f"frame-ancestors 'self' {os.environ.get(FRAMES_SETTING, '')}".rstrip(),
        ]
    )


@cache
def _inline_scripts() -> str:
    """What Streamlit's own page runs without a file, by content."""
    page = (Path(st.__file__).parent / "static" / "index.html").read_text("utf-8")
    digests = [hashlib.sha256(script.encode()).digest() for script in re.findall(r"<script>(.*?)</script>", page, re.S)]
    return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
