"""Three workers on two "machines", killed at random, answer a study as one machine does.

Each process has a network of its own, where that is allowed, and the clocks of the machines are a minute apart.
"""

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from learner.datasets import add_dataset
from learner.recipe import Phase
from learner.store import Run, Store
from learner.studies.design import Design, create_study, grid
from learner.studies.results import result_of
from learner.training.process import execute
from learner.workspace import Workspace
from tests.gpus import path_with_gpus
from tests.machine import keep_small_speeds
from tests.patience import GIVE_UP_S, until
from tests.samples import ROOT, make_photos, small_recipe

RECIPE = small_recipe(
    batch_size=4,
    cache="off",
    precision="fp32",
    phases=[Phase("Solve the head", solve=True), Phase("Fine-tuning", trainable="all", epochs=3, lr=[1e-4, 1e-3])],
)
ELSEWHERE = """
import ctypes, socket, time
ctypes.CDLL(None).unshare({new_network})
_time = time.time
time.time = lambda: _time() + {skew}
socket.gethostname = lambda: {host!r}
"""
NEW_NETWORK = 0x40000000
"""CLONE_NEWNET of sched.h. What is shared are files: the database's socket and the folder."""
HOSTS = ["left", "right", "left"]
"""Of each worker, the machine that it is on."""
KILLS = 4


def machine(folder: Path, host: str, skew: float) -> dict[str, str]:
    """Settings of a process, and of all that it starts, on a machine of that name, with its own GPUs and clock."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(ELSEWHERE.format(skew=skew, host=host, new_network=NEW_NETWORK))
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
    machines = {name: machine(tmp_path / name, name, skew) for name, skew in (("left", -30.0), ("right", 30.0))}
    chance = random.Random(5)
    workers: dict[int, subprocess.Popen] = {}
    killed: set[int] = set()

    def start(number: int) -> None:
        environment = os.environ | machines[HOSTS[number]] | {"THAW_HOME": str(shared.workspace.root)}
        command = [sys.executable, "-m", "learner", "worker"]
        with (tmp_path / f"worker-{number}.txt").open("ab") as log:
            workers[number] = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT)

    def under_way() -> list[Run]:
        """Those that train in a process of their own; a second death at the same epoch would halve their batch."""
        workers_own = {worker.pid for worker in workers.values()}
        runs = [run for run in shared.studies.runs_of(study) if run.status == "running" and not run.deaths]
        return [run for run in runs if run.pid not in workers_own | killed]

    def kill(pid: int) -> None:
        with suppress(ProcessLookupError):  # it has just finished
            os.kill(pid, signal.SIGKILL)
        killed.add(pid)

    try:
        for number in range(len(HOSTS)):
            start(number)
        until(lambda: len(shared.workers.alive()) == len(HOSTS))
        if subprocess.run(["unshare", "--net", "true"], stderr=subprocess.DEVNULL).returncode == 0:  # it may make them
            pids = [os.getpid(), *(worker.pid for worker in workers.values())]
            assert len({Path(f"/proc/{pid}/ns/net").readlink() for pid in pids}) == 1 + len(HOSTS)
        for kills in range(KILLS):
            until(lambda: under_way() or result_of(shared, study).status == "done")
            if kills:
                time.sleep(chance.uniform(0, 0.8))
            if not (runs := under_way()):
                continue
            victim = chance.choice(runs)
            kill(victim.pid)
            if kills == 1:  # once all of its machine, too; others take up what ran there, after 20 s of silence
                for run in runs:
                    if run.host == victim.host:
                        kill(run.pid)
                for number in [number for number, name in enumerate(HOSTS) if name == victim.host]:
                    workers[number].kill()
                    workers[number].wait()
                    start(number)
        until(lambda: result_of(shared, study).status != "under way")
    finally:
        for worker in workers.values():
            worker.terminate()
            worker.wait(GIVE_UP_S)
    assert result_of(shared, study).status == "done", [run.reason for run in shared.studies.runs_of(study)]
    assert killed
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
