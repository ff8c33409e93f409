"""fastai callbacks of a run: progress, checkpoints, stopping, gradients, frozen batch-norm, sample predictions."""

import math
import time
from collections.abc import Callable

import torch
from fastai.callback.core import (
    Callback,
    CancelBatchException,
    CancelFitException,
    CancelTrainException,
    TrainEvalCallback,
)
from fastai.callback.fp16 import MixedPrecision
from fastcore.foundation import L
from torch import Tensor, nn
from torch.amp import GradScaler

from learner.evaluation.optimism import parts_of
from learner.features.targets import goals_in, labels_in
from learner.planning.cost import PhasePlan
from learner.recipe import Phase
from learner.store import Epoch
from learner.training.position import EpochTotals, Position, finite, may_be_best, rank_of
from learner.training.progress import ProgressReporter

STEPS_AN_EPOCH = 25
"""Samples of loss and learning rates that are kept inside one epoch."""
POINT_EVERY_S = 15.0
"""An epoch that ends sooner after the last resume point writes none: repeating it costs less."""
POINT_INSIDE_EPOCH_S = 300.0
"""Within an epoch a resume point is written this often."""


class Reporter(Callback):
    """Writes batches and epochs to the store, keeps the best checkpoint and resume points, and ends when asked.

    A stop ends the epoch's training at once, validates what was learnt so far, and then ends the fit.
    """

    order = 70  # after Recorder and ParamScheduler

    def __init__(
        self, progression: ProgressReporter, position: Position, keep: Callable[[], None], remember: Callable[[], None]
    ):
        """`keep` writes the best checkpoint, `remember` a resume point for `position`."""
        self.progression, self.position = progression, position
        self._keep, self._remember = keep, remember
        self._phase: Phase | None = None
        self._plan: PhasePlan | None = None
        self._length = 0
        self._is_refit = False
        self._losses: list[float] = []
        self._pointed_at = time.monotonic()

    def begin_phase(self, phase: Phase, plan: PhasePlan, epochs: list[Epoch], refit_epochs: int | None = None) -> None:
        """`epochs` are those of this phase that are done already.

        With `refit_epochs` it is a phase of the refit, of which so many epochs are trained: nothing is checked then, so
        that there are no figures to write and there is no best epoch.
        """
        self._phase, self._plan = phase, plan
        self._is_refit, self._length = refit_epochs is not None, refit_epochs or phase.length
        self._losses = [math.inf if epoch.valid_loss is None else epoch.valid_loss for epoch in epochs]

    def before_epoch(self) -> None:
        self._trained = False
        self.dls.train.epoch = self.position.epochs_done  # decides order and views of the images
        self.dls.train.first_batch = self.position.totals.batch
        self._sampled = EpochTotals()
        self._steps_written = self.position.totals.batch * STEPS_AN_EPOCH // max(len(self.dls.train), 1)

    def before_train(self) -> None:
        """Go on within an epoch as if nothing had happened."""
        self._trained = True
        totals = self.position.totals
        if totals.pct_train is not None:
            self.learn.pct_train = totals.pct_train
        if totals.smooth_count:
            self.recorder.smooth_loss.count = totals.smooth_count
            self.recorder.smooth_loss.val = torch.tensor(totals.smooth_loss)

    def before_batch(self) -> None:
        self._batch_began = time.monotonic()

    def after_batch(self) -> None:
        batches = len(self.dls.train if self.training else self.dls.valid)
        if self.training:
            self._count()
        else:
            self.position.totals.validation_s += time.monotonic() - self._batch_began
        assert self._plan is not None  # `begin_phase` was called
        self.progression.batch(
            self.position.phase, self._plan, self.n_epoch, self.epoch + 1, self.iter + 1, batches, self.training
        )
        if not self.training:
            return
        self._sample()
        stops = self.progression.stops_now
        due = time.monotonic() - self._pointed_at >= POINT_INSIDE_EPOCH_S
        if (stops or due) and self.learn.gather_gradients.is_due and self.iter + 1 < self.n_iter:
            self._point()
        if stops:
            raise CancelTrainException

    def _count(self) -> None:
        totals, gradients = self.position.totals, self.learn.gradients
        seconds = time.monotonic() - self._batch_began
        for one in (totals, self._sampled):
            one.images += len(self.y)
            one.seconds += seconds
            if gradients.norm is not None:
                one.grad_norm += gradients.norm
                one.steps += 1
        smooth = self.recorder.smooth_loss
        totals.smooth_count, totals.smooth_loss = smooth.count, float(smooth.val)
        totals.pct_train = self.learn.pct_train
        totals.batch = self.iter + 1
        self.progression.images_per_s = self._sampled.images_per_s or totals.images_per_s
        if self.dls.device.type == "cuda":
            self.progression.gpu_memory = torch.cuda.memory_reserved(self.dls.device)

    def _sample(self) -> None:
        """A few points of the curves within an epoch."""
        position = (self.iter + 1) / self.n_iter
        if position * STEPS_AN_EPOCH < self._steps_written + 1:
            return
        self._steps_written = int(position * STEPS_AN_EPOCH)
        if self._is_refit:
            return
        self.progression.store.runs.add_step(
            self.progression.run_id,
            at=self.position.epochs_done + position,
            train_loss=finite(float(self.recorder.smooth_loss.value)),
            lrs=self._rates(),
            grad_norm=self._sampled.mean_grad_norm,
            images_per_s=self._sampled.images_per_s,
        )
        self._sampled = EpochTotals()

    def after_epoch(self) -> None:
        if not self._trained:  # fastai tells of epochs that it skips, too
            return
        self.position.epochs_done += 1
        self.position.epoch += 1
        valid_loss = math.inf if self._is_refit else self._write_epoch()
        if self.progression.stops_now:
            raise CancelFitException
        self.position.totals = EpochTotals()
        self._losses.append(valid_loss if math.isfinite(valid_loss) else math.inf)
        asked = self.progression.asked
        if asked or time.monotonic() - self._pointed_at >= POINT_EVERY_S:
            self._point(with_smooth_loss=True)
        if asked or self.is_phase_over:
            raise CancelFitException

    def _write_epoch(self) -> float:
        """Write the epoch that has just ended, and keep its model if it is the best so far; returns the valid loss."""
        right, wrong = (float(metric.value) for metric in self.recorder.metrics)
        valid_loss = float(self.recorder.loss.value)
        position, totals = self.position, self.position.totals
        rank = rank_of(right, finite(valid_loss))
        assert self._phase is not None  # `begin_phase` was called
        is_last = position.epoch >= self._length or self.progression.is_ending
        can_be = may_be_best(self._phase, position.phase, is_last)
        is_best = can_be and (position.best is None or rank > position.best)
        if is_best:
            position.best, position.best_epoch = rank, position.epochs_done
            self._keep()
        figures = {
            "epoch": position.epochs_done,
            "phase": position.phase,
            "train_loss": finite(float(self.recorder.smooth_loss.value)),
            "valid_loss": finite(valid_loss),
            "accuracy": right,
            "error_rate": wrong,
            "lrs": self._rates(),
            "seconds": totals.seconds + totals.validation_s,
            "grad_norm": totals.mean_grad_norm,
            "images_per_s": totals.images_per_s,
            "samples": self.learn.samples.rows,
            "parts": self.learn.validation_parts.parts,
        }
        self.progression.store.runs.add_epoch(self.progression.run_id, is_best, **figures)
        self.progression.listener.on_epoch(figures, is_best)
        return valid_loss

    @property
    def is_phase_over(self) -> bool:
        """Whether all epochs are done, or the validation loss of this phase has not fallen for `patience` epochs."""
        assert self._phase is not None  # `begin_phase` was called
        patience = self._phase.patience
        if self.position.epoch >= self._length:
            return True
        if not patience or len(self._losses) <= patience:
            return False
        return min(self._losses[-patience:]) >= min(self._losses[:-patience])

    def _point(self, with_smooth_loss: bool = False) -> None:
        if with_smooth_loss:  # fastai's average runs on from epoch to epoch
            smooth = self.recorder.smooth_loss
            self.position.totals.smooth_count, self.position.totals.smooth_loss = smooth.count, float(smooth.val)
        self._remember()
        self._pointed_at = time.monotonic()

    def _rates(self) -> list[float]:
        assert self._phase is not None  # `begin_phase` was called
        return [0.0 if self._phase.solve else float(hyper["lr"]) for hyper in self.opt.hypers]


