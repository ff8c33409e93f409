"""A run's settings and figures, written as it goes for TensorBoard, MLflow or Weights & Biases too. Needs no torch.

What a tracker cannot take is told in the log once; no run fails for it. fastai's own callbacks are not used: the one
for TensorBoard counts steps anew in each fit, so that a phase would write over the one before; neither it nor the one
for Weights & Biases knows of runs that go on after a kill; and there is none for MLflow.
"""

import importlib.util
import logging
import os
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from learner.atomic import read_json, write_json
from learner.errors import RunError
from learner.evaluation.results import load_result
from learner.store import Run, Store
from learner.training.progress import Listener, Progress

log = logging.getLogger(__name__)

SETTING = "THAW_TRACKERS"
"""What all runs of a worker are written for, with commas between them, besides what was asked for each."""
TITLES = {"tensorboard": "TensorBoard", "mlflow": "MLflow", "wandb": "Weights & Biases"}
"""What people call them, by the name of the module and of its package."""
FIGURES = ("train_loss", "valid_loss", "accuracy", "error_rate", "grad_norm", "images_per_s", "seconds")


class Tracker:
    """One place that a run is written to; each method may raise anything."""

    def __init__(self, store: Store, run: Run, first_step: int):
        """`first_step` is the epoch that comes next, from 1: more than that for a run that goes on."""

    def settings(self, values: dict[str, Any]) -> None:
        """The recipe, flat: `phases.0.lr`."""

    def figures(self, step: int, values: dict[str, float]) -> None:
        """Of an epoch, or of the end."""

    def close(self, status: str) -> None:
        """The run has ended so, or goes on another time."""


class TensorBoard(Tracker):
    """Event files in the run's folder: `tensorboard --logdir runs`."""

    def __init__(self, store: Store, run: Run, first_step: int):
        from torch.utils.tensorboard.writer import SummaryWriter

        folder = store.workspace.run_folder(run.id) / "tensorboard"
        self._writer = SummaryWriter(str(folder), purge_step=first_step if first_step > 1 else None)

    def settings(self, values: dict[str, Any]) -> None:
        rows = "\n".join(f"| {name} | {value} |" for name, value in values.items())
        self._writer.add_text("recipe", f"| setting | value |\n|---|---|\n{rows}")

    def figures(self, step: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self, status: str) -> None:
        self._writer.add_text("status", status)
        self._writer.close()


class MLflow(Tracker):
    """A run of the experiment `thaw`, at `MLFLOW_TRACKING_URI` or in `mlflow.db` in the workspace."""

    def __init__(self, store: Store, run: Run, first_step: int):
        from mlflow import MlflowClient

        address = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{store.workspace.root / 'mlflow.db'}"
        self._client = MlflowClient(address)
        note = store.workspace.run_folder(run.id) / "mlflow.json"
        known = read_json(note) or {}
        if known.get("address") == address:
            self._id = known["run"]
            return
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "thaw")
        found = self._client.get_experiment_by_name(name)
        experiment = found.experiment_id if found else self._client.create_experiment(name)
        self._id = self._client.create_run(experiment, run_name=f"run {run.id}").info.run_id
        write_json(note, {"address": address, "run": self._id})

    def settings(self, values: dict[str, Any]) -> None:
        from mlflow.entities import Param

        self._client.log_batch(self._id, params=[Param(name, str(value)) for name, value in values.items()])

    def figures(self, step: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            self._client.log_metric(self._id, name, value, step=step)

    def close(self, status: str) -> None:
        ended = {"finished": "FINISHED", "failed": "FAILED"}.get(status, "KILLED")
        self._client.set_terminated(self._id, ended)


class WeightsAndBiases(Tracker):
    """A run of the project `thaw` (`WANDB_PROJECT`); with `WANDB_MODE=offline` in the run's folder alone."""

    def __init__(self, store: Store, run: Run, first_step: int):
        import wandb

        folder = store.workspace.run_folder(run.id)
        note = folder / "wandb.json"
        known = read_json(note) or {"id": uuid.uuid4().hex}
        write_json(note, known)
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "thaw"),
            name=f"run {run.id}",
            id=known["id"],
            resume="allow",
            dir=str(folder),
            settings=wandb.Settings(console="off"),  # what this process prints is in the run's log already
        )

    def settings(self, values: dict[str, Any]) -> None:
        self._run.config.update(values, allow_val_change=True)

    def figures(self, step: int, values: dict[str, float]) -> None:
        self._run.log(values, step=step)

    def close(self, status: str) -> None:
        self._run.summary["status"] = status
        self._run.finish(exit_code=0 if status == "finished" else 1)


