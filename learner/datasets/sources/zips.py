"""A .zip file. It is never unpacked to disk: entries are read into memory one at a time."""

import io
import lzma
import stat
import struct
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path

from learner.datasets.names import is_ignored
from learner.datasets.sources import limits
from learner.datasets.sources.entries import Entry
from learner.datasets.sources.entry_names import EMPTY, Places, read_name
from learner.errors import DatasetError, ImageError

_LOCAL_HEADER_BYTES = 30
_ENTRY_SIGNATURE = b"PK\x01\x02"
_ENTRY_BYTES = 46
_SAYS_UTF_8 = 0x800


class ZipSource:
    """A .zip file, open for reading. Raises DatasetError when it cannot be one, or is a trap."""

    def __init__(self, file: Path):
        self.name = file.name
        self.entries: list[Entry] = []
        self.set_aside: list[tuple[str, str]] = []
        self._size = file.stat().st_size
        self._meter = limits.Meter(self.name, self._size)
        try:
            self._file = _File(io.FileIO(file))
        except OSError as error:
            raise DatasetError(f"{file} cannot be opened: {error.strerror}. Change its permissions.") from error
        try:
            self._zip = zipfile.ZipFile(self._file)
            self._list()
        except (zipfile.BadZipFile, ValueError, EOFError, NotImplementedError, OSError) as error:
            self._file.close()
            raise DatasetError(
                f"{file.name} is not a .zip file, or it is damaged or was not uploaded completely. "
                "Make it again with your computer's own “compress” command, or use a folder."
            ) from error
        except BaseException:
            self._file.close()
            raise

    def _list(self) -> None:
        places = Places()
        kept: list[zipfile.ZipInfo] = []
        for info in self._zip.infolist():
            name = _name(info)
            path, reason = read_name(name)
            if name.endswith(("/", "\\")) or is_ignored(path):
                continue
            reason = reason or self._reason_against(info) or places.reason_against(path)
            if reason:
                self.set_aside.append((path, reason))
            else:
                kept.append(info)
                self.entries.append(Entry(path, info))
        self._refuse_overlaps(kept)

    def _reason_against(self, info: zipfile.ZipInfo) -> str:
        if not info.file_size:
            return EMPTY
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind == stat.S_IFLNK:
            return "It is a link, not an image. Put the image itself into the archive."
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            return "It is a device or a pipe, not an image. Leave it out."
        if info.flag_bits & 0x1:
            return "It is protected by a password. Make the archive again without one."
        if not 0 <= info.header_offset <= self._size - _LOCAL_HEADER_BYTES - info.compress_size:
            return "Its size in the .zip file cannot be true. Make the .zip file again."
        return ""

    def _refuse_overlaps(self, infos: list[zipfile.ZipInfo]) -> None:
        """Each byte of an honest .zip file belongs to one entry.

        Bombs that stay small share one block of data between thousands of entries: David Fifield, A better zip bomb,
        USENIX WOOT 2019.
        """
        end = 0
        for info in sorted(infos, key=lambda info: info.header_offset):
            if info.header_offset < end:
                raise DatasetError(
                    f"{self.name} is a trap: the files in it overlap, so that a small archive unpacks to a huge one. "
                    "Nothing of it was taken. Make the .zip file again from the images themselves."
                )
            end = info.header_offset + _LOCAL_HEADER_BYTES + info.compress_size

    def read(self, entry: Entry) -> bytes:
        chunks: list[bytes] = []
        size = 0
        try:
            with self._zip.open(entry.key) as stream:
                while chunk := stream.read(limits.CHUNK_BYTES):
                    chunks.append(chunk)
                    size += len(chunk)
                    self._meter.add(len(chunk))
                    limits.check_size(size)
                    limits.check_ratio(size, entry.key.compress_size)
        except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError) as error:
            raise ImageError("This part of the .zip file is damaged. Make the .zip file again.") from error
        except (NotImplementedError, RuntimeError) as error:
            raise ImageError("It is packed in a way that cannot be read here. Make an ordinary .zip file.") from error
        return b"".join(chunks)

    def close(self) -> None:
        self._zip.close()
        self._file.close()


class _File(io.BufferedReader):
    """The file as `zipfile` reads it: the list of all entries comes in one piece, before memory is taken for each."""

    def read(self, size: int | None = -1) -> bytes:
        if size is not None and size > limits.MAX_DIRECTORY_BYTES:
            raise zipfile.BadZipFile(f"A list of {size} bytes")
        data = super().read(size)
        limits.check_count(Path(self.name).name, data.count(_ENTRY_SIGNATURE))
        return _with_readable_names(data) if data.startswith(_ENTRY_SIGNATURE) else data


def _with_readable_names(directory: bytes) -> bytes:
    """The list of all entries, where names that say they are UTF-8 and are not say so no more.

    `zipfile` would refuse the whole file for one of them; so it is only that entry whose data cannot be read later.
    """
    mended, at = bytearray(directory), 0
    while directory.startswith(_ENTRY_SIGNATURE, at) and at + _ENTRY_BYTES <= len(directory):
        (flags,) = struct.unpack_from("<H", directory, at + 8)
        name, extra, comment = struct.unpack_from("<3H", directory, at + 28)
        try:
            directory[at + _ENTRY_BYTES : at + _ENTRY_BYTES + name].decode("utf-8")
        except UnicodeDecodeError:
            struct.pack_into("<H", mended, at + 8, flags & ~_SAYS_UTF_8)
        at += _ENTRY_BYTES + name + extra + comment
    return bytes(mended)


def _name(info: zipfile.ZipInfo) -> str:
    """Many programs write UTF-8 without saying so, where the standard's default is the DOS code page 437."""
    name = info.orig_filename
    if not info.flag_bits & _SAYS_UTF_8:
        with suppress(UnicodeError):
            return name.encode("cp437").decode("utf-8")
    return name
