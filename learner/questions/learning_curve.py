"""What more photos would bring: what was measured of a run's data and frozen body, as it is kept, and in words."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from learner.questions.answers import answer_file, read_answer
from learner.recipe import Recipe
from learner.store import Run
from learner.wording import count, percent, percent_with_interval
from learner.workspace import Workspace

SMALL_GAIN = 0.02
"""Twice as many photos that surely bring less than this hardly help."""
SURE = 0.05
FORMAT = 1

Verdict = Literal["helps", "unclear", "hardly", "unknown"]


@dataclass
class LearningCurve:
    """How the accuracy of a linear head grows with the photos it learns from. Rates are 0 to 1.

    A gain is [about, low, high]: how much the rate would rise, with a 95 % interval; None where it cannot be told.
    """

    dataset: str
    version: int
    backbone: str
    image_size: int
    train_images: int
    """All that there are; `learnt` of them were used, and `checked` of the `valid_images`."""
    valid_images: int
    learnt: int
    checked: int
    sizes: list[int]
    """Photos that heads learnt from, ascending."""
    accuracies: list[list[float]]
    """For each size, one a head; of the last size there is one."""
    line: list[list[float]]
    """[photos, accuracy, low, high] of the fitted law, until twice `train_images`."""
    half_more: list[float] | None
    """The gain in accuracy with half as many photos more."""
    twice: list[float] | None
    per_class: list[dict[str, Any]]
    """`class`, `train_images`, `checked`, `recalls` (the mean at each size), `half_more` and `twice` (gains in recall),
    and `p`: how likely so large a gain is by chance, raised for there being several classes."""
    seconds: float

    @property
    def now(self) -> float:
        """Accuracy of the head that learnt from all."""
        return self.accuracies[-1][0]

    @property
    def sentences(self) -> list[str]:
        """What more photos would bring, overall and to which class."""
        return [_overall(self), _by_class(self)]

    def about_the_head(self, accuracy: float, interval: list[float]) -> str:
        """What the curve is one of, beside the accuracy of the run itself."""
        less = (
            f" {self.learnt + self.checked:,} of {self.train_images + self.valid_images:,} photos were used."
            if self.learnt < self.train_images
            else ""
        )
        return (
            f"This is the curve of a linear head on what the frozen {self.backbone} sees, not of the run: with "
            f"{count(self.sizes[-1], 'photo')} the head gets {percent(self.now)} of {count(self.checked, 'photo')} "
            f"right, the run {percent_with_interval(accuracy, interval)} of its validation photos. Fine-tuning may "
            f"gain more from new photos than this, or less.{less}"
        )

    def ranked(self) -> list[dict[str, Any]]:
        """The classes, those that gain most first, those of which nothing can be told last."""
        return sorted(self.per_class, key=lambda row: -row["twice"][0] if row["twice"] else 2)


def verdict(gain: list[float] | None, p: float = 0.0) -> Verdict:
    """What a gain's interval supports."""
    if gain is None:
        return "unknown"
    _, low, high = gain
    if low > 0 and p < SURE:
        return "helps"
    return "hardly" if high < SMALL_GAIN else "unclear"


def gain_text(gain: list[float]) -> str:
    """`+2.1 points (0.4 to 3.9)`."""
    about, low, high = (round(100 * value, 1) + 0.0 for value in gain)
    return f"{about:+.1f} points ({low:.1f} to {high:.1f})".replace("-", "−")


VERDICTS: dict[Verdict, str] = {
    "helps": "Would help",
    "unclear": "May bring nothing",
    "hardly": "Would hardly help",
    "unknown": "Cannot be told yet",
}


def _overall(curve: LearningCurve) -> str:
    kind = verdict(curve.twice)
    if kind == "unknown" or curve.twice is None:
        return (
            f"What more photos would bring cannot be told yet: {count(curve.checked, 'validation photo')} and "
            f"{count(curve.learnt, 'training photo')} leave it too uncertain."
        )
    told = gain_text(curve.twice)
    if kind == "helps":
        more = "" if curve.half_more is None else f" Half as many more: about {gain_text(curve.half_more)}."
        return f"Twice as many photos would bring about {told}.{more}"
    if kind == "hardly":
        return (
            f"More photos would hardly help: twice as many, about {told}. Wrong labels put right, or a further stage "
            "that learns, may bring more."
        )
    return f"Twice as many photos may bring nothing: about {told}. The photos there are do not tell it better."


def _by_class(curve: LearningCurve) -> str:
    helped = [row for row in curve.ranked() if verdict(row["twice"], row["p"]) == "helps"]
    if not helped:
        known = any(row["twice"] for row in curve.per_class)
        return (
            "No class stands out as one that more photos would surely help."
            if known
            else "Of no single class can it be told yet."
        )
    best = helped[0]
    others = "" if len(helped) == 1 else f" {count(len(helped) - 1, 'other class', 'other classes')} would gain too."
    return (
        f"{best['class']} would gain most: with twice as many photos of every class, about "
        f"{gain_text(best['twice'])} more of its photos are found.{others}"
    )


def recipe_of(run: Run) -> Recipe:
    """What the run decided: data set version, backbone, image size, precision."""
    return Recipe.from_dict(run.facts.get("recipe", run.recipe))


def curve_file(workspace: Workspace, recipe: Recipe) -> Path:
    """Where the curve for a settled recipe's data, split and frozen body stands."""
    data = [recipe.dataset, recipe.version]
    split = [recipe.valid_fraction, recipe.grouped, recipe.folds, recipe.fold, recipe.seed]
    body = [recipe.backbone, recipe.weights, recipe.image_size, recipe.precision]
    return answer_file(workspace, "learning_curves", [FORMAT, data, split, body])


def read_curve(workspace: Workspace, recipe: Recipe) -> LearningCurve | None:
    """What was measured before; None where nothing was yet."""
    return read_answer(curve_file(workspace, recipe), LearningCurve)
