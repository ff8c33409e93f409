"""Restore a backup into an empty workspace: all of it or nothing, whenever it is killed.

Everything is first written to `.restoring/` and checked. Then, in one transaction of the database, the rows are
written; before it is committed, the files are moved in place. As long as `.restoring/` is there nobody opens the
workspace, and its journal says how far it was: another restore clears up what a killed one left, or finds that it was
complete.
"""

import os
import shutil
import struct
import zipfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from sqlalchemy import Connection, Engine, Table, select, update
from sqlalchemy import insert as insert_into

from learner.atomic import read_json, write_json
from learner.datasets.disk import why_not_kept
from learner.errors import BackupError, StoreError
from learner.operations.alone import alone
from learner.operations.manifest import FILES, FOLDERS, ROWS, Manifest, Refused, extract, read_manifest
from learner.operations.rows import OWN, fill, is_empty
from learner.store.database import (
    MIGRATION_TIMEOUT_S,
    NEWEST_REVISION,
    known_revisions,
    open_database,
    revision_of,
    upgrade,
)
from learner.store.ownership import require_same_workspace
from learner.store.runs import Runs
from learner.store.tables import Base, Run
from learner.wording import file_size
from learner.workspace import Workspace

ANOTHER = "Another process restores a backup into {}. Wait for its end."
REASON = "It was under way when the backup was made, from which the workspace was restored."
_JOURNAL = "journal.json"
_PLACING = "placing"
_MARGIN_BYTES = 50_000_000

Progress = Callable[[int, int], None]
"""Takes the bytes that are done, and all of them."""


@dataclass(frozen=True)
class Restored:
    """What a backup brought."""

    manifest: Manifest
    queued: list[int]
    """Runs that were under way, and go on when a worker takes them."""
    was_complete: bool
    """An earlier restore had done everything but say so."""


def restore(workspace: Workspace, source: Path, progress: Progress = lambda done, total: None) -> Restored:
    """Bring a backup into an empty workspace, and its tables up to date.

    Raises BackupError, after which the workspace is as it was, and StoreError.
    """
    source = source.expanduser().absolute()
    try:
        with _opened(source) as archive:
            manifest = read_manifest(archive, source.stat().st_size)
            _require_known(manifest)
            with alone(workspace, "restore", ANOTHER.format(workspace.root)):
                return _restore(workspace, archive, manifest, progress)
    except Refused as error:
        raise BackupError(
            f"{source} cannot be restored: {error}. Nothing was changed. Use another backup if that does not help."
        ) from error
    except OSError as error:
        raise BackupError(why_not_kept("The backup", error, workspace.root)) from error


def _opened(source: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(source)
    except FileNotFoundError:
        raise BackupError(f"{source} does not exist. Name the file that `python -m learner backup` wrote.") from None
    except OSError as error:
        raise BackupError(f"{source} cannot be read: {error.strerror or error}. Name another file.") from error
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error) as error:  # the third: names in no code
        raise Refused(f"it is no .zip file, or not a whole one ({error})") from error


def _require_known(manifest: Manifest) -> None:
    if manifest.schema_revision not in known_revisions():
        raise Refused(
            f"a newer Thaw ({manifest.thaw}) made it, whose tables are at step {manifest.schema_revision}, and this "
            f"one knows them up to step {NEWEST_REVISION}. Update Thaw first"
        )


def _restore(workspace: Workspace, archive: zipfile.ZipFile, manifest: Manifest, progress: Progress) -> Restored:
    engine = open_database(workspace.database_url, workspace.root, workspace.schema)
    require_same_workspace(engine, workspace)
    if _was_complete(workspace, engine, manifest):
        queued = _queue_running(engine)
        shutil.rmtree(workspace.unfinished_restore)
        return Restored(manifest, queued, was_complete=True)
    _require_empty(workspace, engine)
    _require_room(workspace, manifest)
    staging = workspace.unfinished_restore
    staging.mkdir()
    try:
        done = 0

        def count(more: int) -> None:
            nonlocal done
            done += more
            progress(done, manifest.total_bytes)

        for name, entry in manifest.entries.items():
            extract(archive, name, entry, staging / name, count)
        _put_in_place(workspace, engine, manifest)
    except BaseException:
        with suppress(StoreError):  # a server that went away may have committed: the next restore finds out
            if _state(workspace) != _PLACING or _holds_nothing(engine):
                _clear(workspace)
        raise
    queued = _queue_running(engine)
    shutil.rmtree(staging)
    engine.dispose()
    return Restored(manifest, queued, was_complete=False)


# Whether it may


