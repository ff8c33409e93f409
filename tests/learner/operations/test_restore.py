"""A backup comes into an empty workspace whole or not at all, from either database into either, killed or not."""

import json
import time

import pytest
from filelock import FileLock
from sqlalchemy import text

import learner.operations.restore
import learner.store.runs
from learner.errors import BackupError, StoreError
from learner.operations.backup import back_up
from learner.operations.restore import restore
from learner.store import Store
from learner.store.database import connect
from learner.workspace import Workspace
from tests.learner.operations.archives import die_in_restore, entries_of, files_of, forge, holds_nothing, rows_of
from tests.learner.store.writing import TWO_IMAGES, submit
from tests.ready import SERVER
from tests.samples import TWO_PHASES, copy_workspace


@pytest.fixture(scope="module")
def full(trained_home, tmp_path_factory) -> Workspace:
    """A workspace with a finished run and one that waits; for reading only."""
    workspace = Workspace(tmp_path_factory.mktemp("full"))
    copy_workspace(trained_home, workspace.root)
    (workspace.weights).mkdir(exist_ok=True)
    (workspace.weights / "vgg16.pth").write_bytes(b"weights")
    Store(workspace).submit(TWO_PHASES)
    return workspace


@pytest.fixture(scope="module")
def backup(full):
    return back_up(full, full.root / "b.zip").path


@pytest.fixture
def new(tmp_path, monkeypatch) -> Workspace:
    """A workspace that nobody has opened."""
    monkeypatch.setenv("THAW_HOME", str(tmp_path / "new"))
    monkeypatch.delenv("DATABASE_URL", raising=False)
    return Workspace.current()


def is_whole(workspace: Workspace, full: Workspace) -> bool:
    return (files_of(workspace), rows_of(workspace.database_url)) == (files_of(full), rows_of(full.database_url))


# From either database into either


