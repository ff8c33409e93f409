"""Who looks at the pages: nobody in particular on one's own machine, or somebody who has signed in.

Sign-in is on where Streamlit's secrets have a section `auth` (docs/sign-in.md). Then every page, route and address asks
`enter` for the workspace that it may work in, and nothing else gives it one.
"""

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import streamlit as st
from streamlit.auth_util import get_cookie_with_chunks
from streamlit.runtime.secrets import secrets_singleton
from streamlit.web.server.server_util import get_cookie_secret
from streamlit.web.server.starlette.starlette_app_utils import decode_signed_value
from streamlit.web.server.starlette.starlette_server_config import USER_COOKIE_NAME

from learner.datasets.disk import bytes_in
from learner.errors import AccessError, DatasetError
from learner.people import Person, Quotas, read_people, space_of
from learner.wording import file_size
from learner.workspace import Workspace

SPACE = "space"
"""In the address: the space that a page shows."""


OPEN_SETTING = "THAW_OPEN"
"""`yes`: others may reach the server although nobody is asked to sign in."""
_OWN = ("localhost", "127.0.0.1", "::1")
LOOK_AGAIN_S = 30
"""How long the size of a space is taken for what it was."""


@lru_cache(maxsize=256)
def _bytes_used(root: Path, _moment: int) -> int:
    return bytes_in(root)


@dataclass(frozen=True)
class Entered:
    """A place that somebody may work in."""

    workspace: Workspace
    space: str = ""
    """Its name; empty without sign-in, where there is one workspace and nobody is asked."""
    person: Person | None = None
    spaces: tuple[str, ...] = ()
    """All that the person may enter."""
    quotas: Quotas = field(default_factory=Quotas)

    def require_room(self) -> None:
        """Raises DatasetError where the space has as many files as it may."""
        limit = self.quotas.disk_gb * 1e9
        if limit and (used := _bytes_used(self.workspace.root, round(time.monotonic() / LOOK_AGAIN_S))) >= limit:
            raise DatasetError(
                f"This space is full: it has {file_size(used)} of the {file_size(round(limit))} that it may have. "
                "Delete data sets or runs, or clear the cache."
            )

    @property
    def may_change(self) -> bool:
        return self.person is None or self.person.role != "viewer"

    @property
    def for_reading(self) -> str:
        """Why nothing may be changed; empty where all may be."""
        return "" if self.may_change else "Your role is viewer: you may look and predict, and change nothing."


def sign_in_is_on() -> bool:
    return bool(secrets_singleton.load_if_toml_exists() and secrets_singleton.get("auth"))


def enter(claims: Mapping[str, Any], space: str | None) -> Entered:
    """The workspace of that space for whoever has these claims of the identity provider; his own one without a name.

    Raises AccessError for somebody who has not signed in or may not enter, in the same words whether a space is
    another's or there is none of that name.
    """
    top = Workspace.current()
    if not sign_in_is_on():
        return Entered(top)
    address = str(claims.get("email") or "")
    if not claims.get("is_logged_in") or not address:
        raise AccessError("Sign in first.")
    if claims.get("email_verified") is False:
        raise AccessError(f"{address} is not verified by its provider, so it may not enter.")
    people = read_people(top)
    person = people.person(address)
    if person is None:
        raise AccessError(f"{address} may not enter here. Ask whoever runs this Thaw to name you in people.yaml.")
    spaces = tuple(people.spaces_of(person, top))
    chosen = space or person.name
    if chosen not in spaces:
        raise AccessError(f"There is no space {chosen!r} for you here.")
    return Entered(space_of(top, chosen), chosen, person, spaces, people.quotas)


def claims_of(cookies: Mapping[str, str]) -> dict[str, Any]:
    """What the signed cookie of a request says; empty without one, or with one that is not ours."""
    secret = get_cookie_secret()

    def part(name: str) -> bytes | None:
        signed = cookies.get(name)
        return None if signed is None else decode_signed_value(secret, name, signed.encode("latin-1", "replace"))

    cookie = get_cookie_with_chunks(part, USER_COOKIE_NAME)
    try:
        found = json.loads(cookie) if cookie else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def entered() -> Entered:
    """Where this page works. Raises AccessError."""
    if not sign_in_is_on():
        return Entered(Workspace.current())
    found = enter(st.user.to_dict(), st.query_params.get(SPACE))
    if st.query_params.get(SPACE) != found.space:
        st.query_params[SPACE] = found.space
    return found


def is_open_to_others() -> bool:
    """Whether the server listens on more than this machine, and asks nobody to sign in."""
    return str(st.get_option("server.address") or "") not in _OWN and not sign_in_is_on()


def may_be_open() -> bool:
    return os.environ.get(OPEN_SETTING, "").lower() in ("yes", "1", "true")