TRACKERS: dict[str, type[Tracker]] = {"tensorboard": TensorBoard, "mlflow": MLflow, "wandb": WeightsAndBiases}


def installed() -> list[str]:
    """The trackers whose packages are there."""
    return [name for name in TITLES if importlib.util.find_spec(name) is not None]


def checked(names: Iterable[str]) -> list[str]:
    """The names, each once. Raises RunError for one that there is not, or whose package is not installed."""
    names = list(dict.fromkeys(name.strip().lower() for name in names if name.strip()))
    for name in names:
        if name not in TRACKERS:
            raise RunError(f"There is no tracker {name!r}. Choose of {', '.join(TRACKERS)}.")
        if name not in installed():
            raise RunError(f"To write for {name} its package is needed: pip install {name}")
    return names


@contextmanager
def tracked(store: Store, run_id: int, listener: Listener | None) -> Iterator[Listener | None]:
    """A listener that also writes for the wanted trackers, and closes them at the end of the block."""
    run, done = store.runs.get(run_id), len(store.runs.epochs(run_id))
    try:
        names = checked([*run.facts.get("trackers", []), *os.environ.get(SETTING, "").split(",")])
    except RunError as error:
        log.warning("%s", error)
        names = []
    if not names:
        yield listener
        return
    tracking = _Tracking(listener or Listener())
    for name in names:
        tracking.add(name, lambda name=name: TRACKERS[name](store, run, done + 1))
    tracking.tell(lambda tracker: tracker.settings(_flat(run.recipe)))
    try:
        yield tracking
    finally:
        result = load_result(store.workspace.run_folder(run_id)) or {}
        final = {f"final_{name}": result[name] for name in ("accuracy", "log_loss") if name in result}
        if final:
            tracking.tell(lambda tracker: tracker.figures(len(store.runs.epochs(run_id)), final))
        status = store.runs.get(run_id).status
        tracking.tell(lambda tracker: tracker.close(status))


class _Tracking(Listener):
    """Passes everything on to another listener, and epochs to trackers."""

    def __init__(self, listener: Listener):
        self._listener = listener
        self._trackers: dict[str, Tracker] = {}

    def add(self, name: str, make: Any) -> None:
        try:
            self._trackers[name] = make()
        except Exception as error:
            log.warning("Nothing is written for %s: %s", name, _line(error))

    def tell(self, what: Any) -> None:
        """Each tracker; one that fails is told nothing more."""
        for name, tracker in list(self._trackers.items()):
            try:
                what(tracker)
            except Exception as error:
                log.warning("Nothing more is written for %s: %s", name, _line(error))
                del self._trackers[name]

    def on_progress(self, progress: Progress) -> None:
        self._listener.on_progress(progress)

    def on_epoch(self, figures: dict[str, Any], is_best: bool) -> None:
        self._listener.on_epoch(figures, is_best)
        values = {name: float(figures[name]) for name in FIGURES if figures.get(name) is not None}
        values |= {f"lr/{place}": float(rate) for place, rate in enumerate(figures["lrs"])}
        self.tell(lambda tracker: tracker.figures(figures["epoch"], {**values, "phase": float(figures["phase"])}))


def _flat(values: Any, name: str = "") -> dict[str, Any]:
    """`{"phases": [{"lr": 1}]}` → `{"phases.0.lr": 1}`."""
    if isinstance(values, dict):
        pairs = [(str(key), value) for key, value in values.items()]
    elif isinstance(values, list) and any(isinstance(value, dict | list) for value in values):
        pairs = [(str(place), value) for place, value in enumerate(values)]
    else:
        return {name: values}
    inner = (_flat(value, f"{name}.{key}" if name else key) for key, value in pairs)
    return {key: value for part in inner for key, value in part.items()}


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
