"""A backup holds what cannot be made again, of one moment, and a run that was training goes on from it exactly."""

import json
import os
import threading
import zipfile
from collections import namedtuple
from contextlib import contextmanager
from pathlib import Path

import pytest
from filelock import FileLock

import learner.operations.backup
from learner.errors import BackupError
from learner.operations.backup import back_up
from learner.operations.restore import restore
from learner.recipe import Phase
from learner.store import Store
from learner.training.process import execute
from learner.workspace import Workspace
from tests.learner.killing import left_behind, train_in_a_process
from tests.learner.operations.archives import entries_of, files_of, rows_of
from tests.patience import until
from tests.samples import copy_workspace, small_recipe

LONG = small_recipe(phases=[Phase("Warm-up", epochs=6, lr=0.01)], batch_size=4, precision="fp32", cache="off")


@pytest.fixture
def trained(trained_home, workspace) -> Workspace:
    """A workspace with a finished run, a person's weights, a batch of predictions and much that can be made again."""
    copy_workspace(trained_home, workspace.root)
    for place, held in {
        "weights/vgg16.safetensors": b"weights",
        "weights/größe/日本.pth": b"names of any script",
        "predictions/1/answers-1.jsonl": b"{}\n",
        "cache/features/one/rows.bin": b"can be made again",
        "uploads/job-1/photos.zip": b"on its way in",
        "datasets/pets-x/images/aa/.half.part": b"half a fi",
    }.items():
        (workspace.root / place).parent.mkdir(parents=True, exist_ok=True)
        (workspace.root / place).write_bytes(held)
    return workspace


def restored(file: Path, root: Path) -> Store:
    restore(Workspace(root), file)
    return Store(Workspace(root))


def test_what_cannot_be_made_again_comes_back_as_it_was(trained, tmp_path):
    made = back_up(trained, tmp_path / "b.zip")
    back = restored(made.path, tmp_path / "new")
    files = files_of(trained)
    del files["datasets/pets-x/images/aa/.half.part"]
    assert len([name for name in files if name.startswith("datasets/")]) == 20
    assert {"runs/1/model.safetensors", "runs/1/result.json", "weights/größe/日本.pth"} <= files.keys()
    assert files_of(back.workspace) == files
    rows = rows_of(trained.database_url)
    assert len(rows["images"]) == 20 and len(rows["epochs"]) == 2 and rows["contents"]
    assert rows_of(back.workspace.database_url) == rows
    assert made.left_out == [] and made.bytes == made.path.stat().st_size


def test_its_manifest_names_every_entry_and_all_are_stored_as_they_are(trained, tmp_path):
    made = back_up(trained, tmp_path / "b.zip")
    with zipfile.ZipFile(made.path) as archive:
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
    entries = entries_of(made.path)
    manifest = json.loads(entries.pop("manifest.json"))
    assert manifest["entries"].keys() == entries.keys()
    assert manifest["rows"]["images"] == entries["database/images.jsonl"].count(b"\n") == 20
    tops = {name.split("/")[1] for name in entries if name.startswith("files/")}
    assert tops == {"datasets", "runs", "weights", "predictions"}
    assert not {"workers", "workspace", "alembic_version"} & manifest["rows"].keys()


def test_a_run_that_trains_meanwhile_ends_with_the_same_numbers_wherever_its_backup_is_restored(pets, tmp_path):
    whole, copied = pets.submit(LONG), pets.submit(LONG)
    train_in_a_process(pets, whole)
    training = threading.Thread(target=train_in_a_process, args=(pets, copied))
    training.start()
    made = []
    while training.is_alive():
        wanted = len(made) + 1
        until(lambda at_least=wanted: len(pets.runs.epochs(copied)) >= at_least or not training.is_alive())
        made.append(back_up(pets.workspace, tmp_path / f"{len(made)}.zip"))
    training.join()
    under_way = [each for each in made if f"files/runs/{copied}/resume.pt" in entries_of(each.path)]
    assert under_way
    for each in {under_way[0].path, under_way[-1].path}:
        back = restored(each, tmp_path / each.stem)
        run = back.runs.get(copied)
        assert run.status == "queued" and "from which the workspace was restored" in run.reason
        train_in_a_process(back, copied)
        assert left_behind(back, copied) == left_behind(pets, whole)


