"""A process that stood still while another took its run over comes back, and leaves the run alone."""

import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil
import pytest

import learner.atomic
import learner.store.claims
from learner.recipe import Phase
from learner.store.claims import ClaimedRuns
from learner.training.process import execute
from tests.gpus import path_with_gpus
from tests.learner.killing import left_behind, start_training
from tests.patience import GIVE_UP_S, until
from tests.samples import small_recipe

RECIPE = small_recipe(
    batch_size=4,
    phases=[Phase("Warm-up", epochs=2, lr=0.01), Phase("Fine-tuning", "all", epochs=3, lr=[1e-4, 1e-3])],
    precision="fp32",
    cache="off",
)


def stand_still_before(name: str, time: int) -> None:
    """Arm this process: it stops, as one that a laptop's lid or a debugger stops, right before doing that.

    `name` is a method of the store, or a file that is whole under another name by then and about to get its own.
    """
    seen = []

    def armed(work: Callable, is_it: Callable[..., bool]) -> Callable:
        def do(*values, **named):
            seen.extend([1] * is_it(*values))
            if len(seen) == time and is_it(*values):
                os.kill(os.getpid(), signal.SIGSTOP)
            return work(*values, **named)

        return do

    if "." in name:
        learner.atomic.replace = armed(learner.atomic.replace, lambda _, path: path.name == name)
    else:
        setattr(ClaimedRuns, name, armed(getattr(ClaimedRuns, name), lambda *_: True))


def on_another_machine(folder: Path) -> None:
    """The device that the first process has is not this one's."""
    os.environ["PATH"] = path_with_gpus(folder)


@pytest.mark.parametrize(
    ("name", "time"),
    [
        ("report", 9),
        ("beat", 1),
        ("add_step", 3),
        ("add_epoch", 2),
        ("add_facts", 3),
        ("rewind", 1),
        ("model.safetensors", 2),
        ("resume.pt", 4),
        ("1.safetensors", 1),
        ("result.json", 1),
        ("learner.pkl", 1),
        ("end", 1),
    ],
)
def test_a_process_that_stood_still_while_another_took_its_run_changes_nothing(pets, tmp_path, monkeypatch, name, time):
    whole, run_id = pets.submit(RECIPE, running=True), pets.submit(RECIPE)
    assert execute(pets, whole) == "finished"

    late = start_training(pets, run_id, prepare=partial(stand_still_before, name, time))
    until(lambda: psutil.Process(late.pid).status() == psutil.STATUS_STOPPED)
    monkeypatch.setattr(learner.store.claims, "SILENT_AFTER_S", 0)
    assert pets.runs.requeue_silent() == [run_id]
    other = start_training(pets, run_id, prepare=partial(on_another_machine, tmp_path / "bin"))
    begun = len(pets.runs.epochs(run_id))
    until(lambda: len(pets.runs.epochs(run_id)) != begun or pets.runs.get(run_id).status != "running")
    os.kill(late.pid, signal.SIGCONT)
    late.join(GIVE_UP_S)
    other.join(GIVE_UP_S)
    assert (late.exitcode, other.exitcode) == (0, 0)
    assert left_behind(pets, run_id) == left_behind(pets, whole)
    assert pets.runs.get(run_id).pid == other.pid
