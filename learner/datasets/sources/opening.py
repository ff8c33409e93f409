"""What a path is, by its content: a folder, a folder of archives, an archive, or one image."""

import tarfile
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from learner.datasets.images import IMAGE_SUFFIXES, is_image
from learner.datasets.sources.entries import Cancelled, Progress, Source
from learner.datasets.sources.entry_names import is_archive_name
from learner.datasets.sources.folder import FolderSource, SingleImage
from learner.datasets.sources.folder_of_archives import SeveralSources
from learner.datasets.sources.tars import TarSource, decompress
from learner.datasets.sources.zips import ZipSource
from learner.errors import DatasetError

_MAGIC = {
    "zip": (b"PK\x03\x04", b"PK\x05\x06"),
    "gz": (b"\x1f\x8b",),
    "bz2": (b"BZh",),
    "xz": (b"\xfd7zXZ\0",),
    "7z": (b"7z\xbc\xaf\x27\x1c",),
    "rar": (b"Rar!\x1a\x07",),
    "zst": (b"\x28\xb5\x2f\xfd",),
    "parquet": (b"PAR1",),
}
_NOT_READ = {"7z", "rar", "zst"}
_DOCUMENTS = {".xlsx", ".xlsm", ".docx", ".pptx", ".ods", ".odt", ".npz"}
"""Suffixes of documents that are .zip files inside."""


def open_source(
    source: Path,
    scratch: Path | None = None,
    progress: Progress | None = None,
    cancelled: Cancelled | None = None,
) -> Source:
    """Open a folder, an archive (.zip, .tar, .tar.gz, .tar.bz2, .tar.xz) or a single image for reading.

    Archives that lie directly in a folder, and Parquet files anywhere in it, are opened too; what is in them comes
    under their name, unless it is all there is. Compressed .tar files are decompressed once, to the folder `scratch`,
    by default beside them, while `progress` is told and `cancelled` is asked.

    Raises DatasetError when there is nothing at `source` or it cannot be read, ImportCancelled.
    """
    open_file = partial(_open_file, scratch=scratch, progress=progress, cancelled=cancelled)
    if source.is_dir():
        return _open_folder(source, open_file)
    if source.is_file():
        return open_file(source)
    raise DatasetError(f"There is nothing at {source}. Check the path, and that it is still there.")


def archive_kind(file: Path) -> str:
    """`zip`, `tar`, `gz`, `bz2`, `xz`, `7z`, `rar`, `zst`, `parquet`, or empty, by the first bytes of `file`.

    Raises DatasetError when it cannot be opened.
    """
    try:
        with file.open("rb") as stream:
            start = stream.read(tarfile.BLOCKSIZE)
    except OSError as error:
        raise DatasetError(f"{file} cannot be opened: {error.strerror}. Change its permissions.") from error
    for kind, beginnings in _MAGIC.items():
        if start.startswith(beginnings):
            return kind
    return "tar" if _is_tar_header(start) else ""


def _is_tar_header(start: bytes) -> bool:
    try:
        tarfile.TarInfo.frombuf(start, "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError):
        return False
    return True


def _open_file(file: Path, scratch: Path | None, progress: Progress | None, cancelled: Cancelled | None) -> Source:
    kind = archive_kind(file)
    if kind in _NOT_READ:
        raise DatasetError(
            f"{file.name} is a .{kind} archive, which cannot be opened here. Unpack it on your computer and add the "
            "folder, or make a .zip file of it."
        )
    if kind == "parquet":
        from learner.datasets.sources.parquet import ParquetSource  # brings pyarrow

        return ParquetSource(file)
    if kind == "tar":
        return TarSource(file.name, file.open("rb"))
    if kind in ("gz", "bz2", "xz"):
        return TarSource(file.name, decompress(file, kind, scratch, progress, cancelled))
    if kind == "" and is_image(file):
        return SingleImage(file)
    if kind == "zip" or file.suffix.lower() == ".zip" or zipfile.is_zipfile(file):
        return ZipSource(file)
    raise DatasetError(
        f"{file.name} is neither an image nor an archive (.zip, .tar, .tar.gz, .tar.bz2, .tar.xz) that can be read "
        "here, or it is damaged or was not copied completely. Copy it again, or use a folder."
    )


def _open_folder(folder: Path, open_file: Callable[[Path], Source]) -> Source:
    plain = FolderSource(folder)
    archives = [
        entry
        for entry in plain.entries
        if entry.path.endswith(".parquet") or ("/" not in entry.path and _is_archive(entry.key))
    ]
    if not archives:
        return plain
    if len(plain.entries) == 1 and not plain.set_aside:
        return open_file(archives[0].key)
    return SeveralSources(plain, archives, open_file)


def _is_archive(file: Path) -> bool:
    suffix = file.suffix.lower()
    if suffix in IMAGE_SUFFIXES or suffix in _DOCUMENTS or not file.is_file():
        return False
    try:
        return is_archive_name(file.name) or archive_kind(file) != ""
    except DatasetError:
        return False  # reading it as an entry says why it cannot be opened
