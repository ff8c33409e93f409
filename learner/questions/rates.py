"""Learning rates that were tried for a phase: what was found, as it is kept."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from learner.questions.answers import answer_file, read_answer
from learner.recipe import Phase, Recipe
from learner.recipe.backbones import known_backbone
from learner.workspace import Workspace

Rates = float | list[float] | dict[str, float]
"""A learning rate as `Phase.lr` takes it."""

CHOSEN = "valley"


@dataclass
class RateFind:
    """How the loss went as the rate grew from step to step, and what can be read from that."""

    phase: str
    """Its name."""
    rates: list[float]
    """Of the head, or of the part that learns fastest, at each step."""
    losses: list[float]
    """Of training, smoothed as fastai does."""
    suggestions: dict[str, float]
    """By fastai's names: steep, valley, minimum (a tenth of it) and slide."""
    chosen: str
    """Which of them."""
    lr: Rates
    """What makes the phase use it, lower stages included."""
    why: str
    """A sentence or two for a person."""
    notes: list[str]
    """What a person should know about how it was found."""
    seconds: float


def rates_file(workspace: Workspace, recipe: Recipe, phase_index: int) -> Path:
    """Where the rates found for a phase of a settled recipe stand, named after all that decides them."""
    said = recipe.to_dict() | {"repeats": 1, "cache": "auto", "phases": []}
    phases = [_decides(recipe, recipe.phases[phase_index])]
    if phase_index:
        phases.append(_decides(recipe, recipe.phases[0]) | {"lr": recipe.phases[0].lr})
    return answer_file(workspace, "rates", [said, phases, phase_index > 0])


def read_rates(workspace: Workspace, recipe: Recipe, phase_index: int) -> RateFind | None:
    """What was found for that phase; None where nobody has looked yet."""
    return read_answer(rates_file(workspace, recipe, phase_index), RateFind)


def with_rates(recipe: Recipe, phase_index: int, lr: Rates) -> Recipe:
    """The recipe with another learning rate in that phase."""
    phases = list(recipe.phases)
    phases[phase_index] = replace(phases[phase_index], lr=lr)
    return replace(recipe, phases=phases)


def scaled_to(phase: Phase, rate: float, batch_norm: bool) -> Rates:
    """Rates of a phase whose fastest part learns at `rate`, in the proportions that the phase has now."""
    rate = float(f"{rate:.2g}")
    if isinstance(phase.lr, dict):
        highest = max(phase.lr.values())
        return {part: float(f"{rate * own / highest:.3g}") for part, own in phase.lr.items()}
    low, high = phase.rates(batch_norm)
    return rate if low == high else [float(f"{rate * low / high:.3g}"), rate]


def _decides(recipe: Recipe, phase: Phase) -> dict[str, Any]:
    """What of a phase decides the outcome. Of its rates only the proportions: a rate that is used changes nothing."""
    known = known_backbone(recipe.backbone)
    low, high = phase.rates(known.batch_norm if known else True)
    proportions = {"": low / high}
    if isinstance(phase.lr, dict):
        proportions = {part: rate / high for part, rate in phase.lr.items()}
    decides = {key: f"{share:.0e}" for key, share in proportions.items()}
    return asdict(replace(phase, name="-", epochs=1, patience=0, lr="auto")) | {"proportions": decides}
