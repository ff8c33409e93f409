"""What of a run's files lies on this machine, in pieces, and which state of the object store's that is.

A note in the run's folder says it, so that nothing is read twice and nobody puts an older file over a newer one.
"""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from learner.atomic import read_json, write_json
from learner.store.pieces import PIECE_BYTES

NOTE = ".kept.json"
_OWN = {"log.txt"}
"""Stays on the machine that writes to it."""
_UNFINISHED = (".part", ".back")


@dataclass
class Noted:
    """What the note in a run's folder says."""

    states: list[str] = field(default_factory=list)
    """The state of the store's (`Run.files`) that these files were, two of them while the next is written. As long as
    it is still that, whatever differs here is newer than the store's."""
    files: dict[str, list[Any]] = field(default_factory=dict)
    """By path: bytes, time of change, and the pieces as they were then."""
    absent: list[str] = field(default_factory=list)
    """Paths of what only the store has: nobody needed it here."""

    @classmethod
    def read(cls, folder: Path) -> "Noted":
        try:
            return cls(**read_json(folder / NOTE, {}))
        except (ValueError, TypeError):
            return cls()

    def write(self, folder: Path) -> None:
        """Written beside the run's own files, which only the holder of the run may replace; so not by way of them."""
        write_json(folder / NOTE, asdict(self))

    def pieces_of(self, name: str, file: Path) -> list[str]:
        """The pieces of a file, read only where it has changed since. Raises OSError where it is gone."""
        stat = file.stat()
        known = self.files.get(name)
        if known is None or known[:2] != [stat.st_size, stat.st_mtime_ns]:
            known = self.files[name] = [stat.st_size, stat.st_mtime_ns, list(_digests(file))]
        return list(known[2])


@dataclass(frozen=True)
class Kept:
    """One file as the store has it, or is to have it."""

    bytes: int
    pieces: list[str]


def files_in(folder: Path) -> dict[str, Path]:
    """What of a run's folder is kept, by path."""
    found = {}
    for file in folder.rglob("*") if folder.is_dir() else ():
        name = file.relative_to(folder)
        hidden = any(part.startswith(".") for part in name.parts)
        if not hidden and file.is_file() and name.name not in _OWN and file.suffix not in _UNFINISHED:
            found[name.as_posix()] = file
    return found


def snapshot(folder: Path, to: Path) -> None:
    """Second names for a run's files in the folder `to`, which stay what they are when the run writes new ones."""
    for name, file in files_in(folder).items():
        target = to / name
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(file, target)
        except OSError:
            shutil.copy2(file, target)


def reader(file: Path, index: int) -> Callable[[], bytes]:
    """Reads that piece of a file."""

    def read() -> bytes:
        with file.open("rb") as opened:
            opened.seek(index * PIECE_BYTES)
            return opened.read(PIECE_BYTES)

    return read


def piece_sizes(size: int, pieces: int) -> list[int]:
    """Of a file of that size."""
    return [min(PIECE_BYTES, size - index * PIECE_BYTES) for index in range(pieces)]


def _digests(file: Path) -> Iterator[str]:
    with file.open("rb") as opened:
        data = opened.read(PIECE_BYTES)
        while True:
            yield hashlib.sha256(data).hexdigest()
            data = opened.read(PIECE_BYTES)
            if not data:
                return
