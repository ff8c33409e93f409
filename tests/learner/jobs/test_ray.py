"""Runs that a worker hands to a real Ray cluster of two nodes on this machine."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from safetensors.numpy import load_file

from learner.datasets import add_dataset
from learner.jobs.ray_executor import Place, choose_place, what_it_waits_for
from learner.recipe import Augment, Head, Phase
from learner.store import Store
from learner.studies.ray_tune import search_with_tune
from learner.studies.search import create_search
from learner.studies.space import read_space
from learner.studies.trials import Search, result_of_search
from learner.workspace import Workspace
from tests.learner.jobs.ray_cluster import SmallCluster, small_cluster
from tests.learner.jobs.test_worker import LONG, ended, under_way
from tests.learner.killing import left_behind
from tests.learner.training.running import with_whole_run
from tests.machine import keep_small_speeds
from tests.patience import GIVE_UP_S, until
from tests.samples import ROOT, copy_workspace, small_recipe

RECIPE = small_recipe(
    batch_size=4,
    phases=[Phase("Warm-up", epochs=2, lr=0.01), Phase("Fine-tuning", trainable="layer4", epochs=30, lr=[1e-4, 1e-3])],
)
TOGETHER = small_recipe(
    batch_size=5,  # three rows and two; a rest of two images would make batch-norm a coin toss
    precision="fp32",
    head=Head("fastai"),  # which has batch-norm and dropout
    augment=Augment(flip_horizontal=True, rotate=10),
    views=2,
    clip_norm=1.0,
    phases=[
        Phase("Warm-up", epochs=2, lr=0.01),
        Phase("All", trainable="all", epochs=12, lr=[1e-5, 1e-4], average=True),
    ],
)
TOLERANCE = 1e-4
"""Relative, of the losses of each epoch; see docs/architecture.md."""
WITHOUT_RAY = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "ray":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Blocker())
from learner.cli import main
main()
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Iterator[SmallCluster]:
    with small_cluster(2, tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def store(tmp_path_factory, photos) -> Store:
    store = Store(Workspace(tmp_path_factory.mktemp("ray")))
    add_dataset(store, photos, "pets")
    keep_small_speeds(store.workspace)
    return store


@contextmanager
def ray_worker(store: Store, address: str) -> Iterator[subprocess.Popen]:
    settings = {"THAW_HOME": str(store.workspace.root), "EXECUTOR": "ray", "RAY_ADDRESS": address}
    with (store.workspace.root / "worker.txt").open("wb") as output:
        command = [sys.executable, "-m", "learner", "worker"]
        worker = subprocess.Popen(command, cwd=ROOT, env=os.environ | settings, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield worker
    finally:
        worker.terminate()
        worker.wait(GIVE_UP_S)


@pytest.fixture(scope="module")
def worker(cluster, store) -> Iterator[subprocess.Popen]:
    with ray_worker(store, cluster.address) as worker:
        yield worker


def log_of(store: Store, run_id: int) -> str:
    return (store.workspace.run_folder(run_id) / "log.txt").read_text()


def test_a_run_whose_node_is_killed_goes_on_on_another_and_ends_as_one_trained_here(cluster, store, worker, tmp_path):
    copy_workspace(store.workspace.root, tmp_path / "before")
    run_id = store.submit(RECIPE)
    run = under_way(store, run_id, epochs=4)
    cluster.kill_busy_node(run.pid)
    run = ended(store, run_id)
    assert run.status == "finished", run.reason
    alone = Store(Workspace(with_whole_run(tmp_path / "before", tmp_path / "alone", RECIPE)))
    assert left_behind(store, run_id) == left_behind(alone, run_id)
    log = log_of(store, run_id)
    assert "Phase 2, Fine-tuning" in log and "The run's Ray task was lost" in log and "It goes on after" in log
    assert "Traceback" not in log


def test_a_run_of_two_processes_has_the_numbers_of_one_also_after_one_was_killed(cluster, store, worker, tmp_path):
    copy_workspace(store.workspace.root, tmp_path / "before", "features")
    cluster.grow(2)
    run_id = store.submit(replace(TOGETHER, workers=2))
    run = under_way(store, run_id, epochs=2)
    helper = int(re.search(r"Process (\d+) on \S+ is helper 1 of 1", log_of(store, run_id))[1])
    assert helper != run.pid
    os.kill(helper, signal.SIGKILL)
    until(lambda: store.runs.get(run_id).deaths == 1)
    run = ended(store, run_id)
    assert run.status == "finished", run.reason
    assert log_of(store, run_id).count("is helper 1 of 1") == 2

    alone = Store(Workspace(with_whole_run(tmp_path / "before", tmp_path / "alone", TOGETHER)))
    found, expected = store.runs.epochs(run_id), alone.runs.epochs(run_id)
    assert len(found) == len(expected) == sum(phase.length for phase in TOGETHER.phases)
    for name in ("train_loss", "valid_loss", "accuracy"):
        ours, theirs = ([getattr(epoch, name) for epoch in epochs] for epochs in (found, expected))
        assert ours == pytest.approx(theirs, rel=TOLERANCE), name
    weights = [load_file(one.checkpoint(run_id)) for one in (store, alone)]
    for name, tensor in weights[1].items():
        assert weights[0][name] == pytest.approx(tensor, abs=TOLERANCE), name
    assert "Traceback" not in log_of(store, run_id)


def test_ray_tune_steers_a_search_whose_trials_the_cluster_trains(cluster, worker, store, monkeypatch, tmp_path):
    cluster.grow(2)
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    base = small_recipe(phases=[Phase("Head", epochs=1), Phase("All", trainable="all", epochs=2, lr=[1e-4, 1e-3])])
    space = read_space(["phases.1.lr.0=1e-5..1e-3", "phases.1.trainable=layer4,all"])
    study = create_search(store, Search(base, space, trials=3, at_once=2, tuned=True))
    assert study not in store.studies.searching()  # workers leave it to Tune
    search_with_tune(store, study, tmp_path)
    until(lambda: result_of_search(store, study).status != "under way")  # what fell behind ends its epoch
    result = result_of_search(store, study)
    assert result.status == "done" and len(result.trials) == 3
    assert {"phases.1.lr.0": 1e-4, "phases.1.trainable": "all"} in [trial.chosen for trial in result.trials]
    assert {trial.status.partition(" ")[0] for trial in result.trials} <= {"finished", "fell"}
    assert result.best is not None and result.best.loss == min(trial.loss or 9 for trial in result.finished)


def test_as_many_runs_as_the_cluster_has_room_for_are_trained_at_a_time_and_stopped_from_outside(
    cluster, store, worker
):
    cluster.grow(2)
    first, second, third, last = (store.submit(LONG) for _ in range(4))
    pids = {under_way(store, run_id).pid for run_id in (first, second)}
    assert len(pids) == 2
    said = "Waiting for room in the Ray cluster: the run asks for 1 CPU"
    until(lambda: store.runs.get(third).progress.get("message") == said)
    assert store.runs.get(last).status == "queued"
    store.runs.ask(last, "stop")

    store.runs.ask(third, "stop")
    assert ended(store, third).reason.startswith("The run was stopped before anything was learnt")
    store.runs.ask(first, "stop")
    assert ended(store, first).status == "stopped"
    assert store.checkpoint(first).exists()
    assert "Traceback" not in log_of(store, first)

    worker.terminate()
    assert worker.wait(GIVE_UP_S) == 0
    run = store.runs.get(second)
    assert (run.status, run.deaths, run.claim) == ("queued", 0, None)
    assert run.reason == "The worker was ended; the run goes on when one is started."
    store.runs.ask(second, "stop")


def test_a_cluster_that_is_away_is_named_on_the_page_and_asked_again(store):
    run_id = store.submit(small_recipe())
    with ray_worker(store, "127.0.0.1:1"):
        said = re.compile(r"The Ray cluster at 127\.0\.0\.1:1 cannot be reached \(.*Trying again", re.DOTALL)
        until(lambda: said.fullmatch(store.runs.get(run_id).progress.get("message", "")))
        store.runs.ask(run_id, "pause")
        assert ended(store, run_id).status == "paused"


@pytest.mark.parametrize(
    ("nodes", "settings", "recipe", "place"),
    [
        ([], {}, {}, (1, 0)),
        ([{"CPU": 8.0}, {"CPU": 4.0}], {}, {}, (4, 0)),
        ([{"CPU": 64.0}, {"CPU": 32.0, "GPU": 8.0}], {}, {}, (4, 1)),
        ([{"CPU": 64.0}, {"CPU": 32.0, "GPU": 8.0}], {"THAW_RAY_GPUS": "0"}, {}, (32, 0)),
        ([{"CPU": 32.0, "GPU": 8.0}], {"THAW_RAY_CPUS": "3"}, {}, (3, 1)),
        ([{"CPU": 8.0}], {}, {"device": "gpu", "memory": 16.0}, (1, 1, 16.0)),
    ],
)
def test_a_run_asks_for_a_gpu_and_its_share_of_a_node_or_for_a_node(nodes, settings, recipe, place, monkeypatch):
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    assert choose_place(nodes, recipe) == Place(*place)


def test_a_cluster_that_is_too_small_is_told_from_one_that_is_busy():
    nodes = [{"CPU": 4.0}, {"CPU": 2.0, "GPU": 1.0}]
    assert what_it_waits_for(Place(2, 0), 3, nodes) == (
        "Waiting for room in the Ray cluster: the run asks for 3 times 2 CPUs"
    )
    assert "asks for 2 CPUs and 8 GB of memory" in what_it_waits_for(Place(2, 0, 8), 1, [{"CPU": 4.0, "memory": 4e9}])
    assert what_it_waits_for(Place(2, 1), 2, nodes).startswith(
        "The Ray cluster never has room for this run as it is: it asks for 2 times 2 CPUs and 1 GPU, and the nodes "
        "have: 4 CPUs; 2 CPUs and 1 GPU. It waits for larger or more nodes"
    )


@pytest.mark.parametrize(
    ("executor", "said"),
    [
        ("ray", "EXECUTOR=ray needs Ray, which is not installed. Install Thaw with it: pip install '.[ray]'"),
        ("slurm", "EXECUTOR is 'slurm'; it should be local or ray."),
    ],
)
def test_a_worker_that_cannot_hand_runs_over_says_why(executor, said, workspace):
    environment = os.environ | {"EXECUTOR": executor, "COLUMNS": "200"}
    command = [sys.executable, "-c", WITHOUT_RAY, "worker"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=GIVE_UP_S)
    assert done.returncode == 2
    assert said in " ".join(done.stderr.split()) and "Traceback" not in done.stderr