def _was_complete(workspace: Workspace, engine: Engine, manifest: Manifest) -> bool:
    """Whether a restore of this backup was killed after all was in place; what any other one left is cleared away."""
    if not workspace.unfinished_restore.exists():
        return False
    journal, empty = _journal(workspace), _holds_nothing(engine)
    if not empty and journal == _journal_of(manifest):
        return True
    if empty:
        _clear(workspace)
    else:  # somebody put something here after a restore that had put nothing
        shutil.rmtree(workspace.unfinished_restore)
    return False


def _journal_of(manifest: Manifest) -> dict[str, Any]:
    return {"state": _PLACING, "made_at": manifest.made_at, "rows": manifest.rows}


def _journal(workspace: Workspace) -> Any:
    try:
        return read_json(workspace.unfinished_restore / _JOURNAL)
    except (ValueError, OSError):
        return None


def _state(workspace: Workspace) -> str:
    journal = _journal(workspace)
    return journal.get("state", "") if isinstance(journal, dict) else ""


def _holds_nothing(engine: Engine) -> bool:
    with engine.connect() as connection:
        return is_empty(connection)


def _clear(workspace: Workspace) -> None:
    """Remove what a restore has put here, its mark last. The workspace was empty before it."""
    if _state(workspace) == _PLACING:
        for folder in FOLDERS:
            for path in (workspace.root / folder).glob("*"):
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    shutil.rmtree(workspace.unfinished_restore, ignore_errors=True)


def _require_empty(workspace: Workspace, engine: Engine) -> None:
    empty = _holds_nothing(engine)
    held = [name for name in FOLDERS if any(path.is_file() for path in (workspace.root / name).rglob("*"))]
    if empty and not held:
        return
    where = f"the folder{'s' * (len(held) > 1)} {' and '.join(held)}" if held else "the database"
    raise BackupError(
        f"A backup is restored into an empty workspace only, and {workspace.root} holds something in {where}. Set "
        "THAW_HOME (and DATABASE_URL) to a new one, or move everything in it elsewhere first."
    )


def _require_room(workspace: Workspace, manifest: Manifest) -> None:
    free = shutil.disk_usage(workspace.root).free
    if manifest.total_bytes + _MARGIN_BYTES > free:
        raise BackupError(
            f"The backup holds {file_size(manifest.total_bytes)}, and the disk of {workspace.root} has "
            f"{file_size(free)} free. Free some space, or set THAW_HOME to a folder on a larger disk."
        )


# How it is done


def _put_in_place(workspace: Workspace, engine: Engine, manifest: Manifest) -> None:
    """Write the rows, move the files, commit."""
    staging = workspace.unfinished_restore
    try:
        with FileLock(workspace.root / "migrations.lock", timeout=MIGRATION_TIMEOUT_S), engine.begin() as connection:
            if engine.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            if not is_empty(connection):
                raise BackupError(f"Something was put into {workspace.root} meanwhile. Restore into another workspace.")
            _write_rows(connection, manifest, staging)
            write_json(staging / _JOURNAL, _journal_of(manifest))
            if hasattr(os, "sync"):
                os.sync()  # what the rows name must be on the disk before they are
            for folder in FOLDERS:
                (workspace.root / folder).mkdir(exist_ok=True)
                for path in sorted((staging / FILES / folder).glob("*")):
                    place = workspace.root / folder / path.name
                    if place.is_dir():  # without a file: what somebody made and left
                        shutil.rmtree(place)
                    shutil.move(path, place)
    except Timeout as error:
        raise StoreError("Another process changes the tables. Wait for its end and try again.") from error


def _write_rows(connection: Connection, manifest: Manifest, staging: Path) -> None:
    own: dict[Table, list[dict[str, Any]]] = {}
    if manifest.schema_revision != NEWEST_REVISION:  # rows of an older Thaw come into its tables, and move on with them
        tables = [Base.metadata.tables[name] for name in OWN if name in Base.metadata.tables]
        own = {table: [row._asdict() for row in connection.execute(select(table))] for table in tables}
        Base.metadata.drop_all(connection)
        connection.exec_driver_sql("DROP TABLE alembic_version")
        upgrade(connection, manifest.schema_revision)
    lines: dict[str, Iterable[bytes]] = {}
    files = []
    try:
        for name in manifest.rows:
            files.append((staging / f"{ROWS}{name}.jsonl").open("rb"))
            lines[name] = files[-1]
        if fill(connection, lines) != manifest.rows:
            raise Refused("its tables have not as many rows as its manifest says")
    finally:
        for file in files:
            file.close()
    if revision_of(connection) != NEWEST_REVISION:
        upgrade(connection)
        for table, rows in own.items():
            if rows:
                connection.execute(insert_into(table), rows)
    connection.execute(update(Run).values(files=""))  # no object store has any of them yet


def _queue_running(engine: Engine) -> list[int]:
    """Put runs that were under way back into the queue. Where this is killed, whoever lists runs finds them silent."""
    return Runs(engine).requeue_all(REASON)