class StartBatch(Callback):
    """Counts batches from where the loader begins (`ImageLoader.first_batch`), which may be within an epoch."""

    order = TrainEvalCallback.order - 1
    run_valid = False

    def __init__(self):
        self.restore: Callable[[], None] | None = None
        """Called once, when the loader has begun: that draws a random number, too."""

    def before_batch(self) -> None:
        if self.restore is not None:
            self.restore()
            self.restore = None
        self.learn.iter += self.dl.first_batch


class GatherGradients(Callback):
    """Makes one step of the gradients of several batches; the last step of an epoch may have fewer.

    fastai's own GradientAccumulation carries gradients over the end of an epoch.
    """

    order = MixedPrecision.order - 2  # before the gradient is measured, and before a scaler's step
    run_valid = False

    def __init__(self):
        self.batches = 1
        """Whose gradients make one step."""

    @property
    def is_due(self) -> bool:
        """Whether the optimizer steps after this batch."""
        return (self.iter + 1) % self.batches == 0 or self.iter + 1 == self.n_iter

    def before_backward(self) -> None:
        rest = self.n_iter % self.batches
        window = rest if rest and self.iter >= self.n_iter - rest else self.batches
        if window > 1:
            self.learn.loss_grad = self.loss_grad / window

    def before_step(self) -> None:
        if not self.is_due:
            raise CancelBatchException  # no step, and the gradients stay


