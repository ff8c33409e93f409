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
import learner.training.progress
import learner.training.trainer
from learner.recipe import Phase
from learner.store.claims import ClaimedRuns
from tests.gpus import path_with_gpus
from tests.learner.killing import left_behind, start_training
from tests.learner.training.running import with_whole_run
from tests.patience import GIVE_UP_S, until
from tests.samples import copy_workspace, small_recipe

RECIPE = small_recipe(
    batch_size=4,
    phases=[Phase("Warm-up", epochs=2, lr=0.01), Phase("Fine-tuning", "all", epochs=1, lr=[1e-4, 1e-3])],
    precision="fp32",
    cache="off",
)
METHODS = ("report", "add_epoch", "end")


def stand_still_before(name: str, time: int, done: Path) -> None:
    """Arm this process: it stops, as a laptop's lid or a debugger stops one, right before doing that for the n-th time.

    `name` is a method of the store, a function that writes files, or a file that is whole under another name by then
    and about to get its own; `done` is written once files have been written after all.
    """
    learner.training.progress.REPORT_EVERY_S = 0  # however fast the machine is, there are so many reports
    seen = []

    def armed(work: Callable, is_it: Callable[..., bool]) -> Callable:
        def do(*values, **named):
            seen.extend([1] * is_it(*values))
            if len(seen) != time or not is_it(*values):
                return work(*values, **named)
            os.kill(os.getpid(), signal.SIGSTOP)
            answer = work(*values, **named)
            done.touch()
            return answer

        return do

    if name in METHODS:
        setattr(ClaimedRuns, name, armed(getattr(ClaimedRuns, name), lambda *_: True))
    elif "." in name:
        learner.atomic.replace = armed(learner.atomic.replace, lambda _, path: path.name == name)
    else:
        setattr(learner.training.trainer, name, armed(getattr(learner.training.trainer, name), lambda *_: True))


def on_another_machine(folder: Path) -> None:
    """The device that the first process has is not this one's."""
    os.environ["PATH"] = path_with_gpus(folder)


@pytest.fixture(scope="module")
def home_with_whole(pets_home, tmp_path_factory) -> Path:
    """A workspace in which the recipe was trained once, without trouble."""
    return with_whole_run(pets_home, tmp_path_factory.mktemp("whole"), RECIPE)


@pytest.mark.parametrize(
    ("name", "time"),
    [
        ("report", 9),
        ("add_epoch", 2),
        ("save_model", 3),
        ("save_point", 3),
        ("resume.pt", 4),
        ("write_results", 1),
        ("end", 1),
    ],
)
def test_a_process_that_stood_still_while_another_took_its_run_changes_nothing(
    home_with_whole, store, tmp_path, monkeypatch, name, time
):
    copy_workspace(home_with_whole, store.workspace.root)
    [whole], run_id = store.runs.all(), store.submit(RECIPE)
    late = start_training(store, run_id, prepare=partial(stand_still_before, name, time, tmp_path / "done"))
    try:
        until(lambda: psutil.Process(late.pid).status() == psutil.STATUS_STOPPED)
        monkeypatch.setattr(learner.store.claims, "SILENT_AFTER_S", 0)
        assert store.runs.requeue_silent() == [run_id]
        other = start_training(store, run_id, prepare=partial(on_another_machine, tmp_path / "bin"))
        begun = len(store.runs.epochs(run_id))
        until(lambda: len(store.runs.epochs(run_id)) != begun or store.runs.get(run_id).status != "running")
    except BaseException:
        late.kill()
        raise
    os.kill(late.pid, signal.SIGCONT)
    late.join(GIVE_UP_S)
    other.join(GIVE_UP_S)
    assert (late.exitcode, other.exitcode) == (0, 0)
    assert left_behind(store, run_id) == left_behind(store, whole.id)
    assert store.runs.get(run_id).pid == other.pid
    assert name in METHODS or not (tmp_path / "done").exists()
