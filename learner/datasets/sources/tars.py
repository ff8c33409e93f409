"""A .tar file, plain or compressed. Entries are read at their place in it, so no name inside reaches the file system.

A compressed one is decompressed once, into a file without a name that vanishes with the process that wrote it.
"""

import bz2
import gzip
import io
import lzma
import os
import re
import tarfile
import tempfile
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from learner.datasets.names import is_ignored
from learner.datasets.sources import limits
from learner.datasets.sources.entries import Cancelled, Entry, Progress
from learner.datasets.sources.entry_names import EMPTY, Places, read_name
from learner.errors import DatasetError, ImageError, ImportCancelled

_XZ_MEMORY_BYTES = 256 * 2**20
"""`xz -9`, the strongest setting, needs 65 MB."""
_CHECK_DISK_EVERY = 64 * limits.CHUNK_BYTES
_REPORT_EVERY_S = 0.2
_DAMAGED = (EOFError, OSError, ValueError, zlib.error, lzma.LZMAError)


class TarSource:
    """A .tar file, open for reading. `stream` is the file itself, or what it was decompressed to; it is closed too.

    Raises DatasetError when it is no .tar file, or damaged before its first entry.
    """

    def __init__(self, name: str, stream: BinaryIO):
        self.name = name
        self.entries: list[Entry] = []
        self.set_aside: list[tuple[str, str]] = []
        self._stream = stream
        self._size = stream.seek(0, io.SEEK_END)
        self._reading = threading.Lock()
        try:
            self._list()
        except BaseException:
            self.close()
            raise

    def _list(self) -> None:
        places = Places()
        count = 0
        try:
            for member in _members(self._stream):
                count += 1
                limits.check_count(self.name, count)
                path, reason = read_name(member.name)
                if member.isdir() or is_ignored(path):
                    continue
                reason = reason or self._reason_against(member) or places.reason_against(path)
                if reason:
                    self.set_aside.append((path, reason))
                else:
                    self.entries.append(Entry(path, (member.offset_data, member.size)))
        except tarfile.TarError as error:
            if count == 0:
                raise DatasetError(
                    f"{self.name} is not a .tar file, or it is damaged or was not copied completely. Make it again, or "
                    "use a .zip file or a folder."
                ) from error
            self.set_aside.append((self.name, "The rest of this archive is damaged or missing. Make it again."))

    def _reason_against(self, member: tarfile.TarInfo) -> str:
        if member.issym() or member.islnk():
            return "It is a link, not an image. Put the image itself into the archive."
        if member.issparse():
            return "It is stored with holes (a sparse file), which no image needs. Make the archive again without them."
        if not member.isreg():
            return "It is a device or a pipe, not an image. Leave it out."
        if not member.size:
            return EMPTY
        if member.offset_data + member.size > self._size:
            return "It is cut short: the archive ends before it does. Copy the archive again from where it came."
        return ""

    def read(self, entry: Entry) -> bytes:
        offset, size = entry.key
        limits.check_size(size)
        try:
            with self._reading:
                self._stream.seek(offset)
                return self._stream.read(size)
        except OSError as error:
            raise ImageError(f"The archive cannot be read here: {error.strerror}. Copy it again.") from error

    def close(self) -> None:
        self._stream.close()


class _Headers:
    """The file as `tarfile` reads it: what stands before one entry may only be so long.

    That bounds memory, and the time of the expressions that `tarfile` searches a header with, which grows with the
    square of a run of digits (CVE-2024-6232).
    """

    def __init__(self, stream: BinaryIO):
        self._stream = stream
        self.seek, self.tell = stream.seek, stream.tell
        self.left = limits.MAX_HEADER_BYTES

    def read(self, size: int = -1) -> bytes:
        self.left -= size
        if size < 0 or self.left < 0:
            raise tarfile.ReadError("a header is too long")
        data = self._stream.read(size)
        if re.search(rb"\d{1000}", data):
            raise tarfile.ReadError("a header holds a number that is too long")
        return data


