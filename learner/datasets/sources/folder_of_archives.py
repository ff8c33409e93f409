"""A folder and the archives that lie directly in it, as one source."""

from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

from learner.datasets.sources.entries import Entry, Source
from learner.datasets.sources.entry_names import Places, stem_of
from learner.datasets.sources.folder import FolderSource
from learner.errors import DatasetError, ImportCancelled


class SeveralSources:
    """What is in an archive comes under the archive's name; one that cannot be opened is set aside.

    `archives` are entries of `folder`; `open_archive` opens the file of one.
    """

    def __init__(self, folder: FolderSource, archives: list[Entry], open_archive: Callable[[Path], Source]):
        self.name = folder.name
        self.set_aside = list(folder.set_aside)
        self.entries: list[Entry] = []
        self.tables: dict[str, tuple[list[str], list[list[str]]]] = {}
        self._places = Places()
        self._opened = ExitStack()
        try:
            for entry in folder.entries:
                if entry not in archives:
                    self._add(folder, entry)
            for archive in archives:
                self._add_all(archive.path, archive.key, open_archive)
        except BaseException:
            self.close()
            raise

    def _add_all(self, path: str, file: Path, open_archive: Callable[[Path], Source]) -> None:
        try:
            source = self._opened.enter_context(closing(open_archive(file)))
        except ImportCancelled:
            raise
        except DatasetError as error:
            self.set_aside.append((path, str(error)))
            return
        stem = stem_of(path)
        self.tables |= {f"{stem}/{name}": table for name, table in getattr(source, "tables", {}).items()}
        self.set_aside += [(f"{stem}/{inside}", reason) for inside, reason in source.set_aside]
        for entry in source.entries:
            self._add(source, entry, f"{stem}/{entry.path}")

    def _add(self, source: Source, entry: Entry, path: str = "") -> None:
        self.entries.append(Entry(self._places.free(path or entry.path), (source, entry)))

    def read(self, entry: Entry) -> bytes:
        source, inside = entry.key
        return source.read(inside)

    def close(self) -> None:
        self._opened.close()
