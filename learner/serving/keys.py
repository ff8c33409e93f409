"""API keys: who may ask a served model. Only their hashes are kept, in one small file."""

import hashlib
import hmac
import json
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock

from learner.atomic import write_json
from learner.errors import AccessError

PREFIX = "thaw_"
"""A key's beginning, by which scanners for leaked secrets can know it."""
_BYTES = 32
_NAME = re.compile(r"[\w.@ -]{1,60}")


@dataclass(frozen=True)
class Key:
    """One key, without what would let anybody use it."""

    name: str
    """Whose it is; no two have the same."""
    sha256: str
    """Of the whole key. It has 256 random bits, so that one round of hashing is enough."""
    made_at: float
    """Seconds since 1970."""


class Keys:
    """The keys in a file. A change holds at once, in servers that run too."""

    def __init__(self, file: Path):
        self.file = file
        self._known: list[Key] = []
        self._state: tuple[int, ...] | None = None

    def add(self, name: str) -> str:
        """Make a key for `name`; returns it, for the only time. Raises AccessError."""
        if not _NAME.fullmatch(name.strip()):
            raise AccessError(
                f"{name!r} cannot name a key. Use 1 to 60 letters, digits, spaces, and the signs . @ - and _."
            )
        key = PREFIX + secrets.token_urlsafe(_BYTES)
        with self._changing() as keys:
            if any(one.name == name.strip() for one in keys):
                raise AccessError(f"There is a key named {name.strip()!r} already. Name another, or revoke that first.")
            keys.append(Key(name.strip(), _hash(key), time.time()))
        return key

    def revoke(self, name: str) -> None:
        """Let the key of that name open nothing any more. Raises AccessError."""
        with self._changing() as keys:
            left = [one for one in keys if one.name != name.strip()]
            if len(left) == len(keys):
                named = ", ".join(one.name for one in keys) or "none"
                raise AccessError(f"There is no key named {name.strip()!r}. Keys: {named}.")
            keys[:] = left

    def all(self) -> list[Key]:
        """By age, the oldest first. Raises AccessError where the file cannot be understood."""
        try:
            stat = self.file.stat()
        except FileNotFoundError:
            return []
        state = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        if state != self._state:
            try:
                self._known = [Key(**one) for one in json.loads(self.file.read_text("utf-8"))["keys"]]
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise AccessError(
                    f"The keys in {self.file} cannot be read ({error}). Bring the file back from a backup, or remove "
                    "it and make new keys."
                ) from error
            self._state = state
        return list(self._known)

    @property
    def exist(self) -> bool:
        """Whether a key was ever made, though all may be revoked."""
        return self.file.exists()

    def owner(self, key: str) -> str | None:
        """Whose key it is; None where it is nobody's."""
        said, found = _hash(key), None
        for one in self.all():  # all of them, so that the time taken tells nothing
            if hmac.compare_digest(one.sha256, said):
                found = one.name
        return found

    @contextmanager
    def _changing(self) -> Iterator[list[Key]]:
        """All keys, to be changed; written at the end of the block unless it failed."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self.file.with_name(f".{self.file.name}.lock")):
            keys = self.all()
            yield keys
            write_json(self.file, {"keys": [asdict(one) for one in keys]})


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