class Gradients(Callback):
    """Measures the length of the gradient before each step, and shortens it where a recipe limits it."""

    order = MixedPrecision.order - 1  # before a scaler's step
    run_valid = False

    def __init__(self, clip_norm: float = 0.0):
        self._clip_norm = clip_norm
        self.norm: float | None = None
        """2-norm over all that learns, of the latest batch; None where it made no step, or no finite number."""

    def before_batch(self) -> None:
        self.norm = None

    def before_step(self) -> None:
        scaling = next((callback for callback in self.learn.cbs if isinstance(callback, LossScaling)), None)
        if scaling is not None:
            self.learn.scaler.unscale_(scaling)
        parameters = [parameter for parameter in self.learn.model.parameters() if parameter.grad is not None]
        self.norm = finite(float(nn.utils.clip_grad_norm_(parameters, self._clip_norm or math.inf)))


class Samples(Callback):
    """Notes what the network says of a few validation images, after each epoch."""

    def __init__(self, positions: list[int]):
        """`positions` of the images in the validation loader."""
        self._positions = positions
        self.rows: list[list[float]] = []
        """See `learner.store.Epoch.samples`."""

    def before_validate(self) -> None:
        self._found: dict[int, list[float]] = {}

    def after_pred(self) -> None:
        if self.training:
            return
        start = self.iter * self.dls.valid.bs
        wanted = [position for position in self._positions if start <= position < start + len(self.pred)]
        if not wanted:
            return
        probs = self.pred.detach()[[position - start for position in wanted]].float().softmax(dim=1)
        best, predicted = probs.max(dim=1)
        labels = labels_in(self.y)[[position - start for position in wanted]]
        own = probs.gather(1, labels.unsqueeze(1)).squeeze(1)
        for row, position in enumerate(wanted):
            self._found[position] = [int(predicted[row]), round(float(best[row]), 4), round(float(own[row]), 4)]

    def after_validate(self) -> None:
        self.rows = [self._found[position] for position in self._positions if position in self._found]


class ValidationParts(Callback):
    """Adds up loss and hits of the validation images in parts, after each epoch."""

    def __init__(self):
        self.parts: list[list[float | None]] = []
        """See `learner.evaluation.optimism.Parts`."""

    def before_validate(self) -> None:
        self.parts = []
        self._losses: list[Tensor] = []
        self._hits: list[Tensor] = []
        self._targets: list[Tensor] = []

    @torch.no_grad()
    def after_pred(self) -> None:
        if not self.training:
            pred, labels = self.pred.detach().float(), labels_in(self.y)
            self._losses.append(nn.functional.cross_entropy(pred, goals_in(self.y), reduction="none"))
            self._hits.append(pred.argmax(dim=1) == labels)
            self._targets.append(labels)

    def after_validate(self) -> None:
        if not self._targets:  # where validation is left out
            return
        gathered = (torch.cat(one).cpu().numpy() for one in (self._losses, self._hits, self._targets))
        self.parts = parts_of(*gathered)


class LossScaling(MixedPrecision):
    """fastai's scaling of the loss for fp16, on any device; the network itself knows what computes in fp16."""

    state: dict | None = None
    """Of a scaler, for the next fit to go on with."""

    def before_fit(self) -> None:
        self.learn.scaler, self.scales = GradScaler(self.dls.device.type), L()
        if self.state:
            self.learn.scaler.load_state_dict(self.state)
            self.state = None

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
        self.has_failed = False

    def after_batch(self) -> None:
        if not torch.isfinite(self.loss).all():
            self.has_failed = True
            raise CancelFitException
