"""What a run reports while it trains, and how it is stopped."""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from fastai.callback.core import Callback, CancelFitException, CancelTrainException

from learner.errors import RunError
from learner.recipe import Phase
from learner.store import Store

REPORT_EVERY_S = 0.3
STEPS_AN_EPOCH = 25
"""Samples of loss and learning rates that are kept inside one epoch."""


@dataclass
class Progress:
    """Where a run stands."""

    message: str
    """A sentence for a person."""
    done: float = 0.0
    """Share of the whole run, 0 to 1."""
    seconds_left: float | None = None
    """None while it cannot be told."""
    phase: int | None = None
    """Index of the present phase; None before the first and after the last."""
    epoch: int = 0
    """Epoch of this phase, from 1."""
    epochs: int = 0
    """Epochs of this phase."""
    batch: int = 0
    """Batches done of this epoch."""
    batches: int = 0


class Listener:
    """Hears what a run reports to the store, for a command that trains in the foreground. Does nothing itself."""

    def on_progress(self, progress: Progress) -> None:
        """Training has moved on."""

    def on_epoch(self, figures: dict[str, Any], is_best: bool) -> None:
        """An epoch has ended; `figures` are the columns of `store.Epoch`."""


class Progression:
    """A run's progress over all phases, written to the store; remembers whether a stop was asked for."""

    def __init__(self, store: Store, run_id: int, listener: Listener | None = None):
        self.store = store
        self.run_id = run_id
        self.stop_requested = False
        self.latest = Progress("")
        self.listener = listener or Listener()
        self._costs: list[tuple[float, float]] = []
        self._epochs: list[int] = []
        self._work_done = 0.0
        self._last_report = 0.0
        self._began = 0.0

    def say(self, message: str, done: float | None = None) -> None:
        """Report a sentence outside the phases."""
        self._write(Progress(message, done=self.latest.done if done is None else done))

    def expect(self, costs: list[tuple[float, float]], epochs: list[int]) -> None:
        """`costs`: for each phase the expected seconds of a training and of a validation batch; only ratios matter."""
        self._costs, self._epochs = costs, epochs
        self._began = time.monotonic()

    def count(self, phase: int, training: bool) -> None:
        """One more batch was done."""
        self._work_done += self._costs[phase][0 if training else 1]

    def report(self, phase: int, name: str, epoch: int, batch: int, batches: tuple[int, int], training: bool) -> None:
        """Write where training stands, at most every `REPORT_EVERY_S`; `batches`: for training, for validation."""
        due = time.monotonic() - self._last_report >= REPORT_EVERY_S
        if not due:
            return
        total = sum(
            epochs * (batches[0] * train_s + batches[1] * valid_s)
            for epochs, (train_s, valid_s) in zip(self._epochs, self._costs, strict=True)
        )
        share = min(self._work_done / total, 1.0)
        elapsed = time.monotonic() - self._began
        verb = "Stopping after checking what was learnt" if self.stop_requested else name
        part = "learning" if training else "checking on the validation images"
        self._write(
            Progress(
                f"{verb}: {part}",
                done=share,
                seconds_left=elapsed * (1 - share) / share if share > 0.01 else None,
                phase=phase,
                epoch=epoch,
                epochs=self._epochs[phase],
                batch=batch,
                batches=batches[0] if training else batches[1],
            )
        )

    def _write(self, progress: Progress) -> None:
        self._last_report = time.monotonic()
        self.latest = progress
        self.stop_requested = self.store.runs.report(self.run_id, asdict(progress)) or self.stop_requested
        self.listener.on_progress(progress)


class Reporter(Callback):
    """Writes batches and epochs to the store, keeps the best checkpoint, and stops when asked.

    A stop ends the epoch's training at once, validates what was learnt so far, and then ends the fit.
    """

    order = 70  # after Recorder and ParamScheduler

    def __init__(self, progression: Progression, keep: Callable[[], None]):
        self.progression = progression
        self._keep = keep
        self._phase_index = 0
        self._phase: Phase | None = None
        self._epochs_done = 0
        self._best: tuple[float, float] | None = None

    def begin_phase(self, index: int, phase: Phase) -> None:
        self._phase_index, self._phase = index, phase

    def before_epoch(self) -> None:
        self._epoch_began = time.monotonic()
        self._steps_written = 0

    def after_batch(self) -> None:
        self.progression.count(self._phase_index, self.training)
        self.progression.report(
            self._phase_index,
            self._phase.name,
            self.epoch + 1,
            self.iter + 1,
            (len(self.dls.train), len(self.dls.valid)),
            self.training,
        )
        if not self.training:
            return
        position = (self.iter + 1) / self.n_iter
        if position * STEPS_AN_EPOCH >= self._steps_written + 1:
            self._steps_written = int(position * STEPS_AN_EPOCH)
            loss = float(self.recorder.smooth_loss.value)
            self.progression.store.runs.add_step(
                self.progression.run_id, self._epochs_done + position, _finite(loss), self._rates()
            )
        if self.progression.stop_requested:
            raise CancelTrainException

    def after_epoch(self) -> None:
        self._epochs_done += 1
        right, wrong = (float(metric.value) for metric in self.recorder.metrics)
        valid_loss = float(self.recorder.loss.value)
        rank = (right, -valid_loss if math.isfinite(valid_loss) else -math.inf)
        is_best = self._best is None or rank > self._best
        if is_best:
            self._best = rank
            self._keep()
        figures = {
            "epoch": self._epochs_done,
            "phase": self._phase_index,
            "train_loss": _finite(float(self.recorder.smooth_loss.value)),
            "valid_loss": _finite(valid_loss),
            "accuracy": right,
            "error_rate": wrong,
            "lrs": self._rates(),
            "seconds": time.monotonic() - self._epoch_began,
        }
        self.progression.store.runs.add_epoch(self.progression.run_id, is_best, **figures)
        self.progression.listener.on_epoch(figures, is_best)
        if self.progression.stop_requested:
            raise CancelFitException

    def _rates(self) -> list[float]:
        return [float(hyper["lr"]) for hyper in self.opt.hypers]


class FrozenStagesEval(Callback):
    """Keeps the batch-norm of frozen stages in evaluation mode: their running statistics are part of what is frozen."""

    order = 10  # after TrainEvalCallback has put the whole model into training mode
    run_valid = False

    def before_train(self) -> None:
        for stage in self.model[0]:
            if not any(parameter.requires_grad for parameter in stage.parameters()):
                stage.eval()


class StopWhenNotFinite(Callback):
    """Ends the run with a clear error when the loss is no number any more."""

    order = 65  # before the Reporter
    run_valid = False

    def after_batch(self) -> None:
        if not torch.isfinite(self.loss).all():
            raise RunError(
                "The loss stopped being a number, which mostly means that the learning rate is too high. Try a tenth "
                "of it. The best checkpoint of the epochs before is kept."
            )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
