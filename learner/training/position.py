"""Where a run stands in its phases: what a resume point remembers beside tensors. Needs no torch."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from learner.recipe import Phase
from learner.store import Epoch


@dataclass
class EpochTotals:
    """What an epoch has added up so far, so that a run can go on within it."""

    grad_norm: float = 0.0
    steps: int = 0
    images: int = 0
    seconds: float = 0.0
    """Of training."""
    validation_s: float = 0.0
    pct_train: float | None = None
    """fastai's position within the phase, 0 to 1."""
    smooth_count: int = 0
    smooth_loss: float = 0.0
    batch: int = 0
    """Batches done of this epoch."""

    @property
    def mean_grad_norm(self) -> float | None:
        return finite(self.grad_norm / self.steps) if self.steps else None

    @property
    def images_per_s(self) -> float | None:
        return self.images / self.seconds if self.seconds else None


@dataclass
class Position:
    """The phase, epoch and batch that come next, and the best epoch so far."""

    phase: int = 0
    epoch: int = 0
    """Epochs done of that phase."""
    epochs_done: int = 0
    """Of all phases."""
    best: tuple[float, float] | None = None
    """Rank of the best epoch so far (`rank_of`): its accuracy comes second."""
    best_epoch: int | None = None
    batch_size: int = 0
    """What `totals.batch` counts in."""
    totals: EpochTotals = field(default_factory=EpochTotals)

    def use_batch_size(self, batch_size: int) -> None:
        """Count in batches of another size, a divisor of the one before."""
        self.totals.batch = self.totals.batch * self.batch_size // batch_size
        self.batch_size = batch_size

    def to_dict(self) -> dict[str, Any]:
        values = asdict(self)
        return values | {"tally": values.pop("totals"), "rank": values.pop("best")}  # their names in the files

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Position":
        values = dict(values)
        totals, best = EpochTotals(**values.pop("tally")), values.pop("rank", None)
        earlier = values.pop("best", None)  # of a Thaw that ranked by accuracy first
        best = best or (earlier and earlier[::-1])
        return cls(**values, totals=totals, best=tuple(best) if best else None)


def rank_of(accuracy: float, valid_loss: float | None) -> tuple[float, float]:
    """What the best epoch has most of: minus its validation loss, and with the same loss its accuracy.

    Of a few images the accuracy moves in large steps, so that the highest of many epochs is mostly luck.
    """
    return -math.inf if valid_loss is None else -valid_loss, accuracy


def may_be_best(phase: Phase, index: int, is_last: bool) -> bool:
    """Whether an epoch of that phase (`index` from 0) can be a run's best; `is_last` of those that are trained of it.

    Of a phase that takes a point between its start and its end only that point can, as the lowest loss of many epochs
    is mostly luck, which the point has to exceed. The first phase starts from a head that knows nothing, so there all
    can.
    """
    return is_last or index == 0 or not phase.interpolate


def best_of(epochs: Sequence[Epoch], phases: Sequence[Phase]) -> Epoch:
    """The best of a run's epochs, the first of several; `epochs` are not empty, and `phases` are all of the recipe."""
    last = {epoch.phase: epoch.epoch for epoch in epochs}
    able = [
        epoch for epoch in epochs if may_be_best(phases[epoch.phase], epoch.phase, epoch.epoch == last[epoch.phase])
    ]
    return max(able, key=lambda epoch: (rank_of(epoch.accuracy, epoch.valid_loss), -epoch.epoch))


def finite(value: float) -> float | None:
    """None for what is no finite number, as JSON and databases know none."""
    return value if math.isfinite(value) else None
