"""Who may do what where pages ask people to sign in: roles, spaces, and how much a space may take.

A space is a workspace of its own, a folder under `spaces/` of the top one: data sets, runs, files, all of it. Everybody
has one, and some are shared. What lies in a space that a person does not belong to has no name and no number there.
"""

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import quote, unquote

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked
from yaml import YAMLError, safe_load

from learner.errors import AccessError
from learner.workspace import Workspace

Role = Literal["viewer", "trainer", "admin"]
"""A viewer looks and predicts; a trainer also changes what is in their spaces; an admin does so in all spaces."""
TOP = "top"
"""The space that is the top workspace itself: what commands made there, and what was there before sign-in."""


@dataclass(frozen=True)
class Person:
    """Somebody who has signed in."""

    name: str
    """The address that the identity provider vouches for, in small letters."""
    role: Role


_CLOSED = ConfigDict(extra="forbid")


@checked(frozen=True, config=_CLOSED)
class _Rule:
    who: str
    role: Role


@checked(frozen=True, config=_CLOSED)
class _Shared:
    members: tuple[str, ...]


@checked(frozen=True, config=_CLOSED)
class Quotas:
    """What one space may take; 0 is no limit."""

    disk_gb: Annotated[float, Field(ge=0)] = 0
    """Of all its files, caches too. Nothing more comes in beyond it."""
    queued: Annotated[int, Field(ge=0)] = 0
    """Runs that wait."""
    running: Annotated[int, Field(ge=0)] = 0
    """Runs that train at the same time."""


@checked(frozen=True, config=_CLOSED)
class People:
    """What `people.yaml` says. Addresses may hold `*`; the first rule that fits counts."""

    people: tuple[_Rule, ...] = ()
    spaces: dict[str, _Shared] = Field(default_factory=dict)
    """Shared spaces and who belongs to them."""
    quotas: Quotas = Field(default_factory=Quotas)

    def person(self, address: str) -> Person | None:
        """None for somebody whom no rule names."""
        name = address.strip().lower()
        rule = next((rule for rule in self.people if fnmatchcase(name, rule.who.lower())), None)
        return Person(name, rule.role) if rule and _is_address(name) else None

    def spaces_of(self, person: Person, workspace: Workspace) -> list[str]:
        """Names of the spaces that a person may enter, their own first. `workspace` is the top one."""
        shared = [
            name
            for name, space in self.spaces.items()
            if any(fnmatchcase(person.name, who.lower()) for who in space.members)
        ]
        found = [person.name, *shared]
        if person.role == "admin":
            found += [*self.spaces, TOP, *existing_spaces(workspace)]
        return list(dict.fromkeys(found))


_ADAPTER = TypeAdapter(People)


def read_people(workspace: Workspace) -> People:
    """`people.yaml` of the top workspace. Raises AccessError where it is missing or wrong: then nobody may enter."""
    file = workspace.people_file
    try:
        written = file.stat()
    except OSError:
        raise AccessError(
            f"Sign-in is set up, but {file} is missing, so nobody may enter. Write there who may: see docs/sign-in.md."
        ) from None
    return _read(file, written.st_mtime_ns, written.st_size)


@lru_cache(maxsize=8)
def _read(file: Path, _changed_ns: int, _size: int) -> People:
    try:
        values = safe_load(file.read_text("utf-8"))
        found = _ADAPTER.validate_python(values or {})
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        raise AccessError(f"{file} cannot be read, so nobody may enter: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        raise AccessError(f"{file} is wrong, so nobody may enter: {_problems(error)}") from None
    wrong = [name for name in found.spaces if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,40}", name) or name == TOP]
    if wrong:
        raise AccessError(
            f"{file} names a space {wrong[0]!r}, so nobody may enter. A space's name has small letters, digits, - and "
            f"_, and is not {TOP!r}."
        )
    return found


def space_of(workspace: Workspace, name: str) -> Workspace:
    """The workspace of a space; `workspace` is the top one."""
    return workspace if name == TOP else Workspace(workspace.spaces / quote(name, safe="@+-_."))


def existing_spaces(workspace: Workspace) -> list[str]:
    """Names of the spaces that have a folder."""
    folders = workspace.spaces.glob("*") if workspace.spaces.is_dir() else ()
    return sorted(unquote(folder.name) for folder in folders if folder.is_dir())


def all_workspaces(workspace: Workspace) -> list[Workspace]:
    """The top one and those of its spaces: what a worker serves."""
    if not workspace.people_file.exists():
        return [workspace]
    return [workspace, *(space_of(workspace, name) for name in existing_spaces(workspace))]


def _is_address(name: str) -> bool:
    return len(name) <= 100 and re.fullmatch(r"[^\s/\\@\x00-\x1f]+@[^\s/\\@\x00-\x1f]+", name) is not None


def _problems(error: ValidationError) -> str:
    return "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
