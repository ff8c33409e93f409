"""Which workspace a database belongs to, since its runs need what lies there; and that it is whole.

With `THAW_FILES` the files lie in an object store, so that a database and its store belong together, and the folders of
several machines are one workspace: an empty one joins it when it is opened first.
"""

import uuid

from filelock import FileLock
from sqlalchemy import Engine, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from learner.errors import DatabaseAway, StoreError
from learner.store.objects import VARIABLE, shown_address
from learner.store.tables import WorkspaceId
from learner.workspace import Workspace


def require_same_workspace(engine: Engine, workspace: Workspace) -> None:
    """That the database belongs to the workspace; one without a workspace becomes this one's.

    A file within the workspace always does. Raises StoreError otherwise.
    """
    place, files = engine.url.database or "", shown_address()
    row = _claimed(engine)
    is_inside = engine.dialect.name == "sqlite" and place == str(workspace.root / "thaw.db")
    if is_inside and not files and (row is None or not row.files):
        return
    if row is not None and files == row.files != "" and not workspace.id_file.exists() and _is_empty(workspace):
        _write_id(workspace, row.id)
    if is_inside and files and row is None and workspace.id_file.exists():  # it would clear up what the other one names
        raise StoreError(
            f"{workspace.root} is a working copy of another database's workspace, whose files are in {files}, and "
            f"DATABASE_URL does not name that database. Set it; or, to begin anew here, remove {workspace.id_file}."
        )
    own = _id_of(workspace)
    if row is None:
        row = _claim(engine, own, files)
    theirs = row.id
    if theirs == own:
        _require_same_files(engine, row, files)
    elif is_inside:
        raise StoreError(
            f"{workspace.id_file} is not that of the database beside it, whose files are in {row.files or files}. "
            f"Write {theirs} into it."
        )
    else:
        raise StoreError(
            f"The database at {engine.url.render_as_string(hide_password=True)} belongs to another workspace than "
            f"{workspace.root}, so the images and models that it speaks of are not here. Set THAW_HOME to that "
            "workspace, or DATABASE_URL to another database. If this is a copy of that workspace, write "
            f"{theirs} into {workspace.id_file}."
        )


def require_no_restore(workspace: Workspace) -> None:
    """That no backup is being restored into the workspace. Raises StoreError, also where a restore was killed."""
    if workspace.unfinished_restore.exists():
        raise StoreError(
            f"A backup is being restored into {workspace.root}, or that was ended before it was done. Wait for its "
            "end, or do it again: python -m learner restore FILE. To give it up, empty that folder."
        )


def _require_same_files(engine: Engine, row: WorkspaceId, files: str) -> None:
    """That the workspace's files are where this process looks for them; those of a folder may move into a store."""
    if row.files == files:
        return
    if row.files:
        raise StoreError(
            f"The files of this workspace are in {row.files}, and {VARIABLE} "
            f"{f'names {files}' if files else 'is not set'}. Set {VARIABLE} to {row.files}."
        )
    with Session(engine) as session, session.begin():
        session.execute(update(WorkspaceId).where(WorkspaceId.files == "").values(files=files))
    row = _claimed(engine) or row
    if row.files != files:
        _require_same_files(engine, row, files)


def _is_empty(workspace: Workspace) -> bool:
    return not any(folder.is_dir() and any(folder.iterdir()) for folder in (workspace.runs, workspace.datasets))


def _id_of(workspace: Workspace) -> str:
    """The workspace's id, made now where it has none."""
    if not workspace.id_file.exists():
        _write_id(workspace, uuid.uuid4().hex)
    return workspace.id_file.read_text("utf-8").strip()


def _write_id(workspace: Workspace, own: str) -> None:
    """Nothing happens where another process was faster."""
    file = workspace.id_file
    if not file.exists():
        try:
            with FileLock(workspace.root / "migrations.lock"):
                if not file.exists():
                    part = file.with_suffix(".part")
                    part.write_text(f"{own}\n", "utf-8")
                    part.replace(file)
        except OSError as error:
            raise StoreError(
                f"{file} cannot be written ({error.strerror}). Set THAW_HOME to another folder."
            ) from error


def _claimed(engine: Engine) -> WorkspaceId | None:
    with Session(engine, expire_on_commit=False) as session:
        return session.scalar(select(WorkspaceId))


def _claim(engine: Engine, id_: str, files: str) -> WorkspaceId:
    """Write the id, unless another workspace was faster; returns the one that stands there."""
    own = WorkspaceId(one=1, id=id_, files=files)
    try:
        with Session(engine, expire_on_commit=False) as session, session.begin():
            session.add(own)
    except IntegrityError:
        return _claimed(engine) or own
    except DatabaseAway:
        raise
    except StoreError:  # it may only be read: then it can be looked at, and nothing can be submitted or trained
        return own
    return own
