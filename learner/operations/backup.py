"""Write a backup: everything a workspace keeps, of one moment, in one file, while Thaw goes on working.

What is copied first decides what fits together:

1. Folders of runs. A run writes its rows before its resume point, and begins at the point by forgetting later rows.
   So a point must be older than the rows beside it. The files of all runs get a second name in `.backup-…/` (they
   are replaced, never written over), which takes no space and some milliseconds.
2. The rows, of one moment.
3. Folders of runs that ended between 1 and 2, once more: their rows say that all of it is there.
4. Images, weights and predictions. An import moves images in before it writes their rows, and nothing changes or
   removes one that a row names. So these must be younger than the rows.

A run's folder without a row (deleted for good meanwhile) is left out.
"""

import os
import shutil
import time
import uuid
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, Table, select

from learner.atomic import written_whole
from learner.datasets import bring_images
from learner.datasets.disk import why_not_kept
from learner.errors import BackupError
from learner.operations.alone import alone
from learner.operations.manifest import (
    FILES,
    FOLDERS,
    FORMAT,
    MANIFEST,
    ROWS,
    Entry,
    Manifest,
    as_json,
    is_inside,
    pieces,
    store,
)
from learner.operations.rows import kept_tables, lines_of, one_moment
from learner.store import ENDED, Store
from learner.store.database import connect, revision_of
from learner.store.tables import Run
from learner.version import __version__
from learner.wording import file_size
from learner.workspace import Workspace

ANOTHER = "Another backup of {} is being made. Wait for its end."
UNFINISHED = (".part", ".back", ".tmp")
"""Files with these in their names are being written; whoever needs one writes it again."""
_LISTINGS = 20
"""So often a run's folder is listed again, until nothing changed in it meanwhile."""

Progress = Callable[[int, int], None]
"""Takes the bytes that are done, and all of them."""


@dataclass(frozen=True)
class Made:
    """A backup that was written."""

    path: Path
    bytes: int
    manifest: Manifest
    left_out: list[str]
    """Files that could not be read, or whose names no archive can hold."""
    spaces: list[Path]
    """Spaces of this workspace (`learner.people`): each is a workspace of its own, and not in this backup."""


def back_up(workspace: Workspace, target: Path, progress: Progress = lambda done, total: None) -> Made:
    """Write a backup to `target`, in place of what is there; it is whole or not there.

    Raises BackupError where it cannot be written or another backup is being made, and StoreError.
    """
    target = target.expanduser().absolute()
    _bring_all(Store(workspace))  # tables are up to date
    _require_place(workspace, target)
    with alone(workspace, "backup", ANOTHER.format(workspace.root)), _links(workspace) as linked:
        try:
            return _write(workspace, linked, target, progress)
        except OSError as error:
            raise BackupError(why_not_kept("The backup", error, target.parent)) from error


def _bring_all(store_: Store) -> None:
    """Fetch what only an object store has: a backup holds every file. Raises StoreError."""
    if store_.files.is_on:
        store_.files.bring_all()
        for name in store_.datasets.names():
            for version in store_.datasets.versions(name):
                bring_images(store_, name, store_.datasets.images(version.id))


def _write(workspace: Workspace, linked: Path, target: Path, progress: Progress) -> Made:
    engine = connect(workspace.database_url, workspace.schema)
    with engine.connect() as connection:
        before = _states(connection)
    for folder in _run_folders(workspace):
        _link(folder, linked / folder.name)
    with (
        written_whole(target) as temporary,
        temporary.open("wb") as file,
        zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive,
    ):
        entries: dict[str, Entry] = {}
        with one_moment(engine) as connection:
            after, revision = _states(connection), revision_of(connection)
            for run_id, state in after.items():
                if state != before.get(run_id) and state[0] in ENDED:
                    shutil.rmtree(linked / str(run_id), ignore_errors=True)
                    _link(workspace.run_folder(run_id), linked / str(run_id))
            rows = {table.name: _add_rows(archive, entries, connection, table) for table in kept_tables()}
        engine.dispose()
        files = _files_of_runs(linked, after) | _other_files(workspace)
        left_out = _add_files(archive, entries, files, progress)
        manifest = Manifest(
            format=FORMAT,
            thaw=__version__,
            schema_revision=revision or "",
            made_at=time.time(),
            rows=rows,
            entries=entries,
        )
        store(archive, MANIFEST, iter([as_json(manifest)]), lambda _more: None)
        archive.close()
        file.flush()
        os.fsync(file.fileno())
    return Made(target, target.stat().st_size, manifest, left_out, _spaces(workspace))


