"""fastai callbacks of a run: progress, the best checkpoint, stopping, frozen batch-norm."""

import math
import time
from collections.abc import Callable

import torch
from fastai.callback.core import Callback, CancelFitException, CancelTrainException
from fastai.callback.fp16 import MixedPrecision
from fastcore.foundation import L
from torch.amp import GradScaler

from learner.progress import Progression
from learner.speed import PhasePlan

STEPS_AN_EPOCH = 25
"""Samples of loss and learning rates that are kept inside one epoch."""


class Reporter(Callback):
    """Writes batches and epochs to the store, keeps the best checkpoint, and stops when asked.

    A stop ends the epoch's training at once, validates what was learnt so far, and then ends the fit.
    """

    order = 70  # after Recorder and ParamScheduler

    def __init__(self, progression: Progression, keep: Callable[[], None]):
        self.progression = progression
        self._keep = keep
        self._phase_index = 0
        self._plan: PhasePlan | None = None
        self._epochs_done = 0
        self._best: tuple[float, float] | None = None

    def begin_phase(self, index: int, plan: PhasePlan) -> None:
        self._phase_index, self._plan = index, plan

    def before_epoch(self) -> None:
        self._epoch_began = time.monotonic()
        self._steps_written = 0
        self.dls.train.epoch = self._epochs_done  # decides which views of the images come

    def after_batch(self) -> None:
        batches = len(self.dls.train if self.training else self.dls.valid)
        self.progression.batch(
            self._phase_index, self._plan, self.n_epoch, self.epoch + 1, self.iter + 1, batches, self.training
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


class LossScaling(MixedPrecision):
    """fastai's scaling of the loss for fp16, on any device; the network itself knows what computes in fp16."""

    def before_fit(self) -> None:
        self.learn.scaler, self.scales = GradScaler(self.dls.device.type), L()

    def before_batch(self) -> None:
        """No autocast over head and loss."""

    def after_pred(self) -> None:
        """The head gives fp32 already."""

    def after_loss(self) -> None:
        """There is no autocast to leave."""

    def after_fit(self) -> None:
        self.learn.scaler = self.scales = None


class FrozenStagesEval(Callback):
    """Keeps the batch-norm of frozen stages in evaluation mode: their running statistics are part of what is frozen."""

    order = 10  # after TrainEvalCallback has put the whole model into training mode
    run_valid = False

    def before_train(self) -> None:
        for stage in self.model[0]:
            if not any(parameter.requires_grad for parameter in stage.parameters()):
                stage.eval()


class StopWhenNotFinite(Callback):
    """Ends the fit when the loss is no number any more, and remembers it: fastai rewrites errors of callbacks."""

    order = 65  # before the Reporter
    run_valid = False

    def __init__(self):
        self.happened = False

    def after_batch(self) -> None:
        if not torch.isfinite(self.loss).all():
            self.happened = True
            raise CancelFitException


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
