"""Whether a later phase left the network worse than it found it.

Needs no torch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

from learner.evaluation.optimism import Parts, change
from learner.recipe import Phase, Recipe
from learner.store import Epoch
from learner.training.position import best_of
from learner.wording import percent

LOWEST_RATE = 1e-7
"""A phase whose lowest rate is no higher has had its rates lowered often enough."""
FEWEST_EPOCHS = 2
"""Of a phase before it is judged: frozen batch-norm makes the first one worse, and that passes."""
FALL = 0.02
"""An accuracy has fallen when it is lower by so many points (as a share), and by more than chance."""
CHANCE = 1.96
"""In standard errors of an accuracy, where an older Thaw did not keep which images changed."""


@dataclass(frozen=True)
class _State:
    """The network at one end of a phase."""

    loss: float | None
    accuracy: float
    parts: Parts


@dataclass(frozen=True)
class Setback:
    """A phase that took more than it gave."""

    phase: int
    before: _State
    after: _State
    went_back: bool
    """Its weights went back to its start, as it ends at the best point of its way (`Phase.interpolate`)."""
    kept: Epoch
    """The best epoch."""

    def text(self, phases: Sequence[Phase], is_low: bool) -> str:
        """What it did, with numbers, and what to try; `is_low`: its rates were lowered often enough."""
        name, earlier = phases[self.phase].name, phases[self.phase - 1]
        ended = "by steps alone it would have ended" if self.went_back else "it ended"
        rises = self.after.accuracy > self.before.accuracy
        kept = "The model from before it is kept."
        if self.kept.phase >= self.phase and not self.went_back:
            kept = f"The model of epoch {self.kept.epoch} is kept, with {percent(self.kept.accuracy)}."
        head = "the solved head" if earlier.solve else f"what {earlier.name} gives"
        way_out = f"Its rates are low already, so leave it out and keep {head}: that takes less time."
        if not is_low:
            way_out = (
                "Try a tenth of its rates, or let fewer stages learn. Where that does not help either, leave it out "
                f"and keep {head}."
            )
        return (
            f"{name} did not help: {ended} with a validation loss of {_loss_text(self.after)} instead of "
            f"{_loss_text(self.before)}, {'though with' if rises else 'and'} an accuracy of "
            f"{percent(self.after.accuracy)} instead of {percent(self.before.accuracy)}. {kept} {way_out}"
        )


def find_setback(
    recipe: Recipe, epochs: Sequence[Epoch], ended: bool, valid_images: int | None, interpolated: Mapping[str, Any]
) -> Setback | None:
    """The first phase that is over, trains stages, and left the run no better, but worse by more than chance.

    `interpolated` are a run's facts of that name.
    """
    if all(epoch.valid_loss is None for epoch in epochs):
        return None
    kept = best_of(epochs, recipe.phases)
    for index in sorted({epoch.phase for epoch in epochs}):
        own = [epoch for epoch in epochs if epoch.phase == index]
        earlier = [epoch for epoch in epochs if epoch.phase < index]
        is_over = ended or epochs[-1].phase > index
        if not earlier or not is_over or not recipe.phases[index].trains_stages:
            continue
        before, after = _state(earlier[-1]), _state(own[-1])
        found = interpolated.get(str(index))
        went_back = found is not None and found["point"] == 0
        if len(own) < FEWEST_EPOCHS and not went_back:
            continue
        if found is not None and went_back:
            before, after = _point(found["tried"][0]), _point(found["tried"][-1])
        if kept.phase < index or (went_back and kept is own[-1]):
            lost = _loss_rose(before, after) or _fell(before, after, valid_images)
        else:  # then its best epoch must be less accurate, too
            lost = before.accuracy - kept.accuracy >= FALL and _fell(before, after, valid_images)
        if lost:
            return Setback(index, before, after, went_back, kept)
    return None


def _loss_rose(before: _State, after: _State) -> bool:
    """By more than chance, as far as can be told."""
    if after.loss is None:
        return True
    risen = change(before.parts, after.parts, "loss")
    return risen is not None and risen[0] > 0


def _fell(before: _State, after: _State, valid_images: int | None) -> bool:
    """Whether the accuracy fell by more than chance."""
    fall = before.accuracy - after.accuracy
    risen = change(before.parts, after.parts, "accuracy")
    if risen is not None:
        return fall >= FALL and risen[1] < 0
    error = sqrt(before.accuracy * (1 - before.accuracy) / valid_images) if valid_images else 0.0
    return fall >= max(FALL, CHANCE * error)


def _state(epoch: Epoch) -> _State:
    return _State(epoch.valid_loss, epoch.accuracy, epoch.parts or [])


def _point(row: Mapping[str, Any]) -> _State:
    """Of what interpolation has tried; see docs/formats.md."""
    return _State(row["loss"], row["accuracy"], row.get("parts", []))


def _loss_text(state: _State) -> str:
    return "no number" if state.loss is None else f"{state.loss:.3f}"
