"""Files that a browser sends: written to a fresh folder under `$THAW_HOME/uploads`, whatever they are called."""

import hashlib
import shutil
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from learner.datasets.names import shown
from learner.errors import DatasetError
from learner.workspace import Workspace

_MAX_NAME_BYTES = 200
"""File systems hold 255 bytes a name; the rest is for numbers that part equal names."""


def save_uploads(workspace: Workspace, files: Iterable[tuple[str, BinaryIO]]) -> Path:
    """Write `files`, (name, open file) pairs, and return what to give to `add_dataset` or `start_import`.

    Names may hold folders (`photos/cats/1.jpg`); parts that would lead out of the folder are dropped and equal names
    numbered. A single .zip file is returned itself, anything else as the folder. Raises DatasetError when there are no
    files or they cannot be written; nothing is left then.
    """
    folder = workspace.uploads / f"files-{uuid.uuid4().hex}"
    written: list[Path] = []
    try:
        folder.mkdir(parents=True)
        for name, stream in files:
            target = _free_place(folder / "upload", _inside(name))
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as file:
                shutil.copyfileobj(stream, file, 2**20)
            written.append(target)
        if not written:
            raise DatasetError("No files arrived. Choose a .zip file or a folder of images and upload it again.")
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise DatasetError(
            f"The upload could not be kept in {workspace.uploads}: {error.strerror or error}. Free some space there or "
            "check that folder's permissions, then upload again."
        ) from error
    except BaseException:  # a page may be interrupted at any line
        shutil.rmtree(folder, ignore_errors=True)
        raise
    only_zip = len(written) == 1 and written[0].suffix.lower() == ".zip"
    return written[0] if only_zip else folder / "upload"


def remove_upload(workspace: Workspace, source: Path) -> None:
    """Delete what `save_uploads` wrote. Raises DatasetError for a path that is not an upload."""
    shutil.rmtree(upload_folder(workspace, source), ignore_errors=True)


def upload_folder(workspace: Workspace, source: Path) -> Path:
    """The folder under uploads that `source` lies in. Raises DatasetError when it lies anywhere else."""
    uploads = workspace.uploads.resolve()
    inside = source.resolve()
    if not inside.is_relative_to(uploads) or inside == uploads:
        raise DatasetError(
            f"{source} is not an upload, so Thaw does not delete it. Delete it yourself when it is done."
        )
    return uploads / inside.relative_to(uploads).parts[0]


def _inside(name: str) -> list[str]:
    """The parts of an uploaded name without those that lead elsewhere, each short enough for a file system."""
    parts = [_part(part) for part in name.replace("\\", "/").split("/") if part.strip() not in ("", ".", "..")]
    return parts or ["file"]


def _part(part: str) -> str:
    clean = shown(part.replace("\0", "")).replace(":", "_")
    if len(clean.encode()) <= _MAX_NAME_BYTES:
        return clean
    # Two long names may begin alike, so the digest of the whole name tells them apart.
    suffix = PurePosixPath(clean).suffix
    suffix = suffix if len(suffix.encode()) <= 10 else ""
    start = clean.encode()[: _MAX_NAME_BYTES - 30].decode(errors="ignore")
    return f"{start}-{hashlib.sha256(clean.encode()).hexdigest()[:12]}{suffix}"


def _free_place(folder: Path, parts: list[str]) -> Path:
    """Where a file of that name can be written: no file is there yet, and no file is in a folder's place."""
    for part in parts[:-1]:
        folder = _numbered(folder / part, Path.is_file)
    return _numbered(folder / parts[-1], Path.exists)


def _numbered(path: Path, taken: Callable[[Path], bool]) -> Path:
    """`path`, or the first of `1 (2).jpg`, `1 (3).jpg` … that is not taken."""
    number, free = 2, path
    while taken(free):
        free = path.with_name(f"{path.stem} ({number}){path.suffix}")
        number += 1
    return free
