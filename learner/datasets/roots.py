"""Which folders of the server a page may import from: those below the roots that `THAW_SERVER_FOLDERS` allows.

Commands are typed by someone who is on the server already, so they are not bound by this.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from learner.datasets.names import is_ignored, natural_key, shown
from learner.datasets.sources.entry_names import is_archive_name
from learner.errors import DatasetError

SETTING = "THAW_SERVER_FOLDERS"
MAX_PLACES = 2000
"""Folders and archives of one folder that are listed at most."""


@dataclass(frozen=True)
class FolderEntry:
    """A folder or an archive on the server that can be imported."""

    path: Path
    name: str
    """Fit to be shown."""
    is_folder: bool
    num_bytes: int
    """0 for folders."""


def allowed_roots() -> list[Path]:
    """The folders that `THAW_SERVER_FOLDERS` names, parted by the system's path separator; none by default."""
    named = [Path(part).expanduser() for part in os.environ.get(SETTING, "").split(os.pathsep) if part.strip()]
    return [root.resolve() for root in named if root.is_dir()]


def check_server_path(path: str) -> Path:
    """`path` with all links followed. Raises DatasetError when it is nothing below an allowed root."""
    roots = allowed_roots()
    if not roots:
        raise DatasetError(
            f"Importing from the server's own folders is off. Whoever runs Thaw can name the folders in {SETTING} "
            "and start it again."
        )
    try:
        resolved = Path(path.strip()).expanduser().resolve(strict=True)
    except (OSError, RuntimeError, ValueError) as error:
        raise DatasetError(_no_such_place(path, roots)) from error
    if not any(resolved.is_relative_to(root) for root in roots):
        raise DatasetError(_no_such_place(path, roots))
    return resolved


def browse(path: str) -> list[FolderEntry]:
    """The folders and archives in the folder `path`, folders first. Raises DatasetError like `check_server_path`.

    Hidden ones and links that lead out of the allowed roots are left out.
    """
    folder = check_server_path(path)
    try:
        inside = [Path(entry.path) for entry in os.scandir(folder)]
    except OSError as error:
        raise DatasetError(f"The folder {shown(str(folder))} cannot be opened: {error.strerror}.") from error
    places = [place for file in inside if (place := _place(file))]
    places.sort(key=lambda place: (not place.is_folder, natural_key(place.name)))
    return places[:MAX_PLACES]


def _place(file: Path) -> FolderEntry | None:
    if is_ignored(file.name):
        return None
    try:
        resolved = check_server_path(str(file)) if file.is_symlink() else file
        if resolved.is_dir():
            return FolderEntry(resolved, shown(file.name), True, 0)
        if resolved.is_file() and is_archive_name(file.name):
            return FolderEntry(resolved, shown(file.name), False, resolved.stat().st_size)
    except (DatasetError, OSError):
        return None
    return None


def _no_such_place(path: str, roots: list[Path]) -> str:
    """The same words whether it is missing or merely not allowed: nothing is told about the rest of the server."""
    return (
        f"There is nothing to import at {shown(path)!r} below {' or '.join(map(str, roots))}. Check the path; other "
        f"folders can be allowed with {SETTING}."
    )
