"""A run that fails, is stopped or is interrupted ends with a sentence and keeps what it has learnt."""

import time

import pytest
from safetensors.torch import save_file

import learner.training.progress
from learner.evaluation.results import load_result
from learner.models.backbones import build
from learner.recipe import Phase
from learner.store import Store
from learner.training.process import execute
from learner.training.progress import Listener
from tests.learner.training.running import run
from tests.samples import SMALL, small_recipe


def test_a_loss_that_is_no_number_fails_the_run_with_the_remedy(pets, tmp_path):
    weights = build(SMALL, "random")
    body = {weights.timm_names[name]: tensor * 1e30 for name, tensor in weights.body.state_dict().items()}
    save_file(body, tmp_path / "huge.safetensors")
    run_id = run(pets, small_recipe(weights=str(tmp_path / "huge.safetensors")))
    ended = pets.runs.get(run_id)
    assert ended.status == "failed"
    assert ended.reason.startswith("The loss stopped being a number, which mostly means that the learning rate is too")
    assert "Try a tenth of it in phase 1" in ended.reason


def test_a_stage_that_the_backbone_lacks_fails_the_run_before_anything_is_trained(pets):
    run_id = run(pets, small_recipe(phases=[Phase("a", "block5")]))
    ended = pets.runs.get(run_id)
    assert ended.status == "failed"
    assert f"phases.0.trainable: 'block5' is not a part of {SMALL}" in ended.reason
    assert pets.runs.epochs(run_id) == []


def test_a_missing_image_fails_the_run_by_its_name(pets):
    victim = next(pets.workspace.datasets.rglob("*.jpg"))
    victim.unlink()
    ended = pets.runs.get(run(pets, small_recipe()))
    assert ended.status == "failed"
    assert victim.name in ended.reason


class StopsAt(Listener):
    """Asks for a stop once training of that phase has come to that epoch and batch."""

    def __init__(self, store: Store, run_id: int, phase: int | None, epoch: int, batch: int):
        self.store, self.run_id, self.where = store, run_id, (phase, epoch, batch)

    def on_progress(self, progress) -> None:
        if (progress.phase, progress.epoch, progress.batch) == self.where:
            self.store.runs.ask(self.run_id, "stop")
            self.where = None


def test_a_stop_in_the_middle_of_an_epoch_checks_and_keeps_what_was_learnt(pets, monkeypatch):
    monkeypatch.setattr(learner.training.progress, "REPORT_EVERY_S", 0)
    phases = [Phase("a", epochs=3, lr=0.01), Phase("b", "all", epochs=3)]
    run_id = pets.submit(small_recipe(phases=phases, batch_size=4), running=True)
    assert execute(pets, run_id, StopsAt(pets, run_id, phase=0, epoch=2, batch=2)) == "stopped"

    assert pets.runs.steps(run_id)[-1].at == 1.5  # three of six batches: heard of with the next report
    epochs = pets.runs.epochs(run_id)
    assert [epoch.epoch for epoch in epochs] == [1, 2]
    assert epochs[1].accuracy * 16 == pytest.approx(round(epochs[1].accuracy * 16))
    ended, folder = pets.runs.get(run_id), pets.workspace.run_folder(run_id)
    assert ended.best_accuracy == min(epochs, key=lambda epoch: epoch.valid_loss).accuracy
    assert load_result(folder)["accuracy"] == ended.best_accuracy
    assert load_result(folder)["images"] == 16
    assert (folder / "learner.pkl").exists()
    assert ended.progress["done"] == 1.0


def test_a_stop_before_the_first_batch_is_a_stop_and_no_failure(pets):
    run_id = pets.submit(small_recipe(), running=True)
    pets.runs.ask(run_id, "stop")
    execute(pets, run_id)
    ended = pets.runs.get(run_id)
    assert ended.status == "stopped"
    assert "before anything was learnt" in ended.reason


def test_a_run_is_interrupted_by_ctrl_c_and_keeps_its_checkpoint(pets):
    class CtrlC(Listener):
        def on_epoch(self, figures, is_best) -> None:
            raise KeyboardInterrupt

    run_id = pets.submit(small_recipe(), running=True)
    with pytest.raises(KeyboardInterrupt):
        execute(pets, run_id, CtrlC())
    ended = pets.runs.get(run_id)
    assert (ended.status, ended.best_epoch) == ("interrupted", 1)
    assert f"runs resume {run_id}" in ended.reason
    assert pets.checkpoint(run_id).exists()


def test_a_defect_fails_the_run_in_words_and_puts_the_traceback_into_the_log(pets, caplog):
    class Broken(Listener):
        def on_epoch(self, figures, is_best) -> None:
            raise ZeroDivisionError("by zero")

    ended = pets.runs.get(run(pets, small_recipe(), Broken()))
    assert ended.status == "failed"
    assert ended.reason == "Something went wrong inside Thaw (ZeroDivisionError). The run's log has the details."
    assert "Traceback" in caplog.text and "by zero" in caplog.text


def test_a_full_disk_is_told_as_such(pets):
    class NoSpace(Listener):
        def on_epoch(self, figures, is_best) -> None:
            raise OSError(28, "No space left on device")

    ended = pets.runs.get(run(pets, small_recipe(), NoSpace()))
    assert (ended.status, ended.reason.split(".")[0]) == ("failed", "The disk is full")


def test_a_run_is_heard_of_while_it_does_one_long_thing(pets, monkeypatch):
    monkeypatch.setattr("learner.training.process.HEARTBEAT_S", 0.05)
    beats = []

    class Slow(Listener):
        def on_epoch(self, figures, is_best) -> None:
            for _ in range(2):
                time.sleep(0.4)
                beats.append(pets.runs.get(run_id).heartbeat_at)

    run_id = pets.submit(small_recipe(), running=True)
    execute(pets, run_id, Slow())
    assert beats[1] > beats[0]
