"""Averages of weights: a moving one over the steps of a phase, and the best point between a phase's start and end."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from fastai.callback.core import Callback
from scipy import stats
from torch import Tensor, nn

from learner.evaluation.intervals import Discordance
from learner.evaluation.optimism import parts_of
from learner.features.targets import goals_in, labels_in
from learner.models.network import Network
from learner.planning.cost import POINTS
from learner.training.position import finite

SHARE_OF_PHASE = 0.1
"""The average reaches back over about this share of a phase's steps."""
LONGEST_MEMORY = 0.999
POINTS_ON_LINE = tuple(index / (POINTS - 1) for index in range(POINTS))
"""Places on the line from a phase's start (0) to its end (1) that are tried."""


class WeightAverage(Callback):
    """An exponential moving average of all that learns; it is what is validated, kept, and left at a phase's end.

    Without `is_on` it does nothing, so that a run has one for all of its phases. Early steps count less than their
    share, as in torch's `swa_utils` and TensorFlow's ExponentialMovingAverage: (1 + steps) / (10 + steps) at most.
    """

    order = 60

    def __init__(self) -> None:
        self.is_on = False
        self.state: dict[str, Any] | None = None
        """What a resume point keeps: `steps`, and the average of each tensor by its name."""

    def begin_phase(self, is_on: bool, state: dict[str, Any] | None = None) -> None:
        """Start anew, or from the `state` of a resume point."""
        self.is_on, self.state = is_on, state if is_on else None

    def before_fit(self) -> None:
        if self.is_on and self.state is None:
            self.state = {"steps": 0, "tensors": {name: t.detach().clone() for name, t in _learning(self.model)}}
        elif self.state is not None:
            device = self.dls.device
            self.state["tensors"] = {name: t.to(device) for name, t in self.state["tensors"].items()}

    @torch.no_grad()
    def after_step(self) -> None:
        if self.state is None:
            return
        self.state["steps"] = steps = self.state["steps"] + 1
        horizon = max(1.0, SHARE_OF_PHASE * self.n_epoch * self.n_iter / self.learn.gather_gradients.batches)
        keep = min(LONGEST_MEMORY, math.exp(-1 / horizon), (1 + steps) / (10 + steps))
        for name, tensor in _learning(self.model):
            average = self.state["tensors"][name]
            if tensor.is_floating_point():
                average.lerp_(tensor, 1 - keep)
            else:  # batch-norm counts its batches
                average.copy_(tensor)

    def before_validate(self) -> None:
        self._exchange()

    def after_validate(self) -> None:
        self._exchange()

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within, the model has the average for its weights."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @torch.no_grad()
    def apply(self, model: nn.Module) -> None:
        """Leave the average in `model`, for good."""
        if self.state is not None:
            model.load_state_dict(self.state["tensors"], strict=False)
        self.begin_phase(False)

    @torch.no_grad()
    def _exchange(self) -> None:
        if self.state is not None:
            for name, tensor in _learning(self.learn.model):
                average = self.state["tensors"][name]
                mine = tensor.detach().clone()
                tensor.copy_(average)
                average.copy_(mine)


