"""What a search may change in a recipe: keys with the values between which it chooses."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from learner.errors import StudyError
from learner.recipe import SOLVABLE, Augment, Recipe, set_value
from learner.recipe.backbones import known_backbone
from learner.recipe.whole import parse_yaml
from learner.studies.design import split_values, unfreezing
from learner.wording import rate_text

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

LOG_FROM = 10
"""A range whose end is at least so many times its beginning is searched on a log scale."""
DIGITS = 3
"""That a number of a range is rounded to."""
FIXED = ("dataset", "version", "valid_fraction", "grouped", "folds", "fold", "fold_is", "seed", "repeats", "budget")
"""Keys that decide which images judge, or how often."""
LOSSES = ("loss", "focal_gamma", "label_smoothing", "balance")
"""Keys that decide how the loss is counted, by which trials are held against each other."""
RATES, HEAD_RATES, USUAL_RATES = (3e-6, 1e-4), (1e-4, 1e-3), (1e-5, 1e-4)
"""Between which the learning rate of what thaws and that of the head are searched by default, and where both begin."""
STEPPED = ("fastai", "linear", "attention")
"""Kinds of head that are trained by steps."""
_TITLES = {
    "trainable": "What learns",
    "lr.0": "lr, lowest stage",
    "lr.1": "lr, head",
    "head.kind": "Head",
    "augment": "Random changes",
}
CHANGED = "{flip_horizontal: true, rotate: 10, zoom: 1.1, lighting: 0.2}"


@dataclass(frozen=True)
class Range:
    """All numbers from `low` to `high`."""

    low: float
    high: float

    @property
    def is_whole(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def is_log(self) -> bool:
        return self.low > 0 and self.high >= LOG_FROM * self.low

    def distribution(self) -> "BaseDistribution":
        """For Optuna."""
        from optuna.distributions import FloatDistribution, IntDistribution

        if self.is_whole:
            return IntDistribution(int(self.low), int(self.high), log=self.is_log)
        return FloatDistribution(self.low, self.high, log=self.is_log)

    def kept(self, drawn: float) -> float:
        """What is taken of a number that Optuna has drawn: `DIGITS` digits of it."""
        if self.is_whole:
            return drawn
        return min(max(float(f"{drawn:.{DIGITS}g}"), self.low), self.high)

    def value(self, chosen: float) -> float:
        """What a recipe gets."""
        return chosen

    @property
    def examples(self) -> tuple[float, ...]:
        return self.low, self.high

    def chosen_by(self, value: Any) -> Any:
        """What Optuna would have chosen for that value of a recipe; None for one outside of this."""
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return value if is_number and self.low <= value <= self.high else None

    @property
    def words(self) -> str:
        return f"{self.low:g} to {self.high:g}"

    def to_json(self) -> dict[str, float]:
        return {"low": self.low, "high": self.high}


@dataclass(frozen=True)
class Choice:
    """One of some values, as YAML."""

    values: tuple[str, ...]

    def distribution(self) -> "BaseDistribution":
        """For Optuna."""
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(self.values)

    def kept(self, drawn: str) -> str:
        """What is taken of what Optuna has drawn."""
        return drawn

    @property
    def examples(self) -> tuple[str, ...]:
        return self.values

    def value(self, chosen: str) -> Any:
        """What a recipe gets."""
        return parse_yaml(chosen, "The space")

    def chosen_by(self, value: Any) -> str | None:
        """What Optuna would have chosen for that value of a recipe; None for one outside of this."""
        return next((text for text in self.values if _same(self.value(text), value)), None)

    @property
    def words(self) -> str:
        return ", ".join(self.values)

    def to_json(self) -> list[str]:
        return list(self.values)


Space = Mapping[str, Range | Choice]
"""By the dotted key of what is set in the recipe."""


def read_space(over: Sequence[str]) -> Space:
    """Each of `over` is `key=value,value` with YAML values, or `key=low..high`.

    Raises StudyError for what is neither, and for keys that would make trials incomparable.
    """
    space: dict[str, Range | Choice] = {}
    for text in over:
        key, _, values = text.partition("=")
        key = key.strip()
        if not key or not values.strip():
            raise StudyError(
                f"{text!r} is not of the form key=value,value or key=low..high, as in phases.1.lr=0.00001..0.001"
            )
        if key in space:
            raise StudyError(f"{key} is named twice. Give all of its values at once.")
        space[key] = _range(text, values) if ".." in values else _choice(text, values)
    _require_comparable(space)
    return space


def space_from(values: Mapping[str, Any]) -> Space:
    """Of the form that `space_dict` gives."""
    return {
        key: Range(one["low"], one["high"]) if isinstance(one, dict) else Choice(tuple(one))
        for key, one in values.items()
    }


def space_dict(space: Space) -> dict[str, Any]:
    """For a JSON column."""
    return {key: one.to_json() for key, one in space.items()}


def usual_space(recipe: Recipe, arch: str) -> tuple[Recipe, Space]:
    """Depth, rates, kind of head and augmentation, and the recipe in which they are set: one with fine-tuning.

    Raises StudyError for a backbone whose stages are not known by name.
    """
    known = known_backbone(arch)
    if known is None:
        raise StudyError(f"The stages of {arch} are not known by name. Say what may change: --over phases.1.lr=…")
    base = unfreezing(recipe, arch)[1].recipe  # the head, then the last stage
    tuned = base.phases[-1]
    solves = any(phase.solve for phase in base.phases)
    kinds = SOLVABLE if solves else STEPPED
    if not isinstance(tuned.lr, list):
        base = replace(base, phases=[*base.phases[:-1], replace(tuned, lr=list(USUAL_RATES))])
    at = len(base.phases) - 1
    space: Space = {
        f"phases.{at}.trainable": Choice(("head", known.stages[-1], known.stages[-2], "all")),
        f"phases.{at}.lr.0": Range(*RATES),
        f"phases.{at}.lr.1": Range(*HEAD_RATES),
        "head.kind": Choice(kinds),
        "augment": Choice(("{}", CHANGED)),
    }
    return base if base.head.kind in kinds else changed(base, space, {"head.kind": kinds[0]}), space


def asked_for(recipe: Recipe, space: Space) -> dict[str, Any] | None:
    """What the recipe itself has, as Optuna would choose it; None where some of that lies outside of the space."""
    values = recipe.to_dict()
    found = {key: one.chosen_by(_at(values, key)) for key, one in space.items()}
    return None if any(one is None for one in found.values()) else found


def titles(space: Space) -> dict[str, str]:
    """What tables call each key: in words where they are known, and without its phase where that is plain."""
    short = {key: re.sub(r"^phases\.\d+\.", "", key) for key in space}
    alone = [name for name, times in Counter(short.values()).items() if times == 1]
    return {key: _TITLES.get(name, name) if name in alone else key for key, name in short.items()}


def words_for(value: Any) -> str:
    """What tables say for what was chosen."""
    return {"{}": "none", CHANGED: "small"}.get(value, rate_text(value) if isinstance(value, float) else str(value))


def changed(recipe: Recipe, space: Space, chosen: Mapping[str, Any]) -> Recipe:
    """The recipe with what was chosen of the space. Raises RecipeError for what no recipe can have."""
    values = recipe.to_dict()
    for key, one in chosen.items():
        set_value(values, key, space[key].value(one))
    return Recipe.from_dict(values)


def _at(values: Any, key: str) -> Any:
    """None where there is nothing."""
    for name in key.split("."):
        if isinstance(values, list):
            values = values[int(name)] if name.isdecimal() and int(name) < len(values) else None
        else:
            values = values.get(name) if isinstance(values, dict) else None
    return values


def _same(said: Any, value: Any) -> bool:
    """Whether they are equal where a part of a recipe is filled up with what it has by default."""
    if isinstance(said, dict) and isinstance(value, dict):
        usual = asdict(Augment())
        return usual.keys() == value.keys() and usual | said == value
    return bool(said == value)


def _require_comparable(space: Space) -> None:
    for key in space:
        top = key.partition(".")[0]
        if top in FIXED:
            raise StudyError(
                f"{key} decides which images judge, so a search cannot change it. Compare it with a study."
            )
        if top in LOSSES:
            raise StudyError(
                f"{key} decides how the loss is counted, by which a search tells trials apart. Use a study."
            )


def _range(text: str, values: str) -> Range:
    low, high = (_number(text, one) for one in values.split("..", 1))
    if low >= high:
        raise StudyError(f"{text!r}: the range must go from a lower to a higher number.")
    return Range(low, high)


def _number(text: str, said: str) -> float:
    said = said.strip()
    try:
        return int(said) if re.fullmatch(r"-?\d+", said) else float(said)
    except ValueError:
        raise StudyError(f"{text!r}: {said!r} is not a number.") from None


def _choice(text: str, values: str) -> Choice:
    found = split_values(values)
    if not all(found) or len(found) < 2:
        raise StudyError(f"{text!r}: name at least two values, with commas between, or a range as low..high.")
    return Choice(tuple(found))
