"""Train a run in processes of its own that are killed with SIGKILL, until one gets to the end."""

import itertools
import os
import random
import signal
from collections.abc import Callable
from multiprocessing.process import BaseProcess

from safetensors.numpy import load_file

from learner.evaluation.results import load_result
from learner.recipe import Recipe
from learner.store import Store
from learner.training.process import execute
from learner.workspace import Workspace
from tests.ready import SERVER


def _train(
    environment: dict[str, str],
    run_id: int,
    claim: str,
    points_everywhere: bool,
    prepare: Callable[[], None] | None,
) -> None:
    os.environ.clear()  # of the server's start
    os.environ.update(environment)
    import learner.training.callbacks

    learner.training.callbacks.POINT_EVERY_S = 0.0
    if points_everywhere:
        learner.training.callbacks.POINT_INSIDE_EPOCH_S = 0.0
    if prepare:
        prepare()
    execute(Store(Workspace.current()), run_id, requeue=True, claim=claim)


def start_training(
    store: Store, run_id: int, points_everywhere: bool = True, prepare: Callable[[], None] | None = None
) -> BaseProcess:
    """Claim a queued run and start a process that trains it; `prepare` is called there first."""
    assert store.runs.claim() == run_id
    claim = store.runs.claim_of(run_id)
    environment = os.environ | {"THAW_HOME": str(store.workspace.root)}
    process = SERVER.Process(target=_train, args=(environment, run_id, claim, points_everywhere, prepare))
    process.start()
    return process


def train_in_a_process(
    store: Store,
    run_id: int,
    kill_after_s: float | None = None,
    points_everywhere: bool = True,
    prepare: Callable[[], None] | None = None,
) -> int:
    """Claim and train a queued run; returns the process's exit code, -9 where it was killed."""
    process = start_training(store, run_id, points_everywhere, prepare)
    process.join(kill_after_s)
    if process.is_alive():
        process.kill()
        process.join()
    if store.runs.get(run_id).status == "running":
        store.runs.requeue(run_id, "It was killed.", died=False)
    return process.exitcode


def train_under_fire(store: Store, recipe: Recipe, seed: int, seconds: float, kills: int) -> tuple[int, int]:
    """Kill the run's process `kills` times at random moments of up to `seconds`; returns the run's id and the kills."""
    chance = random.Random(seed)
    run_id = store.submit(recipe)
    for done in itertools.count():
        patience = chance.uniform(0, seconds) if done < kills else None
        train_in_a_process(store, run_id, patience, points_everywhere=chance.random() < 0.5)
        if store.runs.get(run_id).status not in ("queued", "running"):
            return run_id, done
    raise AssertionError


def left_behind(store: Store, run_id: int) -> dict:
    """Everything of a run that must not depend on how often it was killed."""
    folder = store.workspace.run_folder(run_id)
    run = store.runs.get(run_id)
    keys = ("epoch", "phase", "train_loss", "valid_loss", "accuracy", "lrs", "grad_norm", "samples")
    return {
        "status": (run.status, run.reason),
        "best": (run.best_accuracy, run.best_epoch),
        "epochs": [{key: getattr(epoch, key) for key in keys} for epoch in store.runs.epochs(run_id)],
        "steps": [(step.at, step.train_loss) for step in store.runs.steps(run_id)],
        "weights": {name: tensor.tobytes() for name, tensor in load_file(folder / "model.safetensors").items()},
        "last weights": {
            path.name: {name: tensor.tobytes() for name, tensor in load_file(path).items()}
            for path in [*sorted(folder.glob("[pr]*/*.safetensors")), *folder.glob("checked.safetensors")]
        },
        "found": [run.facts.get(name) for name in ("solved", "interpolated")],
        "result": load_result(folder),
        "predictions": (folder / "predictions.csv").read_text(),
        "golden": {path.name: path.read_bytes() for path in sorted((folder / "golden").iterdir())},
        "of training images": (folder / "train" / "predictions.csv").read_text(),
        "files": sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.name != "log.txt"),
    }


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_at_batch(number: int, phase: int) -> None:
    """Arm this process: it dies with the `number`-th batch of that phase (from 0), training and validation counted."""
    from learner.training.progress import ProgressReporter

    whole, seen = ProgressReporter.batch, []

    def batch(self, index, *where, **how):
        whole(self, index, *where, **how)
        seen.extend([index] * (index == phase))
        if len(seen) == number:
            die()

    ProgressReporter.batch = batch
