"""Files that a browser sends: written to a fresh folder under `$THAW_HOME/uploads`, whatever they are called."""

import hashlib
import os
import re
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from learner.datasets.disk import bytes_in, why_not_kept
from learner.datasets.names import first_free, shown
from learner.errors import DatasetError
from learner.workspace import Workspace

ABANDONED_S = 3600.0
"""An upload to which nothing came for so long belongs to a browser that is gone."""
_GONE = ".gone-"
_MAX_NAME_BYTES = 200
"""File systems hold 255 bytes a name; the rest is for numbers that part equal names."""


@dataclass(frozen=True)
class Upload:
    """An upload that has begun. It counts for nothing until `finish`, and is hidden from whoever lists uploads."""

    id: str
    folder: Path

    @contextmanager
    def receiving(self, name: str) -> Iterator[BinaryIO]:
        """An open file to write one file's bytes to; it is kept when all were written, and gone otherwise."""
        part = self.new_part()
        try:
            with part.open("xb") as file:
                yield file
            self.keep(part, name)
        except BaseException:  # the browser may go away at any byte
            part.unlink(missing_ok=True)
            raise

    def new_part(self) -> Path:
        """Where one file's bytes can be written before `keep` gives them their name."""
        return self.folder / f"{uuid.uuid4().hex}.part"

    def keep(self, part: Path, name: str) -> None:
        """Put a part that was written whole in its place.

        `name` may hold folders (`photos/cats/1.jpg`); parts that lead elsewhere are dropped, equal names numbered.
        """
        with _one_at_a_time:
            if not part.exists():
                raise DatasetError(_OVER)
            target = _free_place(self.folder / "upload", _inside(name))
            if not target.resolve().is_relative_to(self.folder.resolve() / "upload"):
                raise DatasetError(f"The name {name!r} leads out of the upload. Give the file another name.")
            target.parent.mkdir(parents=True, exist_ok=True)
            part.rename(target)
        with suppress(OSError):
            os.utime(self.folder)

    def files(self) -> list[Path]:
        """Those that have arrived, in the order they did."""
        files = [path for path in (self.folder / "upload").rglob("*") if path.is_file()]
        return sorted(files, key=lambda path: path.stat().st_mtime_ns)

    def finish(self) -> Path:
        """All files are here; returns what to give to `start_look`: the one file or folder, or the folder of all.

        Raises DatasetError when no file arrived; nothing is left then.
        """
        inside = list((self.folder / "upload").glob("*"))
        if not inside:
            self.throw_away()
            raise DatasetError("No files arrived. Choose photos, a folder or an archive, and upload again.")
        kept = self.folder.rename(self.folder.with_name(self.folder.name.removeprefix("."))) / "upload"
        return kept / inside[0].name if len(inside) == 1 else kept

    def throw_away(self) -> None:
        delete(self.give_up())

    def give_up(self) -> Path:
        """Hide the upload, which is quick however much there is; returns what to `delete`."""
        gone = self.folder.with_name(f"{_GONE}{uuid.uuid4().hex}")
        with _one_at_a_time, suppress(FileNotFoundError):  # no file is being put in its place meanwhile
            self.folder.rename(gone)
        return gone


def delete(gone: Path) -> None:
    """Delete what `Upload.give_up` hid; thousands of files take seconds."""
    shutil.rmtree(gone, ignore_errors=True)


_one_at_a_time = threading.Lock()
"""Two files of one name must not find the same free place."""
_OVER = "This upload is over: it was finished, cancelled or given up. Upload the files again."


def save_uploads(workspace: Workspace, files: Iterable[tuple[str, BinaryIO]]) -> Path:
    """Keep `files`, (name, open file) pairs, as one upload; returns what `Upload.finish` does.

    Raises DatasetError when there are no files or they cannot be written; nothing is left then.
    """
    try:
        upload = begin_upload(workspace)
        try:
            for name, stream in files:
                with upload.receiving(name) as file:
                    shutil.copyfileobj(stream, file, 2**20)
            return upload.finish()
        except BaseException:  # a page may be interrupted at any line
            upload.throw_away()
            raise
    except OSError as error:
        raise DatasetError(why_not_kept("The upload", error, workspace.uploads)) from error


def begin_upload(workspace: Workspace) -> Upload:
    """Make the folder of a new upload, which is found again by its id."""
    upload_id = uuid.uuid4().hex
    folder = workspace.uploads / f".files-{upload_id}"
    folder.mkdir(parents=True)
    return Upload(upload_id, folder)


def find_upload(workspace: Workspace, upload_id: str) -> Upload:
    """Raises DatasetError when there is no such upload under way."""
    folder = workspace.uploads / f".files-{upload_id}"
    if not re.fullmatch("[0-9a-f]{32}", upload_id) or not folder.is_dir():
        raise DatasetError(_OVER)
    return Upload(upload_id, folder)


def clear_abandoned(workspace: Workspace, after_s: float = ABANDONED_S) -> None:
    """Delete what nobody will come back to.

    Those are uploads whose browser went away and what a killed command had downloaded, untouched for `after_s`, and
    what was thrown away while the server was killed.
    """
    for gone in workspace.uploads.glob(f"{_GONE}*"):
        delete(gone)
    for folder in [*workspace.uploads.glob(".files-*"), *workspace.uploads.glob("command-*")]:
        newest = max((path.stat().st_mtime for path in (folder, *folder.glob("*.part"))), default=0)
        if time.time() - newest > after_s:
            shutil.rmtree(folder, ignore_errors=True)


def uploads_under_way(workspace: Workspace) -> int:
    """How many have begun and are neither finished nor given up."""
    return sum(1 for _ in workspace.uploads.glob(".files-*"))


def uploads_bytes(workspace: Workspace) -> int:
    """What uploads, and imports that are not done, take on the disk."""
    return bytes_in(workspace.uploads)


def remove_upload(workspace: Workspace, source: Path) -> None:
    """Delete a finished upload. Raises DatasetError for a path that is not an upload."""
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
    plain = name.replace("\0", "").replace("\\", "/")  # first: `.\0.` is `..` without it
    parts = [_part(part) for part in plain.split("/") if part.strip() not in ("", ".", "..")]
    return parts or ["file"]


def _part(part: str) -> str:
    clean = shown(part).replace(":", "_")
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
    """`path`, or one of `1 (2).jpg`, `1 (3).jpg` … that is not taken."""
    return first_free(
        lambda number: path if number == 1 else path.with_name(f"{path.stem} ({number}){path.suffix}"), taken
    )
