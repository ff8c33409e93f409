"""A folder on disk with all folders in it, or one image file."""

import os
import stat
from pathlib import Path

from learner.datasets.names import is_ignored, shown
from learner.datasets.sources.entries import Entry
from learner.datasets.sources.entry_names import MAX_FOLDERS, TOO_DEEP, Places, is_archive_name
from learner.datasets.sources.limits import check_size
from learner.errors import DatasetError, ImageError

_DEEP_ARCHIVE = "Archives are only opened directly in the folder that is added. Unpack it, or add it by itself."


class FolderSource:
    """A folder and all folders in it. Links to folders are not followed: they may lead in circles."""

    def __init__(self, folder: Path):
        self.name = folder.name or str(folder)
        self.entries: list[Entry] = []
        self.set_aside: list[tuple[str, str]] = []
        self.places = Places()
        self._top = folder
        for here, folders, files in os.walk(folder, onerror=self._unreadable):
            linked = {name for name in folders if Path(here, name).is_symlink()}
            for name in sorted(linked):
                self._add(Path(here, name), "It is a link to a folder. Put the folder itself in its place.")
            folders[:] = sorted(name for name in folders if name not in linked and not is_ignored(f"{name}/x"))
            deep = Path(here) != folder
            for name in sorted(files):
                self._add(Path(here, name), _DEEP_ARCHIVE if deep and is_archive_name(name) else "")

    def _add(self, file: Path, reason: str = "") -> None:
        path = shown(file.relative_to(self._top).as_posix())
        if path.count("/") > MAX_FOLDERS:
            path, reason = f"{path[:100]}…", TOO_DEEP
        if is_ignored(path):
            return
        if reason:
            self.set_aside.append((path, reason))
        else:
            self.entries.append(Entry(self.places.free(path), file))

    def _unreadable(self, error: OSError) -> None:
        if Path(error.filename) == self._top:
            raise DatasetError(f"The folder {self._top} cannot be opened: {error.strerror}. Change its permissions.")
        self._add(
            Path(error.filename),
            f"This folder cannot be opened: {error.strerror}. Change its permissions and try again.",
        )

    def read(self, entry: Entry) -> bytes:
        return read_plain_file(entry.key)

    def close(self) -> None:
        pass


class SingleImage:
    """One image file."""

    def __init__(self, file: Path):
        self.name = file.name
        self.entries = [Entry(shown(file.name), file)]
        self.set_aside: list[tuple[str, str]] = []

    def read(self, entry: Entry) -> bytes:
        return read_plain_file(entry.key)

    def close(self) -> None:
        pass


def read_plain_file(file: Path) -> bytes:
    """Raises ImageError when `file` is no plain file, too large, or cannot be opened."""
    try:
        facts = file.stat()
        if not stat.S_ISREG(facts.st_mode):
            raise ImageError("It is not a plain file. Put the image itself in its place.")
        check_size(facts.st_size)
        return file.read_bytes()
    except OSError as error:
        raise ImageError(f"It cannot be opened: {error.strerror}. Check that it is there and readable.") from error