def _add_rows(archive: zipfile.ZipFile, entries: dict[str, Entry], connection: Connection, table: Table) -> int:
    """Add a table; returns how many rows it has."""
    number = 0

    def lines() -> Iterator[bytes]:
        nonlocal number
        for line in lines_of(connection, table):
            number += 1
            yield line

    name = f"{ROWS}{table.name}.jsonl"
    entries[name] = store(archive, name, lines(), lambda _more: None)
    return number


def _add_files(
    archive: zipfile.ZipFile, entries: dict[str, Entry], files: dict[str, Path], progress: Progress
) -> list[str]:
    """Add files by their names in the workspace; returns those that cannot be read or named. One that is gone is none.

    Raises BackupError where the disk has no room for them.
    """
    done, total = 0, sum(map(_size, files.values()))
    folder = Path(archive.filename or "").parent
    if total > (free := shutil.disk_usage(folder).free):
        raise BackupError(
            f"The backup needs {file_size(total)}, and the disk of {folder} has {file_size(free)} free. Free some "
            "space, or name a file on another disk."
        )

    def count(more: int) -> None:
        nonlocal done
        done += more
        progress(done, max(done, total))

    left_out = []
    for name, path in files.items():
        try:
            if not _can_be_named(name):
                raise OSError
            file = path.open("rb")
        except FileNotFoundError:
            continue
        except OSError:
            left_out.append(name)
            continue
        with file:
            entries[FILES + name] = store(archive, FILES + name, pieces(file), count)
    return left_out


def _files_of_runs(linked: Path, runs: Iterable[int]) -> dict[str, Path]:
    """What has a second name, by its name in the workspace, for runs that have a row."""
    paths = [path for run_id in runs for path in _files(linked / str(run_id))]
    return {f"runs/{path.relative_to(linked).as_posix()}": path for path in paths}


def _other_files(workspace: Workspace) -> dict[str, Path]:
    folders = [workspace.root / folder for folder in FOLDERS if folder != "runs"]
    return {path.relative_to(workspace.root).as_posix(): path for folder in folders for path in _files(folder)}


def _spaces(workspace: Workspace) -> list[Path]:
    return sorted(path for path in workspace.spaces.glob("*") if path.is_dir())


def _require_place(workspace: Workspace, target: Path) -> None:
    if not target.parent.is_dir():
        raise BackupError(f"The folder {target.parent} does not exist. Make it first, or name another.")
    if target.is_dir():
        raise BackupError(f"{target} is a folder. Name a file in it, such as {target / 'thaw.zip'}.")
    if any(target.resolve().is_relative_to((workspace.root / folder).resolve()) for folder in FOLDERS):
        raise BackupError(f"{target} lies among what is backed up. Name a file outside of {workspace.root}.")


@contextmanager
def _links(workspace: Workspace) -> Iterator[Path]:
    """A folder for second names of runs' files; also removes what a killed backup left. For the holder of the lock."""
    for left in workspace.root.glob(".backup-*"):
        shutil.rmtree(left, ignore_errors=True)
    folder = workspace.root / f".backup-{uuid.uuid4().hex}"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _states(connection: Connection) -> dict[int, tuple[str, float | None]]:
    """Status and end of every run."""
    return {
        number: (status, finished_at)
        for number, status, finished_at in connection.execute(select(Run.id, Run.status, Run.finished_at))
    }


def _run_folders(workspace: Workspace) -> list[Path]:
    if not workspace.runs.is_dir():
        return []
    return [path for path in workspace.runs.iterdir() if path.name.isdecimal() and path.is_dir()]


def _link(folder: Path, to: Path) -> None:
    """Give all files of a folder second names, of one moment: if they changed meanwhile, all again."""
    for _ in range(_LISTINGS):
        seen = _listed(folder)
        for path in seen:
            place = to / path.relative_to(folder)
            place.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(path, place)
            except FileNotFoundError:
                continue
            except OSError:  # the disk has no such names
                shutil.copyfile(path, place)
        if _listed(folder) == seen:
            return
        shutil.rmtree(to, ignore_errors=True)


def _listed(folder: Path) -> dict[Path, tuple[int, int]]:
    """Which file stands under each name, and when it was written; the log apart, which is added to all the time."""
    listed = {}
    for path in _files(folder):
        try:
            facts = path.stat()
        except FileNotFoundError:
            continue
        listed[path] = (facts.st_ino, 0 if path.name == "log.txt" else facts.st_mtime_ns)
    return listed


def _files(folder: Path) -> list[Path]:
    """All files of a folder that are not being written, in order."""
    return sorted(
        Path(here, name)
        for here, _, names in os.walk(folder)
        for name in names
        if not any(mark in name for mark in UNFINISHED) and Path(here, name).is_file()
    )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _can_be_named(name: str) -> bool:
    """Whether an archive can hold a file of that name."""
    try:
        return is_inside(name) and len(name.encode()) < 2**16 - 100
    except UnicodeEncodeError:
        return False
