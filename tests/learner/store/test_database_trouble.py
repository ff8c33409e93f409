"""A database that is locked, away, damaged, too new or read-only: a sentence, and runs go on by themselves."""

import subprocess
import sys
from collections.abc import Callable
from contextlib import contextmanager, suppress

import pytest
from sqlalchemy import create_engine, text

import learner.store.claims
import learner.store.database
import learner.training.process
from learner.errors import DatabaseAway, StoreError
from learner.recipe import Phase
from learner.store import Store
from learner.training.process import execute
from learner.training.progress import Listener
from tests.disks import disk_of
from tests.learner.killing import left_behind
from tests.samples import small_recipe

RECIPE = small_recipe(phases=[Phase("Warm-up", epochs=3, lr=0.01)], batch_size=4, precision="fp32", cache="off")

HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.read()
"""


def hold(store: Store) -> subprocess.Popen:
    """Another process that holds the database until its stdin is closed."""
    command = [sys.executable, "-c", HOLD, str(store.workspace.root / "thaw.db")]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    return holder


def release(holder: subprocess.Popen) -> None:
    holder.communicate()


@contextmanager
def locked(store: Store):
    """Another process holds the database as long as this lasts."""
    holder = hold(store)
    yield
    release(holder)


@pytest.fixture
def impatient(monkeypatch, workspace) -> Store:
    """A store that waits for a tenth of a second for others."""
    monkeypatch.setattr(learner.store.database, "BUSY_TIMEOUT_S", 0.1)
    monkeypatch.setattr(learner.store.claims, "LISTING_PATIENCE_S", 0.1)
    monkeypatch.setattr(learner.training.process, "WAIT_S", 0.1)
    return Store(workspace)


@pytest.fixture
def small_disk(tmp_path):
    with disk_of(4, tmp_path / "disk") as disk:
        yield disk


class AtEpoch(Listener):
    """Does something once, when an epoch is done."""

    def __init__(self, work: Callable):
        self.work = work

    def on_epoch(self, figures, is_best) -> None:
        work, self.work = self.work, lambda: None
        work()


# Locked


def test_a_database_that_is_locked_for_long_holds_a_run_up_and_changes_nothing_of_it(pets, impatient, monkeypatch):
    whole = impatient.submit(RECIPE, running=True)
    assert execute(impatient, whole) == "finished"
    holders, waits = [], []

    def wait(store, run_id, really=learner.training.process._wait_for_database):
        waits.append(store.runs.get(run_id).status)
        with pytest.raises(DatabaseAway):
            store.runs.beat(run_id)
        release(holders.pop())
        really(store, run_id)

    monkeypatch.setattr(learner.training.process, "_wait_for_database", wait)
    run_id = impatient.submit(RECIPE, running=True)
    assert execute(impatient, run_id, AtEpoch(lambda: holders.append(hold(impatient)))) == "finished"
    assert waits == ["running"]
    assert impatient.runs.get(run_id).deaths == 0
    assert left_behind(impatient, run_id) == left_behind(impatient, whole)


def test_a_disk_that_is_full_for_the_database_holds_a_run_up_and_changes_nothing_of_it(pets, small_disk, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{small_disk / 'thaw.db'}")
    monkeypatch.setattr(learner.training.process, "WAIT_S", 0.1)
    (small_disk / "thaw.db").write_bytes((pets.workspace.root / "thaw.db").read_bytes())
    store = Store(pets.workspace)
    ballast, said = small_disk / "ballast", []

    def fill() -> None:
        with suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(512))

    def wait(store, run_id, really=learner.training.process._wait_for_database):
        with pytest.raises(DatabaseAway) as full:
            store.submit(RECIPE)
        said.append(str(full.value))
        ballast.unlink()
        really(store, run_id)

    whole = store.submit(RECIPE, running=True)
    assert execute(store, whole) == "finished"
    monkeypatch.setattr(learner.training.process, "_wait_for_database", wait)
    run_id = store.submit(RECIPE, running=True)
    assert execute(store, run_id, AtEpoch(fill)) == "finished"
    assert len(said) == 1 and "cannot be written: its disk is full, or fails. Nothing was changed." in said[0]
    assert store.runs.get(run_id).deaths == 0
    assert left_behind(store, run_id) == left_behind(store, whole)


def test_a_locked_database_is_told_in_a_sentence(impatient):
    with locked(impatient), pytest.raises(DatabaseAway, match=r"thaw\.db is locked by another program, .* Try again"):
        impatient.workers.start()
    impatient.workers.start()


def test_runs_are_listed_while_the_database_is_locked_and_a_silent_one_is_queued_again_later(
    pets, impatient, monkeypatch
):
    run_id = impatient.submit(RECIPE, running=True)
    monkeypatch.setattr(learner.store.claims, "SILENT_AFTER_S", -1)
    with locked(impatient):
        opened = Store(impatient.workspace)
        assert opened.runs.requeue_silent() == []
        assert [(run.id, run.status) for run in opened.runs.all()] == [(run_id, "running")]
    assert impatient.runs.requeue_silent() == [run_id]


# What cannot be opened


def test_tables_of_a_newer_thaw_are_left_alone(store):
    engine = create_engine(store.workspace.database_url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreError, match=r"A newer Thaw has changed .*thaw\.db: .* step 9999, .* Update Thaw"):
        Store(store.workspace)


def test_a_file_that_is_no_database_is_told_and_left_alone(workspace):
    workspace.root.mkdir()
    (workspace.root / "thaw.db").write_bytes(b"garbage " * 1000)
    with pytest.raises(StoreError, match=r"thaw\.db is damaged \(file is not a database\)\. Put a backup"):
        Store(workspace)
    assert (workspace.root / "thaw.db").read_bytes() == b"garbage " * 1000


def test_a_database_that_lost_its_second_half_is_told(pets):
    file = pets.workspace.root / "thaw.db"
    with create_engine(pets.workspace.database_url).connect() as connection:
        connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(StoreError, match=r"thaw\.db is damaged \(database disk image is malformed\)\. Put a backup"):
        store = Store(pets.workspace)
        store.runs.all()
        store.datasets.images(store.datasets.version("pets").id)


def test_a_database_that_may_only_be_read_is_told(workspace, store, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///file:{workspace.root / 'thaw.db'}?mode=ro&uri=true")
    opened = Store(workspace)
    assert opened.runs.all() == opened.runs.requeue_silent() == []
    with pytest.raises(StoreError, match=r"cannot be written\. Give the user that runs Thaw the right"):
        opened.workers.start()


def test_a_workspace_that_cannot_be_written_is_told(workspace):
    (workspace.root / "migrations.lock").mkdir(parents=True)
    with pytest.raises(StoreError, match=r"The workspace .* cannot be written \(Is a directory\)\. .* set THAW_HOME"):
        Store(workspace)


def test_whoever_waits_too_long_for_another_process_that_changes_the_tables_is_told(workspace, store, monkeypatch):
    from filelock import FileLock

    monkeypatch.setattr(learner.store.database, "MIGRATION_TIMEOUT_S", 0.1)
    with FileLock(workspace.root / "migrations.lock"), pytest.raises(DatabaseAway, match="Another process has been"):
        Store(workspace)
