"""Who may speak to the server, and what a page of it may load: one middleware around all routes.

A web site that a person visits can make its own name point at this machine (DNS rebinding); the browser then takes
Thaw for a part of that site. The name still stands in the `Host` header, so only known names are answered.
"""

import base64
import hashlib
import ipaddress
import os
import re
import socket
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import streamlit as st
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HOSTS_SETTING = "THAW_HOSTS"
"""More names under which the server may be reached, with commas between them."""
_THIS_MACHINE = frozenset({"localhost", "127.0.0.1", "::1"})
_ALL_ADDRESSES = frozenset({"", "0.0.0.0", "::"})
_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_REFUSED = (
    f"Thaw does not answer under this name. Open it as http://localhost with its port. If it shall be reached under "
    f"another name, whoever runs it adds that name to {HOSTS_SETTING}.\n"
)


class Guard:
    """Answers known names only, and says to browsers what the pages may load and who may show them."""

    def __init__(self, app: ASGIApp):
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
        elif is_welcome(scope):
            await self._app(scope, receive, _with_headers(send, Headers(scope=scope)["host"]))
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        else:
            await PlainTextResponse(_REFUSED, status_code=421)(scope, receive, send)


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
            "frame-ancestors 'self'",
        ]
    )


@cache
def _inline_scripts() -> str:
    """What Streamlit's own page runs without a file, by content."""
    page = (Path(st.__file__).parent / "static" / "index.html").read_text("utf-8")
    digests = [hashlib.sha256(script.encode()).digest() for script in re.findall(r"<script>(.*?)</script>", page, re.S)]
    return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
