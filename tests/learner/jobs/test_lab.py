"""Three workers on two "machines", clocks a minute apart, killed at random, answer a study as one machine does."""

import os
import random
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from learner.datasets import add_dataset
from learner.recipe import Phase
from learner.store import Store
from learner.studies.design import Design, create_study, grid
from learner.studies.results import result_of
from learner.training.process import execute
from learner.workspace import Workspace
from tests.gpus import path_with_gpus
from tests.machine import keep_small_speeds
from tests.patience import GIVE_UP_S, until
from tests.ready import Fresh
from tests.samples import ROOT, make_photos, small_recipe

RECIPE = small_recipe(
    batch_size=4,
    cache="off",
    precision="fp32",
    phases=[Phase("Solve the head", solve=True), Phase("Fine-tuning", trainable="all", epochs=3, lr=[1e-4, 1e-3])],
)
ELSEWHERE = """
import socket, time
_time = time.time
time.time = lambda: _time() + {skew}
socket.gethostname = lambda: {host!r}
"""
KILLS = 4


def machine(folder: Path, host: str, skew: float) -> dict[str, str]:
    """Settings of a process, and of all that it starts, on a machine of that name, with its own GPUs and clock."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(ELSEWHERE.format(skew=skew, host=host))
    return {"PATH": path_with_gpus(folder / "bin"), "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}


def ask(store: Store, photos: Path) -> int:
    add_dataset(store, photos, "pets")
    keep_small_speeds(store.workspace)
    return create_study(store, Design(grid(RECIPE, ["phases.1.trainable=head,all"]), seeds=1, folds=2))


@pytest.fixture
def shared(workspace, postgres_database, monkeypatch) -> Store:
    monkeypatch.setenv("DATABASE_URL", postgres_database)
    return Store(workspace)


def test_a_study_has_the_same_answer_on_several_machines_under_fire(shared, tmp_path, monkeypatch):
    photos = make_photos(tmp_path / "photos", {"cat": 8, "dog": 8})
    study = ask(shared, photos)
    machines = [machine(tmp_path / name, name, skew) for name, skew in (("left", -30.0), ("right", 30.0))]
    chance = random.Random(5)
    workers: dict[int, subprocess.Popen] = {}

    def start(number: int) -> None:
        environment = os.environ | machines[number % 2] | {"THAW_HOME": str(shared.workspace.root)}
        command = [sys.executable, "-m", "learner", "worker"]
        with (tmp_path / f"worker-{number}.txt").open("ab") as log:
            # From nothing: a forked one would not look at what changes its clock and name.
            workers[number] = Fresh(command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT)

    def trained() -> list[psutil.Process]:
        found = []
        for worker in workers.values():
            if worker.poll() is None:
                found += psutil.Process(worker.pid).children()
        return found

    try:
        for number in range(3):
            start(number)
        for kill in range(KILLS):
            until(lambda: trained() or result_of(shared, study).status == "done")
            victims = trained()
            if not victims:
                break
            chance.choice(victims).kill()
            if kill == 1:  # once a whole worker, too; its run is taken up by another after 20 s of silence
                number = chance.randrange(3)
                for process in [*psutil.Process(workers[number].pid).children(), psutil.Process(workers[number].pid)]:
                    process.kill()
                workers[number].wait()
                start(number)
            until(lambda: True)
        until(lambda: result_of(shared, study).status != "under way")
    finally:
        for worker in workers.values():
            worker.terminate()
            worker.wait(GIVE_UP_S)
    assert result_of(shared, study).status == "done", [run.reason for run in shared.studies.runs_of(study)]
    assert {run.host for run in shared.studies.runs_of(study)} <= {"left", "right"}

    monkeypatch.delenv("DATABASE_URL")
    alone = Store(Workspace(tmp_path / "alone"))
    same = ask(alone, photos)
    while (run_id := alone.runs.claim()) is not None:
        assert execute(alone, run_id) == "finished"
    found, expected = result_of(shared, study), result_of(alone, same)
    assert found.answer == expected.answer
    for ours, theirs in zip(found.outcomes, expected.outcomes, strict=True):
        assert {place: (one.accuracy, one.log_loss, one.right) for place, one in ours.items()} == {
            place: (one.accuracy, one.log_loss, one.right) for place, one in theirs.items()
        }
    weights = [
        [store.checkpoint(run.id).read_bytes() for run in store.studies.runs_of(number)]
        for store, number in ((shared, study), (alone, same))
    ]
    assert weights[0] == weights[1]
