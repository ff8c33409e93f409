"""Whether the database can be used right now, asked without changing anything in it."""

from functools import lru_cache

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from learner.errors import DatabaseAway, StoreError
from learner.store.database import NEWEST_REVISION, connect, give_up_early, known_revisions, revision_of
from learner.store.ownership import require_no_restore
from learner.workspace import Workspace

PATIENCE_S = 2.0
"""How long another writer may hold the database up."""


def require_ready(workspace: Workspace) -> None:
    """That the database answers, its tables are up to date, and it can be written. Raises ThawError with a sentence.

    A row is written as it is and taken back, so nothing changes; the tables are never brought up to date here.
    """
    require_no_restore(workspace)
    engine = _engine(workspace.database_url, workspace.schema)
    if engine.dialect.name == "sqlite" and not workspace.root.is_dir():
        raise StoreError(f"The workspace {workspace.root} is not there yet. Open a page, or start a worker.")
    try:
        with engine.connect() as connection:
            _require_current(connection)
            give_up_early(connection, PATIENCE_S)
            connection.execute(text("UPDATE alembic_version SET version_num = version_num"))
            connection.rollback()
    except DatabaseAway as error:
        if engine.dialect.name != "sqlite":
            raise
        raise DatabaseAway(f"Another program has held the database for over {PATIENCE_S:g} s.") from error
    except DBAPIError as error:  # such as PostgreSQL's: it may only be read, or a lock is not given
        raise StoreError(f"The database cannot be written: {' '.join(str(error.orig).split())}.") from error


def _require_current(connection: Connection) -> None:
    revision = revision_of(connection)
    if revision == NEWEST_REVISION:
        return
    if revision is None:
        raise StoreError("The database has no tables yet. Open a page, or start a worker, to make them.")
    if revision in known_revisions():
        raise StoreError(
            f"The tables are at step {revision}, and this Thaw needs step {NEWEST_REVISION}. Open a page, or restart "
            "the web process, to bring them up to date."
        )
    raise StoreError(f"A newer Thaw has changed the tables: they are at step {revision}. Update Thaw.")


@lru_cache(maxsize=4)
def _engine(url: str, schema: str) -> Engine:
    """One for each address, as making one costs more than asking it."""
    return connect(url, schema)
