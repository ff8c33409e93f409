"""The refit: once all is chosen, train once more, on training and validation images together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fastai.callback.core import Callback, CancelValidException

from learner.planning.cost import refit_epochs
from learner.recipe import Phase, Recipe
from learner.store import Epoch
from learner.training.averaging import Interpolate


@dataclass(frozen=True)
class RefitPhase:
    """A phase as it is trained once more."""

    phase: Phase
    """With `epochs` for the larger number of images."""
    epochs: int
    """How many of them are trained: the best epoch may not have been the phase's last."""
    strength: float | None
    """Of regularisation, where the head is solved: the one that was chosen the first time."""
    point: float | None
    """Where on the line between its start and its end the phase ends, as was chosen the first time; None: at its
    end."""


def refit_phases(
    recipe: Recipe, epochs: Sequence[Epoch], best_epoch: int, facts: Mapping[str, Any], learnt: int, together: int
) -> list[RefitPhase]:
    """What led to the best epoch, for `together` images instead of `learnt`: about as many steps.

    `epochs` are the run's, `facts` what it noted while it chose.
    """
    found = []
    best = next(epoch for epoch in epochs if epoch.epoch == best_epoch)
    for index, phase in enumerate(recipe.phases[: best.phase + 1]):
        trained = sum(epoch.phase == index and epoch.epoch <= best_epoch for epoch in epochs)
        length = refit_epochs(recipe, phase.length, learnt, together)
        solved, chosen = (facts.get(name, {}).get(str(index), {}) for name in ("solved", "interpolated"))
        found.append(
            RefitPhase(
                replace(phase, epochs=length, patience=0),
                min(length, max(1, round(length * trained / phase.length))),
                solved.get("strength"),
                chosen.get("point") if trained == phase.length else None,
            )
        )
    return found


class NoValidation(Callback):
    """Leaves validation out: there is no image that was not learnt from."""

    order = Interpolate.order + 1  # what a phase does at its end is done there

    def before_validate(self) -> None:
        raise CancelValidException
