"""Where images come from: a folder or a .zip file, both seen as a list of entries that can be read one by one.

A zip is never unpacked to disk: entries are read into memory one at a time, so no name inside it ever reaches the
file system.
"""

import lzma
import os
import re
import stat
import threading
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from learner.datasets.names import is_ignored, plural, shown
from learner.errors import DatasetError, ImageError

MAX_FILE_BYTES = 512 * 2**20
"""One image file; it is held in memory while it is checked."""
MAX_ENTRIES = 500_000
"""Files in one .zip file."""
MAX_TOTAL_BYTES = 100 * 2**30
"""What all entries of one .zip file may unpack to."""
MAX_RATIO = 200
"""Unpacked size over packed size; photos stay under 2, and only a trap unpacks to hundreds of times its size."""
RATIO_COUNTS_FROM = 16 * 2**20
"""Unpacked bytes below which the ratio does no harm: a small plain drawing may well shrink a thousandfold."""
_CHUNK_BYTES = 2**20


@dataclass(frozen=True)
class Entry:
    """One file of a source."""

    path: str
    """Relative to the source, folders parted by `/`, fit to be shown."""
    key: Any
    """What its source reads it by."""


class Source(Protocol):
    """A folder or archive that is open for reading; `read` may be called from several threads."""

    name: str
    entries: list[Entry]
    set_aside: list[tuple[str, str]]
    """(path, reason) of what cannot be read at all."""

    def read(self, entry: Entry) -> bytes:
        """The whole file. Raises ImageError when this one cannot be read, DatasetError when none should be."""

    def close(self) -> None: ...


def open_source(source: Path) -> Source:
    """Raises DatasetError when there is nothing at `source`, or neither a folder nor a readable .zip file."""
    if source.is_dir():
        return FolderSource(source)
    if source.is_file():
        return ZipSource(source)
    raise DatasetError(f"There is no folder or .zip file at {source}. Check the path, and that it is still there.")


class FolderSource:
    """A folder and all folders in it. Links to folders are not followed: they may lead in circles."""

    def __init__(self, folder: Path):
        self.name = folder.name or str(folder)
        self.entries: list[Entry] = []
        self.set_aside: list[tuple[str, str]] = []
        self._top = folder
        for here, folders, files in os.walk(folder, onerror=self._unreadable):
            linked = {name for name in folders if Path(here, name).is_symlink()}
            for name in sorted(linked):
                self._add(Path(here, name), "It is a link to a folder. Put the folder itself in its place.")
            folders[:] = sorted(name for name in folders if name not in linked and not is_ignored(f"{name}/x"))
            for name in sorted(files):
                self._add(Path(here, name))

    def _add(self, file: Path, reason: str = "") -> None:
        path = shown(file.relative_to(self._top).as_posix())
        if is_ignored(path):
            return
        if reason:
            self.set_aside.append((path, reason))
        else:
            self.entries.append(Entry(path, file))

    def _unreadable(self, error: OSError) -> None:
        if Path(error.filename) == self._top:
            raise DatasetError(f"The folder {self._top} cannot be opened: {error.strerror}. Change its permissions.")
        self._add(
            Path(error.filename),
            f"This folder cannot be opened: {error.strerror}. Change its permissions and try again.",
        )

    def read(self, entry: Entry) -> bytes:
        try:
            facts = entry.key.stat()
            if not stat.S_ISREG(facts.st_mode):
                raise ImageError("It is not a plain file. Put the image itself in its place.")
            _check_size(facts.st_size)
            return entry.key.read_bytes()
        except OSError as error:
            raise ImageError(f"It cannot be opened: {error.strerror}. Check that it is there and readable.") from error

    def close(self) -> None:
        pass


