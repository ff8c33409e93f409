"""What was trained on one machine is looked at, exported, checked and backed up on another, which shares no folder."""

import shutil
import zipfile
from pathlib import Path

import pytest

from learner.datasets import add_dataset
from learner.store import Store
from learner.store import files as files_module
from learner.training.process import execute
from tests.learner.cli.conftest import thaw  # noqa: F401
from tests.machine import keep_small_speeds
from tests.samples import make_photos, small_recipe


@pytest.fixture
def photos(tmp_path) -> Path:
    return make_photos(tmp_path / "photos", {"cat": 6, "dog": 6})


def trained_on(store: Store, photos: Path) -> int:
    add_dataset(store, photos, "pets")
    keep_small_speeds(store.workspace)
    run_id = store.submit(small_recipe(), running=True)
    assert execute(store, run_id) == "finished", store.runs.get(run_id).reason
    return run_id


def test_commands_on_another_machine_show_predict_export_and_back_up(machine, bucket, photos, thaw, tmp_path):  # noqa: F811
    one = machine("one")
    run_id = trained_on(one, photos)
    picture = next(photos.glob("cat/*"))
    looks = [("results", "show", run_id), ("predict", run_id, picture), ("results", "mistakes", run_id)]
    here = [thaw(*words) for words in looks]
    shutil.rmtree(one.workspace.root)

    machine("two")  # nothing of it was ever here
    there = [thaw(*words) for words in looks]
    assert [said.code for said in there] == [0, 0, 0] and [said.out for said in there] == [said.out for said in here]
    assert thaw("export", run_id, "--format", "safetensors", "--to", tmp_path / "model.zip").code == 0
    assert "can be written, read and cleared up" in " ".join(thaw("doctor").out.split())

    assert thaw("backup", tmp_path / "all.zip").code == 0
    names = zipfile.ZipFile(tmp_path / "all.zip").namelist()
    assert f"files/runs/{run_id}/learner.pkl" in names
    assert sum("/images/" in name for name in names) == 12


def test_a_run_whose_files_cannot_be_sent_at_its_end_says_so_and_resuming_sends_what_is_missing(
    machine, bucket, photos, monkeypatch
):
    monkeypatch.setattr(files_module, "END_PATIENCE_S", 0.5)
    one = machine("one")
    add_dataset(one, photos, "pets")
    keep_small_speeds(one.workspace)
    run_id = one.submit(small_recipe(), running=True)
    bucket.fails = lambda request: request.method == "PUT"
    assert execute(one, run_id) == "failed"
    reason = one.runs.get(run_id).reason
    assert "cannot be written" in reason and f"python -m learner runs resume {run_id}" in reason
    model = one.workspace.checkpoint(run_id).read_bytes()  # nothing is lost

    bucket.forget()
    one.runs.resume(run_id, running=True)
    assert execute(one, run_id) == "finished", one.runs.get(run_id).reason
    two = machine("two")
    assert two.checkpoint(run_id).read_bytes() == model


def test_a_slow_store_holds_nothing_up_but_the_end(machine, bucket, photos):
    bucket.wait_s = 0.1
    one = machine("one")
    run_id = trained_on(one, photos)
    bucket.forget()
    assert machine("two").checkpoint(run_id).exists()


def test_doctor_says_what_is_wrong_with_the_store(machine, bucket, thaw):  # noqa: F811
    machine("one")
    bucket.fails = lambda request: True
    said = thaw("doctor")
    assert said.code == 1 and "Files" in said.out and "cannot be written" in " ".join(said.out.split())