class Interpolate(Callback):
    """Before the last validation of a phase, moves the weights to the best point of the line from its start.

    The best is the one with the lowest validation loss, if that is lower than the start's by more than one standard
    error of the difference; else it is the start. A few dozen images often show a gain that new images do not, and what
    was solved is the surer of two that do about equally well (Breiman et al. 1984 choose among trees by that rule).
    Source: WiSE-FT (Wortsman et al. 2021, arXiv:2109.01903), which shows that points between a zero-shot model and a
    fine-tuned one can be better than both.
    """

    order = WeightAverage.order + 1  # the line ends at the averaged weights

    def __init__(self, start: Mapping[str, Tensor], keep: Callable[[dict[str, Any]], None], point: float | None = None):
        """`start` are the weights at the phase's start; `keep` hears what was tried, taken and gained.

        With `point` nothing is tried, and that one is taken.
        """
        self._start, self._keep, self._point = start, keep, point

    @torch.no_grad()
    def before_validate(self) -> None:
        if self.epoch + 1 < self.n_epoch:
            return
        model = self.learn.model
        ends = {name: tensor.detach().clone() for name, tensor in _learning(model)}
        starts = {name: self._start[name].to(tensor.device) for name, tensor in ends.items()}
        losses, hits = {}, {}
        for point in POINTS_ON_LINE if self._point is None else ():
            _move(model, starts, ends, point)
            losses[point], hits[point], targets = self._checked(model)
        best = _best(losses) if self._point is None else self._point
        _move(model, starts, ends, best)
        average = self.learn.weight_average
        if average.state is not None:  # the weights of the last step are no part of what comes
            average.state["tensors"] = {name: tensor.detach().clone() for name, tensor in _learning(model)}
        if not losses:
            return
        rows = [
            {
                "point": point,
                "loss": finite(_mean(losses[point])),
                "accuracy": float(hits[point].mean()),
                "parts": parts_of(losses[point], hits[point], targets),
            }
            for point in losses
        ]
        gained = losses[0.0] - losses[best]
        self._keep(
            {
                "point": best,
                "tried": rows,
                "images": len(gained),
                "gain": float(gained.mean()),
                "gain_interval": _interval(gained),
                "accuracy_gain": float((hits[best] - hits[0.0]).mean()),
                "accuracy_gain_interval": _paired(hits[0.0], hits[best]).interval,
            }
        )

    def _checked(self, model: nn.Module) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Loss of every validation image, 1 for each that is told right, and its class: (images,) each."""
        model.eval()
        losses, hits, classes = [], [], []
        for x, targets in self.dls.valid:
            logits = model(x)
            losses.append(nn.functional.cross_entropy(logits, goals_in(targets), reduction="none").cpu())
            labels = labels_in(targets)
            hits.append((logits.argmax(dim=1) == labels).cpu())
            classes.append(labels.cpu())
        return torch.cat(losses).double().numpy(), torch.cat(hits).double().numpy(), torch.cat(classes).numpy()


def _learning(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """What learns, and the buffers beside it, which follow it."""
    yield from ((name, tensor) for name, tensor in model.named_parameters() if tensor.requires_grad)
    yield from model.named_buffers()


def _move(model: Network, starts: Mapping[str, Tensor], ends: Mapping[str, Tensor], point: float) -> None:
    for name, tensor in _learning(model):
        if tensor.is_floating_point():
            tensor.copy_(torch.lerp(starts[name], ends[name], point) if point else starts[name])  # an end may be NaN


def _best(losses: Mapping[float, np.ndarray]) -> float:
    """The point to take, of which 0 is the start."""
    best = min(losses, key=lambda point: (_mean(losses[point]), point))
    gained = losses[0.0] - losses[best]
    return best if len(gained) > 1 and gained.mean() > gained.std(ddof=1) / math.sqrt(len(gained)) else 0.0


def _mean(losses: np.ndarray) -> float:
    return float(losses.mean()) if np.isfinite(losses).all() else math.inf


def _paired(before: np.ndarray, after: np.ndarray) -> Discordance:
    """Two points on the same images: (images,) of 0 or 1 each."""
    both, neither = float(before @ after), float((1 - before) @ (1 - after))
    broken, fixed = float(before.sum()) - both, float(after.sum()) - both
    return Discordance(round(both), round(broken), round(fixed), round(neither))


def _interval(gains: np.ndarray) -> list[float] | None:
    """95 % interval of the mean by Student's t over the images; None of one image."""
    if len(gains) < 2:
        return None
    error = stats.t.ppf(0.975, len(gains) - 1) * gains.std(ddof=1) / math.sqrt(len(gains))
    return [float(gains.mean() - error), float(gains.mean() + error)]
