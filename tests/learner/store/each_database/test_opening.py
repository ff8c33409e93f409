"""Opening a store: its tables are made once, a database belongs to one workspace, and a bad address is told."""

import os
import re
import shutil
import subprocess
import sys

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, text

from learner.errors import StoreError, ThawError
from learner.store import Store
from learner.store.database import MIGRATIONS, NEWEST_REVISION, open_database
from learner.store.tables import Base
from learner.workspace import Workspace
from tests.learner.store.writing import TWO_IMAGES, in_processes, submit
from tests.patience import GIVE_UP_S
from tests.samples import ROOT

# Tables


def test_eight_processes_that_open_an_empty_workspace_at_once_migrate_it_once(database):
    assert in_processes(8, "print(len(Store().runs.all()))") == ["0\n"] * 8
    with connect(database) as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalars().all() == [NEWEST_REVISION]


def connect(workspace: Workspace):
    return create_engine(workspace.database_url.replace("postgresql:", "postgresql+psycopg:")).connect()


def test_the_newest_revision_is_the_last_step_of_the_migrations():
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_heads() == [NEWEST_REVISION]


def test_the_migrated_tables_are_those_of_the_models(store):
    with connect(store.workspace) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_opening_a_store_again_keeps_everything_and_runs_no_migration(store, monkeypatch):
    run_id = submit(store)
    monkeypatch.setattr("learner.store.database._upgrade", lambda engine: pytest.fail("it migrated again"))
    assert Store(store.workspace).runs.get(run_id).status == "queued"


def test_sqlite_keeps_a_write_ahead_log_so_that_readers_and_a_writer_do_not_wait_for_each_other(workspace):
    Store(workspace)
    engine = open_database(workspace.database_url, workspace.root)
    with engine.connect() as connection:
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
        assert connection.execute(text("PRAGMA foreign_keys")).scalar() == 1
    assert (workspace.root / "thaw.db").exists()
    with engine.begin() as writer:
        writer.execute(text("DELETE FROM runs"))  # takes the write lock
        assert Store(workspace).runs.all() == []


# Whose it is


def test_a_database_outside_belongs_to_the_workspace_that_came_first(tmp_path, postgres_database, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", postgres_database)
    first, other = Workspace(tmp_path / "first"), Workspace(tmp_path / "other")
    opened = Store(first)
    Store(first)
    with pytest.raises(StoreError, match=r"belongs to another workspace than .*other, .* Set THAW_HOME to") as caught:
        Store(other)
    assert opened.workers.alive() == []
    shutil.copytree(first.root, tmp_path / "copy")
    Store(Workspace(tmp_path / "copy"))
    other.id_file.write_text(re.search(r"write (\w+) into", str(caught.value))[1])
    Store(other)


def test_a_worker_of_another_workspace_takes_no_run(tmp_path, postgres_database, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", postgres_database)
    store = Store(Workspace(tmp_path / "first"))
    store.datasets.add_version("pets", TWO_IMAGES, [], note="", fingerprint="")
    run_id = submit(store)
    environment = os.environ | {"THAW_HOME": str(tmp_path / "other"), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "learner", "worker"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=GIVE_UP_S)
    assert done.returncode == 2
    assert "belongs to another workspace" in done.stderr and len(done.stderr.splitlines()) == 1
    assert store.runs.get(run_id).status == "queued"


def test_a_workspace_with_its_own_file_needs_no_id_and_may_be_moved(workspace, tmp_path):
    run_id = Store(workspace).workers.start()
    assert not workspace.id_file.exists()
    workspace.root.rename(tmp_path / "moved")
    assert [worker.id for worker in Store(Workspace(tmp_path / "moved")).workers.alive()] == [run_id]


# Addresses that do not work


def test_a_database_address_that_is_none_is_told_without_its_password(workspace, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql//thaw:s3cret@db/thaw")
    with pytest.raises(ThawError, match="DATABASE_URL is not a database address") as caught:
        Store(workspace)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_a_server_that_does_not_answer_is_told_without_its_password(workspace, monkeypatch, scheme):
    monkeypatch.setenv("DATABASE_URL", f"{scheme}://thaw:s3cret@127.0.0.1:1/thaw")
    with pytest.raises(ThawError, match=r"127\.0\.0\.1:1/thaw cannot be opened: .*Check DATABASE_URL") as caught:
        Store(workspace)
    assert "s3cret" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("address", ["mysql://thaw:s3cret@db/thaw", "nosuch://thaw:s3cret@db/thaw"])
def test_a_kind_of_database_that_is_not_known_or_not_installed_is_told(workspace, monkeypatch, address):
    monkeypatch.setenv("DATABASE_URL", address)
    with pytest.raises(ThawError, match="DATABASE_URL is not a database address that Thaw can use") as caught:
        Store(workspace)
    assert "s3cret" not in str(caught.value)


def test_a_folder_that_cannot_hold_the_workspace_is_told(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(
        ThawError, match=r"The workspace .*file/thaw cannot be made \(Not a directory\)\. Set THAW_HOME"
    ):
        Store(Workspace(tmp_path / "file" / "thaw"))
