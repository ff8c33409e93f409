"""Doctor, backups, housekeeping, spaces and the cache of images where an object store holds the files."""

import os
import time

from learner.datasets import add_dataset
from learner.datasets.files import bring_images
from learner.housekeeping import clean_up
from learner.operations.backup import back_up
from learner.operations.doctor import examine
from learner.operations.restore import restore
from learner.store import Store, image_cache
from learner.store.files import is_any
from learner.workspace import Workspace
from tests.samples import make_photos, small_recipe


def kept_run(store: Store, tmp_path, model: bytes) -> int:
    if not store.datasets.names():
        add_dataset(store, make_photos(tmp_path / "photos", {"cat": 3, "dog": 3}), "pets")
    run_id = store.submit(small_recipe(), running=True)
    store.files.begin(run_id, print)
    file = store.workspace.checkpoint(run_id)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(model)
    store.files.keep(run_id, print)
    store.files.let_go(run_id)
    store.runs.end(run_id, "finished")
    return run_id


def test_the_doctor_writes_reads_and_removes_an_object(machine, bucket):
    store = machine("one")

    def files() -> tuple[str, str]:
        return next((one.state, one.told) for one in examine(store.workspace) if one.what == "Files")

    assert files()[0] == "ok"
    assert [one.method for one in bucket.seen] == ["PUT", "GET", "DELETE"]
    bucket.fails = lambda request: True
    state, told = files()
    assert state == "failed" and "cannot be written" in told and "very-secret" not in told


def test_what_was_here_before_there_was_a_store_is_sent_by_whoever_tidies_up(machine, tmp_path, monkeypatch):
    address = os.environ["THAW_FILES"]
    monkeypatch.delenv("THAW_FILES")
    one = machine("one")
    add_dataset(one, make_photos(tmp_path / "photos", {"cat": 3, "dog": 3}), "pets")
    run_id = one.submit(small_recipe(), running=True)
    one.workspace.checkpoint(run_id).parent.mkdir(parents=True)
    one.workspace.checkpoint(run_id).write_bytes(b"model")
    one.runs.end(run_id, "finished")
    monkeypatch.setenv("THAW_FILES", address)
    clean_up(machine("one"))
    two = machine("two")
    assert two.checkpoint(run_id).read_bytes() == b"model"
    images = two.datasets.images(two.datasets.version("pets").id)
    bring_images(two, "pets", images)


def test_a_backup_holds_what_only_the_store_has(machine, tmp_path, monkeypatch):
    run_id = kept_run(machine("one"), tmp_path, b"model")
    two = machine("two")
    back_up(two.workspace, tmp_path / "backup.zip")
    for name in ("DATABASE_URL", "THAW_FILES"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("THAW_HOME", str(tmp_path / "restored"))
    restore(Workspace(tmp_path / "restored"), tmp_path / "backup.zip")
    restored = Store(Workspace(tmp_path / "restored"))
    assert restored.checkpoint(run_id).read_bytes() == b"model"
    version = restored.datasets.version("pets")
    folder = next(restored.workspace.datasets.iterdir())
    assert all((folder / image.file).is_file() for image in restored.datasets.images(version.id))


def test_workspaces_that_share_a_store_keep_their_objects_apart(machine, tmp_path, bucket, monkeypatch):
    kept_run(machine("one"), tmp_path, b"model")
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'another.db'}")
    kept_run(machine("another"), tmp_path, b"model")
    written = [one.path for one in bucket.seen if one.method == "PUT"]
    assert len(written) == len(set(written)) == 2 * 7
    assert len({path.split("/")[3] for path in written}) == 2


def test_the_cache_of_images_keeps_within_its_bound_and_what_is_gone_comes_again(machine, tmp_path, monkeypatch):
    run_id = kept_run(machine("one"), tmp_path, b"model")
    two = machine("two")
    two.files.bring(run_id, is_any)
    images = two.datasets.images(two.datasets.version("pets").id)
    bring_images(two, "pets", images)
    monkeypatch.setenv(image_cache.BOUND_VARIABLE, "0.000001")
    two.files.images.make_room()
    assert len(list(two.workspace.fetched_images.glob("*/*"))) == 6, "a run may be reading them"
    for file in two.workspace.fetched_images.glob("*/*"):
        os.utime(file, (0, time.time() - 2 * image_cache.FRESH_S))
    two.files.images.make_room()
    assert len(list(two.workspace.fetched_images.glob("*/*"))) < 6
    bring_images(two, "pets", images)
    assert len(list(two.workspace.fetched_images.glob("*/*"))) == 6
