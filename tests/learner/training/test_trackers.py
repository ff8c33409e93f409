"""Runs as trackers keep them, read back with the trackers' own libraries."""

import importlib.util
import os
import subprocess
import sys

import pytest

from learner.errors import RunError
from learner.store import Store
from learner.training import trackers
from learner.training.process import execute
from tests.patience import until
from tests.samples import small_recipe


@pytest.fixture
def run(pets) -> tuple[Store, int]:
    return pets, pets.submit(small_recipe(), running=True)


@pytest.fixture
def run_with_tensorboard(pets) -> tuple[Store, int]:
    return pets, pets.submit(small_recipe(), running=True, trackers=["tensorboard"])


def lines(store: Store, run_id: int) -> list[tuple[int, float]]:
    return [(epoch.epoch, epoch.valid_loss) for epoch in store.runs.epochs(run_id)]


def test_tensorboard_has_every_epoch_the_recipe_and_the_end(run_with_tensorboard):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    store, run_id = run_with_tensorboard
    assert execute(store, run_id) == "finished"
    events = EventAccumulator(str(store.workspace.run_folder(run_id) / "tensorboard"))
    events.Reload()
    told = [(event.step, event.value) for event in events.Scalars("valid_loss")]
    assert [step for step, _ in told] == [step for step, _ in lines(store, run_id)]
    assert [value for _, value in told] == pytest.approx([loss for _, loss in lines(store, run_id)], rel=1e-6)
    assert {"train_loss", "accuracy", "lr/0", "phase", "final_accuracy"} <= set(events.Tags()["scalars"])
    [text] = events.Tensors("recipe/text_summary")
    assert b"| phases.0.name | Warm-up |" in text.tensor_proto.string_val[0]
    assert events.Tensors("status/text_summary")[0].tensor_proto.string_val[0] == b"finished"


def test_mlflow_has_one_run_also_when_it_goes_on_another_time(run, monkeypatch, tmp_path):
    from mlflow import MlflowClient

    store, run_id = run
    address = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.setenv(trackers.SETTING, "mlflow")
    with pytest.raises(KeyboardInterrupt), trackers.tracked(store, run_id, None) as listener:
        listener.on_epoch({"epoch": 1, "phase": 0, "valid_loss": 9.0, "lrs": [0.1]}, True)
        raise KeyboardInterrupt
    assert execute(store, run_id) == "finished"
    client = MlflowClient(address)
    [kept] = client.search_runs([client.get_experiment_by_name("thaw").experiment_id])
    history = client.get_metric_history(kept.info.run_id, "valid_loss")
    assert sorted((one.step, one.value) for one in history) == sorted([(1, 9.0), *lines(store, run_id)])
    assert kept.info.status == "FINISHED" and kept.data.params["dataset"] == "pets"


def test_weights_and_biases_keeps_an_offline_run_in_the_runs_folder(run, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv(trackers.SETTING, "wandb")
    store, run_id = run
    assert execute(store, run_id) == "finished"
    [file] = {path.resolve() for path in store.workspace.run_folder(run_id).rglob("run-*.wandb")}
    until(
        lambda: b"valid_loss" in file.read_bytes() and b"final_accuracy" in file.read_bytes()
    )  # its own process writes


def test_what_a_tracker_cannot_take_is_logged_and_the_run_finishes(run, monkeypatch, caplog):
    store, run_id = run
    monkeypatch.setenv(trackers.SETTING, "mlflow,tensorboard")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nowhere://at/all")
    (store.workspace.run_folder(run_id)).mkdir(parents=True)
    (store.workspace.run_folder(run_id) / "tensorboard").write_text("in the way")
    assert execute(store, run_id) == "finished"
    assert "Nothing is written for mlflow" in caplog.text and "Nothing is written for tensorboard" in caplog.text


def test_a_name_that_there_is_not_and_a_package_that_is_missing_are_told(monkeypatch):
    with pytest.raises(RunError, match=r"no tracker 'sheet'. Choose of tensorboard, mlflow, wandb"):
        trackers.checked(["sheet"])
    assert trackers.checked(["TensorBoard", " mlflow", "tensorboard", ""]) == ["tensorboard", "mlflow"]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RunError, match="pip install mlflow"):
        trackers.checked(["mlflow"])


def test_by_default_no_tracker_is_imported():
    program = "import learner.training.process, sys; print([name for name in sys.modules if name in "
    program += "('tensorboard', 'mlflow', 'wandb')])"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": "."},
    )
    assert done.stdout.strip() == "[]"
