"""Open the database and bring its tables up to date; say in words what is wrong with it."""

from pathlib import Path

from filelock import FileLock, Timeout
from sqlalchemy import Connection, Engine, Executable, create_engine, event, inspect, text
from sqlalchemy.engine import URL, ExceptionContext, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DatabaseError
from sqlalchemy.pool import ConnectionPoolEntry, NullPool

from learner.errors import DatabaseAway, StoreError, ThawError, is_disk_full

MIGRATIONS = Path(__file__).parent / "migrations"
NEWEST_REVISION = "0012"
"""The last numbered step in `migrations/versions`; a test holds the two together."""
BUSY_TIMEOUT_S = 30
"""How long a writer waits for another one before SQLite gives up."""
MIGRATION_TIMEOUT_S = 60
"""How long whoever opens the database waits for another process that changes its tables."""


def open_database(url: str, lock_folder: Path, schema: str = "") -> Engine:
    """Connect to `url` and run the migrations that are still missing, one process at a time.

    With `schema` the tables of a PostgreSQL database are those of that schema, which is made where it is missing.
    From then on the engine raises StoreError, in words, where the database is locked, away, damaged or read-only.
    Raises ThawError when the address is malformed, the server cannot be reached, the workspace cannot be written, or
    a newer Thaw has changed the tables.
    """
    engine = _engine(url, schema)
    parsed = engine.url
    try:
        lock_folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ThawError(
            f"The workspace {lock_folder} cannot be made ({error.strerror}). Set THAW_HOME to another folder."
        ) from error
    try:
        with FileLock(lock_folder / "migrations.lock", timeout=MIGRATION_TIMEOUT_S):
            if schema and parsed.get_backend_name() == "postgresql":
                with engine.begin() as connection:
                    connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {schema}"))
            if _revision(engine, parsed) != NEWEST_REVISION:
                _upgrade(engine)
    except Timeout as error:
        raise DatabaseAway(
            f"Another process has been changing the tables of {_address(parsed)} for over {MIGRATION_TIMEOUT_S} s. "
            "Wait for its end, or end it, and try again."
        ) from error
    except OSError as error:
        raise StoreError(
            f"The workspace {lock_folder} cannot be written ({error.strerror}). Give the user that runs Thaw the "
            "right to write there, or set THAW_HOME to another folder."
        ) from error
    except DatabaseError as error:
        cause = error.orig or error
        told = _in_words(cause, parsed) if parsed.get_backend_name() == "sqlite" else None
        raise told or _unopened(cause, parsed) from error
    _tell_in_words(engine, parsed)
    return engine


def connect(url: str, schema: str = "") -> Engine:
    """An engine that changes no tables and says what is wrong in words; nothing is asked of it yet.

    `url` and `schema` are as for `open_database`. Raises ThawError when the address is malformed.
    """
    engine = _engine(url, schema)
    _tell_in_words(engine, engine.url)
    return engine


def revision_of(connection: Connection) -> str | None:
    """The newest step that the tables have; None without tables."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return found


def known_revisions() -> set[str]:
    """Every step that this Thaw knows."""
    return {path.name.partition("_")[0] for path in (MIGRATIONS / "versions").glob("*.py")}


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Bring the tables to that step, in the transaction of the connection."""
    from alembic import command  # half a second, and needed only when the tables are old
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def _engine(url: str, schema: str) -> Engine:
    try:
        parsed = make_url(url)
        if parsed.drivername in ("postgres", "postgresql"):
            parsed = parsed.set(drivername="postgresql+psycopg")
        if schema and parsed.get_backend_name() == "postgresql":
            parsed = parsed.update_query_dict({"options": f"-csearch_path={schema}"})
        return _connect(parsed)
    except (ArgumentError, ModuleNotFoundError) as error:  # the latter: a database whose driver is not installed
        raise ThawError(
            "DATABASE_URL is not a database address that Thaw can use. Use sqlite:///FILE or "
            "postgresql://USER@HOST/NAME, or unset it to keep everything in the workspace."
        ) from error


def _connect(parsed: URL) -> Engine:
    if parsed.get_backend_name() != "sqlite":
        return create_engine(parsed, pool_pre_ping=True)
    engine = create_engine(parsed, poolclass=NullPool, connect_args={"timeout": BUSY_TIMEOUT_S})

    @event.listens_for(engine, "connect")
    def prepare(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    return engine


def refuse_changes(engine: Engine, reason: str) -> None:
    """From now on whatever would change a row raises StoreError with that reason."""

    @event.listens_for(engine, "before_execute")
    def refuse(_connection: Connection, statement: Executable, *_: object) -> None:
        if statement.is_dml:
            raise StoreError(reason)


def give_up_early(connection: Connection, seconds: float) -> None:
    """Let what follows on this connection wait no longer than that for another writer."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {round(1000 * seconds)}")
    else:
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {round(1000 * seconds)}")


def _revision(engine: Engine, parsed: URL) -> str | None:
    """The newest step that the tables have; None without tables. Raises StoreError for one that is not known here."""
    with engine.connect() as connection:
        revision = revision_of(connection)
    if revision is not None and revision not in known_revisions():
        raise StoreError(
            f"A newer Thaw has changed the database at {_address(parsed)}: its tables are at step {revision}, and this "
            f"Thaw knows them up to step {NEWEST_REVISION}. Update Thaw, or set THAW_HOME (and DATABASE_URL) to "
            "another workspace."
        )
    return revision


def _upgrade(engine: Engine) -> None:
    with engine.begin() as connection:
        upgrade(connection)


# What is wrong, in words


def _tell_in_words(engine: Engine, parsed: URL) -> None:
    @event.listens_for(engine, "handle_error")
    def tell(context: ExceptionContext) -> None:
        if told := _in_words(context.original_exception, parsed):
            raise told from context.original_exception


def _in_words(error: BaseException, parsed: URL) -> StoreError | None:
    """None for what is no trouble with the database itself: a defect."""
    place, reason = f"The database at {_address(parsed)}", _reason(error)
    if is_disk_full(error) or "disk I/O error" in reason:  # of a full disk SQLite says either
        return DatabaseAway(
            f"{place} cannot be written: its disk is full, or fails. Nothing was changed. Free some space there and "
            "try again; runs go on by themselves."
        )
    if parsed.get_backend_name() != "sqlite":
        if "OperationalError" not in {kind.__name__ for kind in type(error).__mro__}:
            return None
        return DatabaseAway(f"{place} does not answer ({reason}). Try again when it does.")
    if "locked" in reason or "busy" in reason:
        return DatabaseAway(
            f"{place} is locked by another program, and stayed so for {BUSY_TIMEOUT_S} s. Nothing was changed. Try "
            "again when that program is done, or end it."
        )
    if "readonly" in reason:
        return StoreError(
            f"{place} cannot be written. Give the user that runs Thaw the right to write the file and its folder, or "
            "set THAW_HOME to another folder."
        )
    if "malformed" in reason or "not a database" in reason:
        return StoreError(
            f"{place} is damaged ({reason}). Put a backup of the file in its place, or move the file away to begin "
            "with an empty one; images and models stay in the workspace."
        )
    if "unable to open" in reason:
        return _unopened(error, parsed)
    return None


def _unopened(error: BaseException, parsed: URL) -> StoreError:
    return StoreError(
        f"The database at {_address(parsed)} cannot be opened: {_reason(error)}. Check DATABASE_URL, or unset it to "
        "keep everything in the workspace."
    )


def _address(parsed: URL) -> str:
    return parsed.render_as_string(hide_password=True)


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split()).rstrip(".?")