def test_what_was_on_sqlite_goes_on_on_postgresql_and_back(full, backup, new, postgres_database, tmp_path, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", postgres_database)
    restore(new, backup)
    monkeypatch.delenv("DATABASE_URL")
    expected = rows_of(full.database_url)
    assert rows_of(postgres_database) == expected
    assert files_of(new) == files_of(full)

    monkeypatch.setenv("DATABASE_URL", postgres_database)
    store = Store(new)
    newest = max(row["id"] for row in expected["runs"])
    assert store.submit(TWO_PHASES) == newest + 1
    back = back_up(new, tmp_path / "back.zip")
    moved = rows_of(postgres_database)
    monkeypatch.delenv("DATABASE_URL")
    again = Workspace(tmp_path / "again")
    restore(again, back.path)
    assert rows_of(again.database_url) == moved
    assert Store(again).submit(TWO_PHASES) == newest + 2


def test_every_numbered_table_of_postgresql_goes_on_after_the_rows_that_came(
    backup, new, postgres_database, monkeypatch
):
    monkeypatch.setenv("DATABASE_URL", postgres_database)
    restore(new, backup)
    engine = connect(postgres_database)
    with engine.connect() as connection:
        for table in ("datasets", "dataset_versions", "images", "runs", "steps"):
            largest, following = connection.execute(
                text(f"SELECT max(id), nextval(pg_get_serial_sequence('{table}', 'id')) FROM {table}")
            ).one()
            assert following == largest + 1, table
    engine.dispose()


def test_values_that_a_row_lacks_are_null_there_too(backup, new):
    restore(new, backup)
    engine = connect(new.database_url)
    with engine.connect() as connection:
        nulls = connection.execute(text("SELECT count(*) FROM images WHERE probabilities IS NULL")).scalar()
        assert nulls == connection.execute(text("SELECT count(*) FROM images")).scalar() > 0


def test_spaces_that_share_a_database_are_workspaces_of_their_own(
    full, backup, tmp_path, postgres_database, monkeypatch
):
    expected = rows_of(full.database_url)
    top = Workspace(tmp_path / "top")
    top.root.mkdir()
    top.people_file.write_text("")
    ada, bob = (Workspace(top.spaces / name) for name in ("ada", "bob"))
    monkeypatch.setenv("DATABASE_URL", postgres_database)
    restore(ada, backup)
    moved = back_up(ada, tmp_path / "ada.zip")
    restore(bob, moved.path)
    assert rows_of(postgres_database, ada.schema) == rows_of(postgres_database, bob.schema) == expected
    assert files_of(ada) == files_of(bob) == files_of(full)
    assert Store(top).runs.all() == [] and ada.schema != bob.schema
    assert back_up(top, tmp_path / "top.zip").spaces == [ada.root, bob.root]


# What was under way


def test_a_run_that_was_under_way_waits_for_a_worker_and_others_stay_as_they_are(full, new, tmp_path):
    source = Workspace(tmp_path / "busy")
    copy_workspace(full.root, source.root)
    store = Store(source)
    running = submit(store, running=True)
    told = restore(new, back_up(source, tmp_path / "b.zip").path)
    assert told.queued == [running]
    back = {run.id: run.status for run in Store(new).runs.all()}
    assert back == {1: "finished", 2: "queued", running: "queued"}
    assert Store(new).runs.claim() == running  # it goes first
    assert store.runs.get(running).status == "running"


# Older and newer


def older_backup(file, backup, revision: str):
    """What a Thaw whose tables were at that step would have written: one data set and one run that trains."""
    entries = entries_of(backup)
    entries = {name: held for name, held in entries.items() if not name.startswith(("database/", "files/"))}
    now = time.time()
    version = {"id": 3, "dataset_id": 2, "number": 1, "created_at": now, "note": "", "fingerprint": "f"}
    image = {"version_id": 3, "split": "", "width": 3, "height": 4, "excluded": False}
    images = [
        image
        | {"id": 8 + number, "path": f"{each}.jpg", "file": f"images/aa/{each}.jpg", "label": each, "sha256": each}
        for number, each in enumerate(("cat", "dog"))
    ]
    run = {"id": 7, "status": "running", "reason": "", "recipe": TWO_PHASES.to_dict(), "dataset_version_id": 3}
    run |= {"created_at": now, "started_at": now, "finished_at": None, "heartbeat_at": now, "stop_requested": False}
    run |= {"host": "h", "pid": 1, "progress": {}, "facts": {}, "best_accuracy": None, "best_epoch": None}
    dataset = {"id": 2, "name": "pets", "created_at": now}
    tables = {"datasets": [dataset], "dataset_versions": [version], "images": images, "runs": [run]}
    for name, rows in tables.items():
        entries[f"database/{name}.jsonl"] = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    entries["files/datasets/pets/images/aa/cat.jpg"] = b"jpeg"
    return forge(file, entries, schema_revision=revision, rows={name: len(rows) for name, rows in tables.items()})


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_a_backup_of_an_older_thaw_moves_on_with_the_tables(backup, new, tmp_path, database, request, monkeypatch):
    if database == "postgresql":
        monkeypatch.setenv("DATABASE_URL", request.getfixturevalue("postgres_database"))
    worker = Store(new).workers.start()
    restore(new, older_backup(tmp_path / "old.zip", backup, "0001"))
    store = Store(new)
    run = store.runs.get(7)
    assert (run.status, run.asked, run.deaths) == ("queued", "", 0)
    image, _ = store.datasets.images(store.datasets.version("pets").id)
    assert (image.path, image.reason, image.weight) == ("cat.jpg", "", None)
    assert store.submit(TWO_PHASES) == 8
    assert [alive.id for alive in store.workers.alive()] == [worker]


def test_a_backup_of_a_newer_thaw_is_refused_with_the_way_out(backup, new, tmp_path):
    newer = forge(tmp_path / "newer.zip", entries_of(backup), schema_revision="9999", thaw="7.0")
    with pytest.raises(BackupError, match=r"a newer Thaw \(7\.0\) made it, .* step 9999, .* Update Thaw first"):
        restore(new, newer)
    assert not new.root.exists()


# Only into an empty workspace


def test_a_workspace_that_holds_anything_is_left_alone(full, backup, tmp_path):
    before = files_of(full), rows_of(full.database_url)
    with pytest.raises(BackupError, match=r"an empty workspace only, and .* Set THAW_HOME .* to a new one"):
        restore(full, backup)
    assert (files_of(full), rows_of(full.database_url)) == before
    only_files = Workspace(tmp_path / "files")
    (only_files.weights).mkdir(parents=True)
    (only_files.weights / "vgg16.pth").write_bytes(b"a person's")
    with pytest.raises(BackupError, match="holds something in the folder weights"):
        restore(only_files, backup)


def test_rows_alone_are_something_too(full, backup, new, postgres_database, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", postgres_database)
    restore(new, backup)
    for folder in ("datasets", "runs", "weights"):
        (new.root / folder).rename(new.root.parent / folder)
    with pytest.raises(BackupError, match="holds something in the database"):
        restore(new, backup)


def test_a_database_of_another_workspace_is_refused(backup, new, tmp_path, postgres_database, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", postgres_database)
    Store(Workspace(tmp_path / "theirs"))
    with pytest.raises(StoreError, match="belongs to another workspace"):
        restore(new, backup)


def test_a_workspace_that_was_opened_and_not_used_is_empty(full, backup, new):
    Store(new)
    (new.datasets / "half-made" / "images").mkdir(parents=True)
    restore(new, backup)
    assert is_whole(new, full)


def test_two_restores_at_once_are_told(backup, new):
    (new.root / "locks").mkdir(parents=True)
    with FileLock(new.root / "locks" / "restore.lock"), pytest.raises(BackupError, match="Wait for its end"):
        restore(new, backup)


def test_what_is_put_there_meanwhile_is_kept_and_nothing_else_comes(backup, new, monkeypatch):
    store, place = Store(new), learner.operations.restore._put_in_place

    def after_somebody(*arguments):
        store.datasets.add_version("theirs", TWO_IMAGES, [], "", "f")
        place(*arguments)

    monkeypatch.setattr(learner.operations.restore, "_put_in_place", after_somebody)
    with pytest.raises(BackupError, match=r"Something was put into .* meanwhile"):
        restore(new, backup)
    assert files_of(new) == {}
    assert Store(new).datasets.names() == ["theirs"]


# Killed at any moment

MOMENTS = [
    ("extract", 1, True),
    ("extract", 30, False),
    ("fill", 1, True),
    ("fill", 1, False),
    ("write_json", 1, False),
    ("move", 1, False),
    ("move", 2, False),
    ("move", 3, False),
]


def restore_and_be_killed(new: Workspace, url: str, backup, *moment) -> None:
    process = SERVER.Process(target=die_in_restore, args=(str(new.root), url, str(backup), *moment))
    process.start()
    process.join()
    assert process.exitcode == -9


@pytest.mark.parametrize(("name", "at_call", "before"), MOMENTS)
def test_a_restore_that_was_killed_is_told_and_can_be_done_again(full, backup, new, name, at_call, before):
    restore_and_be_killed(new, "", backup, name, at_call, before)
    with pytest.raises(
        StoreError, match=r"A backup is being restored into .*, or that was ended .* do it again: python"
    ):
        Store(new)
    restore(new, backup)
    assert is_whole(new, full)
    assert not new.unfinished_restore.exists()


@pytest.mark.parametrize(("name", "at_call", "before"), [("fill", 1, False), ("move", 2, False)])
def test_on_postgresql_too(full, backup, new, postgres_database, monkeypatch, name, at_call, before):
    restore_and_be_killed(new, postgres_database, backup, name, at_call, before)
    expected = files_of(full), rows_of(full.database_url)
    monkeypatch.setenv("DATABASE_URL", postgres_database)
    with pytest.raises(StoreError, match="do it again"):
        Store(new)
    restore(new, backup)
    assert (files_of(new), rows_of(postgres_database)) == expected


def test_one_that_was_killed_when_all_was_in_place_is_found_complete(full, backup, new):
    restore_and_be_killed(new, "", backup, "_queue_running", 1, True)
    assert restore(new, backup).was_complete
    assert is_whole(new, full)
    assert [run.id for run in Store(new).runs.all()] == [2, 1]


def test_what_a_killed_one_left_of_another_backup_does_not_stay(full, backup, new, tmp_path):
    restore_and_be_killed(new, "", backup, "move", 3, False)
    other = older_backup(tmp_path / "old.zip", backup, "0001")
    restore(new, other)
    assert files_of(new) == {"datasets/pets/images/aa/cat.jpg": b"jpeg"}


def test_a_full_disk_leaves_it_empty(backup, new, monkeypatch):
    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(learner.operations.restore.shutil, "move", full_disk)
    with pytest.raises(BackupError, match=r"The backup could not be kept in .*: the disk is full"):
        restore(new, backup)
    monkeypatch.undo()
    assert holds_nothing(new)
