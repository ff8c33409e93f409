"""Open the database and bring its tables up to date."""

from pathlib import Path

from filelock import FileLock
from sqlalchemy import Engine, create_engine, event, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, OperationalError
from sqlalchemy.pool import NullPool

from learner.errors import ThawError

MIGRATIONS = Path(__file__).parent / "migrations"
NEWEST_REVISION = "0004"
"""The last numbered step in `migrations/versions`; a test holds the two together."""
BUSY_TIMEOUT_S = 30
"""How long a writer waits for another one before SQLite gives up."""


def open_database(url: str, lock_folder: Path) -> Engine:
    """Connect to `url` and run the migrations that are still missing, one process at a time.

    Raises ThawError when the address is malformed or the server cannot be reached.
    """
    try:
        parsed = make_url(url)
        if parsed.drivername in ("postgres", "postgresql"):
            parsed = parsed.set(drivername="postgresql+psycopg")
        engine = _connect(parsed)
    except (ArgumentError, ModuleNotFoundError) as error:  # the latter: a database whose driver is not installed
        raise ThawError(
            "DATABASE_URL is not a database address that Thaw can use. Use sqlite:///FILE or "
            "postgresql://USER@HOST/NAME, or unset it to keep everything in the workspace."
        ) from error
    try:
        lock_folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ThawError(
            f"The workspace {lock_folder} cannot be made ({error.strerror}). Set THAW_HOME to another folder."
        ) from error
    try:
        with FileLock(lock_folder / "migrations.lock", timeout=60):
            if _revision(engine) != NEWEST_REVISION:
                _upgrade(engine)
    except OperationalError as error:
        reason = " ".join(str(error.orig).split()).rstrip(".?")
        raise ThawError(
            f"The database at {parsed.render_as_string(hide_password=True)} cannot be opened: {reason}. "
            "Check DATABASE_URL, or unset it to keep everything in the workspace."
        ) from error
    return engine


def _connect(parsed) -> Engine:
    if parsed.get_backend_name() != "sqlite":
        return create_engine(parsed, pool_pre_ping=True)
    engine = create_engine(parsed, poolclass=NullPool, connect_args={"timeout": BUSY_TIMEOUT_S})

    @event.listens_for(engine, "connect")
    def prepare(connection, _record):
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    return engine


def _revision(engine: Engine) -> str | None:
    if not inspect(engine).has_table("alembic_version"):
        return None
    with engine.connect() as connection:
        return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _upgrade(engine: Engine) -> None:
    from alembic import command  # half a second, and needed only when the tables are old
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