def _members(stream: BinaryIO) -> Iterator[tarfile.TarInfo]:
    """All entries in order; raises TarError where the archive is damaged, also where it leads backwards."""
    headers = _Headers(stream)
    stream.seek(0)
    try:
        tar = tarfile.TarFile(
            fileobj=headers,  # type: ignore[arg-type]  # what reads needs no `write` and no `close`
            mode="r",
            encoding="utf-8",
            errors="surrogateescape",
        )
        place = -1
        while (member := tar.next()) is not None:
            if member.size < 0 or not place < member.offset < tar.offset:
                raise tarfile.ReadError("an entry leads backwards")
            place = member.offset
            yield member
            tar.members.clear()  # type: ignore[attr-defined]  # it would keep every entry; its types leave `members` out
            headers.left = limits.MAX_HEADER_BYTES
        stream.seek(tar.offset)
        if stream.read(tarfile.BLOCKSIZE).strip(b"\0"):
            raise tarfile.ReadError("no entry where one should be")
    except tarfile.TarError:
        raise
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, RecursionError, OSError) as error:
        raise tarfile.ReadError("a header is damaged") from error  # what tarfile itself lets through


def decompress(
    file: Path, kind: str, scratch: Path | None, progress: Progress | None, cancelled: Cancelled | None
) -> BinaryIO:
    """What the `kind` (`gz`, `bz2` or `xz`) of file holds, as an open file without a name in the folder `scratch`.

    Without `scratch` it lies where the archive lies, or among temporary files where that cannot be written to.
    Raises DatasetError when `file` is damaged, a trap, or larger than the disk; ImportCancelled.
    """
    folder = scratch or (file.parent if os.access(file.parent, os.W_OK) else Path(tempfile.gettempdir()))
    packed_bytes = file.stat().st_size
    limits.check_disk(folder, packed_bytes, f"What is in {file.name}")
    meter = limits.Meter(file.name, packed_bytes)
    telling = _Telling(packed_bytes, progress, cancelled)
    unpacked = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115, its caller reads it
    try:
        size = 0
        with file.open("rb") as packed:
            for chunk in _chunks(file.name, packed, kind):
                telling.at(packed.tell())
                meter.add(len(chunk))
                if size // _CHECK_DISK_EVERY != (size := size + len(chunk)) // _CHECK_DISK_EVERY:
                    limits.check_disk(folder, 0, f"What is in {file.name}")
                unpacked.write(chunk)
        unpacked.flush()
        return unpacked
    except BaseException:
        unpacked.close()
        raise


def _chunks(name: str, packed: BinaryIO, kind: str) -> Iterator[bytes]:
    try:
        if kind == "xz":
            yield from _xz_chunks(packed)
            return
        with gzip.GzipFile(fileobj=packed) if kind == "gz" else bz2.BZ2File(packed) as stream:
            while chunk := stream.read(limits.CHUNK_BYTES):
                yield chunk
    except _DAMAGED as error:
        raise DatasetError(
            f"{name} is damaged or was not copied completely. Make the archive again, or copy it again from where it "
            "came."
        ) from error


def _xz_chunks(packed: BinaryIO) -> Iterator[bytes]:
    """Unlike `lzma.open`, with a limit on the memory that a file may ask for."""
    data = packed.read(limits.CHUNK_BYTES)
    while data:
        decompressor = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY_BYTES)
        while not decompressor.eof:
            if decompressor.needs_input and not data:
                data = packed.read(limits.CHUNK_BYTES)
                if not data:
                    raise EOFError
            yield decompressor.decompress(data, limits.CHUNK_BYTES)
            data = b""
        data = (decompressor.unused_data or packed.read(limits.CHUNK_BYTES)).lstrip(b"\0")


class _Telling:
    """Says how far decompressing is, a few times a second, and asks whether to go on."""

    def __init__(self, total: int, progress: Progress | None, cancelled: Cancelled | None):
        self._total = total
        self._progress = progress
        self._cancelled = cancelled
        self._started = self._last = time.monotonic()

    def at(self, done: int) -> None:
        if self._cancelled is not None and self._cancelled():
            raise ImportCancelled("The import was stopped; nothing of it was kept. Start it again whenever you like.")
        now = time.monotonic()
        if self._progress is not None and done and now - self._last >= _REPORT_EVERY_S:
            self._last = now
            self._progress(done, self._total, (now - self._started) / done * (self._total - done))
