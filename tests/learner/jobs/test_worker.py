"""A real worker process: it trains what is queued, and takes up again whatever was killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

import learner.store.claims
import learner.store.workers
from learner.datasets import add_dataset
from learner.evaluation.results import load_result
from learner.jobs.device import exclusive_device
from learner.jobs.process import NICENESS
from learner.recipe import Phase
from learner.store import Run, Store
from learner.workspace import Workspace
from tests.patience import GIVE_UP_S, until
from tests.ready import Fresh
from tests.samples import small_recipe

ROOT = Path(__file__).resolve().parents[3]
LONG = small_recipe(phases=[Phase("Long", epochs=1000)])


def start_worker(workspace: Workspace, start: type[subprocess.Popen] | None = None) -> subprocess.Popen:
    environment = os.environ | {"THAW_HOME": str(workspace.root)}
    environment.pop("DATABASE_URL", None)
    with (workspace.root / "worker.txt").open("wb") as output:
        command = [sys.executable, "-m", "learner", "worker"]
        return (start or subprocess.Popen)(command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT)


@pytest.fixture(scope="module")
def store(tmp_path_factory, photos) -> Store:
    store = Store(Workspace(tmp_path_factory.mktemp("worker")))
    add_dataset(store, photos, "pets")
    return store


@pytest.fixture(scope="module")
def worker(store) -> Iterator[subprocess.Popen]:
    """One worker for all tests here; the last ones end it."""
    worker = start_worker(store.workspace)
    until(store.workers.alive)
    yield worker
    worker.terminate()
    worker.wait(GIVE_UP_S)


def ended(store: Store, run_id: int) -> Run:
    until(lambda: store.runs.get(run_id).status not in learner.store.ACTIVE)
    return store.runs.get(run_id)


def under_way(store: Store, run_id: int, epochs: int = 1) -> Run:
    """The run once it has done some epochs, in a process of its own."""
    until(lambda: len(store.runs.epochs(run_id)) >= epochs)
    return store.runs.get(run_id)


def test_a_killed_run_goes_on_by_itself_and_the_next_one_waits(store, worker):
    killed, following = store.submit(LONG), store.submit(small_recipe())
    run = under_way(store, killed)
    process = psutil.Process(run.pid)
    assert run.pid != worker.pid
    assert process.nice() == psutil.Process(worker.pid).nice() + NICENESS
    assert store.runs.get(following).status == "queued"  # one at a time

    os.kill(run.pid, signal.SIGKILL)
    until(lambda: store.runs.get(killed).pid not in (run.pid, worker.pid))
    under_way(store, killed, epochs=len(store.runs.epochs(killed)) + 2)
    assert store.runs.get(following).status == "queued"
    store.runs.ask(killed, "stop_after_epoch")
    assert ended(store, killed).status == "stopped"

    run = ended(store, following)
    assert (run.status, run.reason) == ("finished", "")
    folder = store.workspace.run_folder(following)
    assert load_result(folder)["accuracy"] == run.best_accuracy
    log = (folder / "log.txt").read_text()
    assert "Phase 1, Warm-up" in log and "Traceback" not in log


def test_a_run_is_a_process_below_its_worker(tmp_path, photos):
    store = Store(Workspace(tmp_path))
    add_dataset(store, photos, "pets")
    worker = start_worker(store.workspace, Fresh)
    try:
        run_id = store.submit(LONG)
        until(lambda: store.runs.get(run_id).pid not in (None, worker.pid))
        process = psutil.Process(store.runs.get(run_id).pid)
        assert process.ppid() == worker.pid and os.getsid(process.pid) == process.pid
    finally:
        worker.terminate()
        worker.wait(GIVE_UP_S)
    assert store.runs.get(run_id).status == "queued" and not process.is_running()


def test_a_stop_ends_a_long_run_and_keeps_its_model_while_hearts_beat(store, worker):
    run_id = store.submit(LONG)
    first = under_way(store, run_id).heartbeat_at
    [worker_row] = store.workers.alive()
    assert worker_row.pid == worker.pid
    until(lambda: store.runs.get(run_id).heartbeat_at > first)
    until(lambda: store.workers.alive()[0].heartbeat_at > worker_row.heartbeat_at)

    assert store.runs.ask(run_id, "stop") == "running"
    run = ended(store, run_id)
    epochs = store.runs.epochs(run_id)
    assert run.status == "stopped"
    assert 1 <= len(epochs) < 1000
    assert run.best_accuracy == min(epochs, key=lambda epoch: epoch.valid_loss).accuracy
    assert load_result(store.workspace.run_folder(run_id))["accuracy"] == run.best_accuracy
    assert (store.workspace.run_folder(run_id) / "learner.pkl").exists()


def test_a_paused_run_frees_the_machine_and_goes_on_when_asked(store, worker):
    paused = store.submit(LONG)
    under_way(store, paused)
    store.runs.ask(paused, "pause")
    run = ended(store, paused)
    assert run.status == "paused"
    done = len(store.runs.epochs(paused))
    following = store.submit(small_recipe())
    assert ended(store, following).status == "finished"

    store.runs.resume(paused)
    under_way(store, paused, epochs=done + 1)
    store.runs.ask(paused, "stop")
    assert ended(store, paused).status == "stopped"
    assert [epoch.epoch for epoch in store.runs.epochs(paused)] == list(range(1, len(store.runs.epochs(paused)) + 1))


def test_the_worker_leaves_the_machine_to_a_command_that_trains(store, worker):
    with exclusive_device(store.workspace):
        run_id = store.submit(small_recipe())
        time.sleep(2)
        assert store.runs.get(run_id).status == "queued"
    assert ended(store, run_id).status == "finished"


def test_a_worker_told_to_end_leaves_its_run_to_the_next_worker(store, worker):
    run_id, waiting = store.submit(LONG), store.submit(LONG)
    run = under_way(store, run_id)
    worker.terminate()
    assert worker.wait(GIVE_UP_S) == 0
    assert not psutil.pid_exists(run.pid)
    run = store.runs.get(run_id)
    assert (run.status, run.deaths) == ("queued", 0)
    assert run.reason == "The worker was ended; the run goes on when one is started."
    assert [entry.id for entry in store.queue.waiting()] == [run_id, waiting]
    assert store.workers.alive() == []
    assert "Traceback" not in (store.workspace.root / "worker.txt").read_text()
    store.runs.ask(waiting, "stop")


def test_when_machine_and_worker_stop_the_next_worker_takes_the_run_up(store, monkeypatch):
    """The run that the test before left goes on with a new worker; then both are killed, as by a power cut."""
    [entry] = store.queue.waiting()
    run_id = entry.id
    worker = start_worker(store.workspace)
    done = len(store.runs.epochs(run_id))
    run = under_way(store, run_id, epochs=done + 1)
    until(lambda: store.runs.get(run_id).pid != worker.pid)
    run = store.runs.get(run_id)
    worker.kill()
    os.kill(run.pid, signal.SIGKILL)
    worker.wait()

    assert store.runs.requeue_silent() == []  # it may only be slow
    assert learner.store.claims.SILENT_AFTER_S + learner.store.claims.HEARTBEAT_S < 30
    monkeypatch.setattr(learner.store.claims, "SILENT_AFTER_S", 1)
    monkeypatch.setattr(learner.store.workers, "SILENT_AFTER_S", 1)
    time.sleep(1.5)
    assert store.runs.requeue_silent() == [run_id]
    run = store.runs.get(run_id)
    assert (run.status, run.deaths) == ("queued", 1)
    assert "ended without a word" in run.reason
    assert store.workers.alive() == []
    store.runs.ask(run_id, "stop")