class ZipSource:
    """A .zip file. Sizes in its headers are claims; what counts is measured while reading."""

    def __init__(self, file: Path):
        self.name = file.name
        self.entries: list[Entry] = []
        self.set_aside: list[tuple[str, str]] = []
        self._packed_bytes = file.stat().st_size
        self._unpacked_bytes = 0
        self._counting = threading.Lock()
        try:
            self._zip = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, ValueError, EOFError, NotImplementedError) as error:
            raise DatasetError(
                f"{file.name} is not a .zip file, or it is damaged or was not uploaded completely. "
                "Make it again with your computer's own “compress” command, or use a folder."
            ) from error
        except OSError as error:
            raise DatasetError(f"{file} cannot be opened: {error.strerror}. Change its permissions.") from error
        try:
            self._list()
        except BaseException:
            self.close()
            raise

    def _list(self) -> None:
        infos = self._zip.infolist()
        if len(infos) > MAX_ENTRIES:
            raise DatasetError(
                f"{self.name} holds {len(infos):,} files; at most {MAX_ENTRIES:,} can be taken in at once. "
                "Split it into several archives."
            )
        taken: set[str] = set()
        for info in infos:
            name = info.filename.replace("\\", "/")
            path = shown(name)
            if info.is_dir() or name.endswith("/") or is_ignored(path):
                continue
            reason = _refusal(info, name, taken)
            if reason:
                self.set_aside.append((path, reason))
            else:
                path = "/".join(part for part in path.split("/") if part not in ("", "."))
                taken.add(path)
                self.entries.append(Entry(path, info))

    def read(self, entry: Entry) -> bytes:
        chunks: list[bytes] = []
        size = 0
        try:
            with self._zip.open(entry.key) as stream:
                while chunk := stream.read(_CHUNK_BYTES):
                    chunks.append(chunk)
                    size += len(chunk)
                    self._count(len(chunk))
                    _check_size(size)
                    _check_ratio(size, entry.key.compress_size)
        except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError) as error:
            raise ImageError("This part of the .zip file is damaged. Make the .zip file again.") from error
        except (NotImplementedError, RuntimeError) as error:
            raise ImageError("It is packed in a way that cannot be read here. Make an ordinary .zip file.") from error
        return b"".join(chunks)

    def _count(self, size: int) -> None:
        with self._counting:
            self._unpacked_bytes += size
            total = self._unpacked_bytes
        if total > MAX_TOTAL_BYTES:
            raise DatasetError(
                f"{self.name} unpacks to more than {MAX_TOTAL_BYTES / 2**30:.0f} GB, the most taken in at once. "
                "Split it into several archives, or save the images smaller."
            )
        if total > 4 * RATIO_COUNTS_FROM and total > MAX_RATIO * self._packed_bytes:
            raise DatasetError(
                f"{self.name} unpacks to more than {MAX_RATIO} times its size, which photos never do. "
                "Make the .zip file again from the images themselves."
            )

    def close(self) -> None:
        self._zip.close()


def _refusal(info: zipfile.ZipInfo, name: str, taken: set[str]) -> str:
    """Why an entry is set aside unread; empty when nothing speaks against it."""
    if name.startswith("/") or re.match(r"[A-Za-z]:", name) or ".." in name.split("/"):
        return "Its name points to a place outside the .zip file. Make the .zip file again from one folder."
    if stat.S_ISLNK(info.external_attr >> 16):
        return "It is a link, not an image. Put the image itself into the .zip file."
    if info.flag_bits & 0x1:
        return "It is protected by a password. Make the .zip file again without one."
    if shown(name) in taken:
        return "The .zip file holds this name twice; the first one was taken. Give each file its own name."
    return ""


def _check_size(size: int) -> None:
    if size > MAX_FILE_BYTES:
        raise ImageError(f"It is larger than {MAX_FILE_BYTES // 2**20} MB. Save the image smaller.")


def _check_ratio(size: int, packed: int) -> None:
    if size > RATIO_COUNTS_FROM and size > MAX_RATIO * max(packed, 1):
        raise ImageError(f"It unpacks to more than {MAX_RATIO} times its size, which no photo does. Leave it out.")


def describe_kinds(paths: list[str]) -> str:
    """`12 files (8 .txt, 4 .pdf)`, for messages that say what was found."""
    kinds: dict[str, int] = {}
    for path in paths:
        suffix = Path(path).suffix.lower() or "without a suffix"
        kinds[suffix] = kinds.get(suffix, 0) + 1
    most = sorted(kinds.items(), key=lambda kind: (-kind[1], kind[0]))[:4]
    return f"{plural(len(paths), 'file')} ({', '.join(f'{count:,} {kind}' for kind, count in most)})"
