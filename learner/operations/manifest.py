"""What a backup holds, by name, size and SHA-256, and the check of an archive against it.

A backup is a .zip whose entries are stored as they are: `manifest.json`, `database/<table>.jsonl`, `files/<path>`.
It may come from anyone, so nothing in it is believed: a name that leads elsewhere, a link, a packed entry, a size or a
content that differs from the manifest is refused.
"""

import hashlib
import json
import os
import re
import stat
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Annotated, BinaryIO

from pydantic import BaseModel, ConfigDict, Field, ValidationError

FORMAT = 1
MANIFEST = "manifest.json"
ROWS, FILES = "database/", "files/"
FOLDERS = ("datasets", "runs", "weights", "predictions")
"""Of the workspace, what is kept: all else can be made again, or is on its way in."""
MOST_MANIFEST_BYTES = 500_000_000
"""A backup of two million files has one of about 300 MB."""
_MOST_SAID = 120
_CHUNK_BYTES = 2**20
_UNREADABLE = (zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, EOFError, OSError)
"""What `zipfile` raises of archives that were damaged or forged; an OSError for a place before the file's start."""
_PLAIN, _REGULAR = 0, stat.S_IFREG

Count = Callable[[int], None]
"""Takes how many bytes more were read or written."""


class Refused(Exception):
    """Why an archive is not restored; `learner.operations.restore` makes a sentence of it."""


class Entry(BaseModel):
    """One file of a backup."""

    model_config = ConfigDict(extra="forbid", strict=True)

    bytes: int = Field(ge=0)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class Manifest(BaseModel):
    """What a backup says of itself."""

    model_config = ConfigDict(extra="forbid", strict=True)

    format: int
    thaw: str = Field(pattern=r"^[\w.+-]{1,40}$")
    """The version of Thaw that made it."""
    schema_revision: str = Field(pattern="^[0-9]{4}$")
    """The step that its tables are at."""
    made_at: float = Field(ge=0, le=4e9)
    """Seconds since 1970 (UTC)."""
    rows: dict[Annotated[str, Field(pattern="^[a-z_]{1,40}$")], int]
    """Table → how many rows of it."""
    entries: dict[str, Entry]
    """Every other entry of the archive, by its name there."""

    @property
    def total_bytes(self) -> int:
        """Of all entries."""
        return sum(entry.bytes for entry in self.entries.values())


def said(name: str) -> str:
    """A name out of an archive, as a person is told it."""
    return repr(name if len(name) <= _MOST_SAID else f"{name[:_MOST_SAID]}…")


def is_inside(name: str) -> bool:
    """Whether a relative path with `/` between its parts stays below where it is put, on this system too."""
    path = PurePosixPath(name)
    odd = "\0" in name or (os.name == "nt" and re.search(r'[\\:*?"<>|]', name))
    return bool(path.parts) and not odd and not path.is_absolute() and ".." not in path.parts and str(path) == name


def is_kept(name: str) -> bool:
    """Whether a path in the workspace, with `/` between its parts, is one that a backup may hold."""
    parts = PurePosixPath(name).parts
    return is_inside(name) and len(parts) > 1 and parts[0] in FOLDERS


def read_manifest(archive: zipfile.ZipFile, size: int) -> Manifest:
    """The manifest of an archive of `size` bytes, whose entries are just those that it names, at their sizes.

    No content is read but the manifest's own. Raises Refused.
    """
    infos = archive.infolist()
    names = [info.filename for info in infos]
    if MANIFEST not in names:
        raise Refused("it is no backup of Thaw's, or not a whole one: it has no manifest")
    if len(set(names)) < len(names):
        raise Refused("two of its entries have the same name")
    for info in infos:
        _require_plain(info)
    if sum(info.file_size for info in infos) > size:
        raise Refused("its entries claim to be larger than the file")
    manifest = _parsed(archive)
    if manifest.format != FORMAT:
        raise Refused(f"its format is {manifest.format}, and this Thaw reads format {FORMAT}. Update Thaw")
    sizes = {info.filename: info.file_size for info in infos if info.filename != MANIFEST}
    told = {name: entry.bytes for name, entry in manifest.entries.items()}
    if sizes != told:
        odd = sorted(name for name in sizes.keys() | told.keys() if sizes.get(name) != told.get(name))[0]
        raise Refused(f"{said(odd)} is not there, or not as its manifest says")
    if {name for name in told if name.startswith(ROWS)} != {f"{ROWS}{table}.jsonl" for table in manifest.rows}:
        raise Refused("its tables are not those that its manifest names")
    for name in told:
        if not (name.startswith(ROWS) or (name.startswith(FILES) and is_kept(name.removeprefix(FILES)))):
            raise Refused(f"{said(name)} belongs to no place in a workspace")
    return manifest