def test_a_run_that_ends_while_the_backup_begins_comes_with_its_result(pets, tmp_path, monkeypatch):
    run_id = pets.submit(small_recipe(), running=True)
    pets.workspace.run_folder(run_id).mkdir(parents=True)
    moment = learner.operations.backup.one_moment

    @contextmanager
    def after_its_end(engine):
        assert execute(pets, run_id) == "finished"
        with moment(engine) as connection:
            yield connection

    monkeypatch.setattr(learner.operations.backup, "one_moment", after_its_end)
    back = restored(back_up(pets.workspace, tmp_path / "b.zip").path, tmp_path / "new")
    assert back.runs.get(run_id).status == "finished"
    assert left_behind(back, run_id) == left_behind(pets, run_id)


def test_rows_that_are_written_meanwhile_do_not_come(pets, tmp_path, monkeypatch):
    add = learner.operations.backup._add_rows

    def submitting(archive, entries, connection, table):
        pets.submit(small_recipe())
        return add(archive, entries, connection, table)

    monkeypatch.setattr(learner.operations.backup, "_add_rows", submitting)
    back = restored(back_up(pets.workspace, tmp_path / "b.zip").path, tmp_path / "new")
    assert back.runs.all() == [] and len(pets.runs.all()) > 5


def test_a_folder_of_a_run_that_was_forgotten_does_not_come(trained, tmp_path):
    lost = trained.run_folder(77) / "resume.pt"
    lost.parent.mkdir()
    lost.write_bytes(b"of a run that is no more")
    assert not any(name.startswith("files/runs/77") for name in entries_of(back_up(trained, tmp_path / "b.zip").path))


def test_files_that_vanish_or_grow_meanwhile_do_no_harm(trained, tmp_path, monkeypatch):
    others, log = learner.operations.backup._other_files, trained.run_folder(1) / "log.txt"
    log.write_text("before\n")

    def one_goes(workspace):
        found = others(workspace)
        (workspace.weights / "vgg16.safetensors").unlink()
        with log.open("a") as file:
            file.write("after\n")
        return found

    monkeypatch.setattr(learner.operations.backup, "_other_files", one_goes)
    made = back_up(trained, tmp_path / "b.zip")
    assert made.left_out == []
    back = restored(made.path, tmp_path / "new")
    assert not (back.workspace.weights / "vgg16.safetensors").exists()
    assert (back.workspace.run_folder(1) / "log.txt").read_text() in ("before\n", "before\nafter\n")


def test_a_file_that_no_archive_can_name_is_left_out_and_told(trained, tmp_path):
    odd = os.fsdecode(b"odd-\xff.pth")
    (trained.weights / odd).write_bytes(b"x")
    assert back_up(trained, tmp_path / "b.zip").left_out == [f"weights/{odd}"]


def test_a_disk_that_is_too_small_leaves_the_backup_before_as_it_was(trained, tmp_path, monkeypatch):
    target = tmp_path / "b.zip"
    target.write_bytes(b"the one before")
    full = namedtuple("usage", "total used free")(1, 1, 0)
    monkeypatch.setattr(learner.operations.backup.shutil, "disk_usage", lambda _folder: full)
    with pytest.raises(BackupError, match=r"The backup needs .* MB, and the disk of .* has .* free\. Free some space"):
        back_up(trained, target)
    assert target.read_bytes() == b"the one before"
    assert [path.name for path in tmp_path.iterdir() if path.name != trained.root.name] == ["b.zip"]
    assert not list(trained.root.glob(".backup-*"))


def test_what_a_killed_backup_left_goes_with_the_next(trained, tmp_path):
    left = trained.root / ".backup-1" / "1" / "model.safetensors"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"x")
    back_up(trained, tmp_path / "b.zip")
    assert not list(trained.root.glob(".backup-*"))


def test_two_at_once_and_places_that_will_not_do_are_told(trained, tmp_path):
    with FileLock(trained.root / "locks" / "backup.lock"), pytest.raises(BackupError, match="Wait for its end"):
        back_up(trained, tmp_path / "b.zip")
    for target, told in {
        tmp_path / "nowhere" / "b.zip": "does not exist. Make it first",
        tmp_path: "is a folder. Name a file in it",
        trained.datasets / "b.zip": "lies among what is backed up",
    }.items():
        with pytest.raises(BackupError, match=told):
            back_up(trained, target)
