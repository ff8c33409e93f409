"""Which workspace a database belongs to, since its runs need what lies there; and that it is whole."""

import uuid

from filelock import FileLock
from sqlalchemy import Engine, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from learner.errors import DatabaseAway, StoreError
from learner.store.tables import WorkspaceId
from learner.workspace import Workspace


def require_same_workspace(engine: Engine, workspace: Workspace) -> None:
    """That the database belongs to the workspace; one without a workspace becomes this one's.

    A file within the workspace always does. Raises StoreError otherwise.
    """
    place = engine.url.database or ""
    if engine.dialect.name == "sqlite" and place == str(workspace.root / "thaw.db"):
        return
    own, theirs = _id_of(workspace), _claimed(engine)
    if theirs is None:
        theirs = _claim(engine, own)
    if theirs != own:
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


def _id_of(workspace: Workspace) -> str:
    """The workspace's id, made now where it has none."""
    file = workspace.id_file
    if not file.exists():
        try:
            with FileLock(workspace.root / "migrations.lock"):
                if not file.exists():
                    part = file.with_suffix(".part")
                    part.write_text(f"{uuid.uuid4().hex}\n", "utf-8")
                    part.replace(file)
        except OSError as error:
            raise StoreError(
                f"{file} cannot be written ({error.strerror}). Set THAW_HOME to another folder."
            ) from error
    return file.read_text("utf-8").strip()


def _claimed(engine: Engine) -> str | None:
    with Session(engine) as session:
        return session.scalar(select(WorkspaceId.id))


def _claim(engine: Engine, own: str) -> str:
    """Write the id, unless another workspace was faster; returns the one that stands there."""
    try:
        with Session(engine) as session, session.begin():
            session.add(WorkspaceId(one=1, id=own))
    except IntegrityError:
        return _claimed(engine) or own
    except DatabaseAway:
        raise
    except StoreError:  # it may only be read: then it can be looked at, and nothing can be submitted or trained
        return own
    return own