def _require_plain(info: zipfile.ZipInfo) -> None:
    """That an entry is a file, stored as it is."""
    if not info.filename or info.orig_filename != info.filename:
        raise Refused(f"{said(info.orig_filename)} is no name of a file")
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (_PLAIN, _REGULAR) or info.is_dir():
        raise Refused(f"{said(info.filename)} is a link or a folder, which no backup holds")
    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1 or info.compress_size != info.file_size:
        raise Refused(f"{said(info.filename)} is packed or encrypted, which no backup is")


def _parsed(archive: zipfile.ZipFile) -> Manifest:
    if archive.getinfo(MANIFEST).file_size > MOST_MANIFEST_BYTES:
        raise Refused("its manifest is too large")
    try:
        held = archive.read(MANIFEST)
    except _UNREADABLE as error:
        raise Refused(f"its manifest cannot be read ({error})") from error
    try:
        return Manifest.model_validate_json(held)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise Refused(f"its manifest cannot be understood ({said(place)}: {first['msg']})") from error


def extract(archive: zipfile.ZipFile, name: str, entry: Entry, target: Path, count: Count) -> None:
    """Write an entry to `target`, which must not be there. Raises Refused where its content differs."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        source = archive.open(name)
    except _UNREADABLE as error:
        raise Refused(f"{said(name)} cannot be read ({error})") from error
    with source, target.open("xb") as file:
        for chunk in checked(source, name, entry):
            file.write(chunk)
            count(len(chunk))


def checked(source: IO[bytes], name: str, entry: Entry) -> Iterator[bytes]:
    """Its content piece by piece; raises Refused at the end where size or SHA-256 differ from the manifest's."""
    digest, left = hashlib.sha256(), entry.bytes
    try:
        while chunk := source.read(min(_CHUNK_BYTES, left + 1)):
            left -= len(chunk)
            if left < 0:
                break
            digest.update(chunk)
            yield chunk
    except _UNREADABLE as error:
        raise Refused(f"{said(name)} is damaged ({error})") from error
    if left or digest.hexdigest() != entry.sha256:
        raise Refused(f"{said(name)} is damaged: its content is not what the manifest says")


def store(archive: zipfile.ZipFile, name: str, chunks: Iterator[bytes], count: Count) -> Entry:
    """Add an entry, stored as it is."""
    digest, size = hashlib.sha256(), 0
    info = zipfile.ZipInfo(name)
    info.external_attr = (_REGULAR | 0o600) << 16
    with archive.open(info, "w", force_zip64=True) as file:
        for chunk in chunks:
            file.write(chunk)
            digest.update(chunk)
            size += len(chunk)
            count(len(chunk))
    return Entry(bytes=size, sha256=digest.hexdigest())


def pieces(file: BinaryIO) -> Iterator[bytes]:
    """The content of a file as long as it is now: what is appended meanwhile is left out."""
    left = os.fstat(file.fileno()).st_size
    while left > 0 and (chunk := file.read(min(_CHUNK_BYTES, left))):
        left -= len(chunk)
        yield chunk


def as_json(manifest: Manifest) -> bytes:
    """As it stands in the archive."""
    return json.dumps(manifest.model_dump(), separators=(",", ":")).encode()
