"""Which strategy suits a data set: what was measured, as it is kept, and the rule that maps it to a recipe.

The rule is the size–similarity map of Pedro Marcelino, "Transfer learning from pre-trained models" (Towards Data
Science, 2018): few images that look like ImageNet's, freeze the body; many that do not, train everything; between the
two, train some stages. Likeness is measured instead of asked for: by how well a linear model tells the classes apart
from what the frozen body makes of the images.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from learner.questions.answers import answer_file, read_answer
from learner.recipe import Recipe, read_recipe
from learner.recipe.backbones import known_backbone
from learner.wording import count, percent, percent_with_interval
from learner.workspace import Workspace

MANY_PER_CLASS = 1000
"""Images of a class, in the median, from which a data set counts as large: the map's own figure."""
SEPARABLE = 0.95
"""Share of the way from chance to all right that a linear model has to come for frozen features to be good enough. On
the digits it comes 0.92 of the way, as far as training the head does, and training the body gained five per cent more
(docs/benchmarks.md); where less than that is left to win, a changed body risks more than it brings."""
MIDDLE_STAGE = 0.6
"""Share of a backbone's stages below the first that learns, when some do: block4 of VGG16, layer3 of a ResNet."""

Strategy = Literal["frozen", "some", "everything"]
RECIPE_OF: dict[Strategy, str] = {
    "frozen": "size_similarity_frozen",
    "some": "size_similarity",
    "everything": "size_similarity_everything",
}
WHAT: dict[Strategy, str] = {
    "frozen": "Freeze the body and train the head only",
    "some": "Train the upper stages and the head, with the lower stages frozen",
    "everything": "Train everything",
}


@dataclass
class Recommendation:
    """What was measured of a version of a data set, and the strategy that the rule makes of it."""

    dataset: str
    version: int
    backbone: str
    images_per_class: int
    """The median over classes, of images that are not kept for a last test."""
    fewest: int
    """Images of the smallest class."""
    probed: int
    """Images that the linear model was tried on."""
    accuracy: float
    """Of the linear model, on images that it did not learn from."""
    interval: list[float]
    """Of the accuracy, at 95 %."""
    chance: float
    """Accuracy of always saying the largest class."""
    strategy: Strategy
    recipe: str
    """The shipped recipe that does it."""
    seconds: float

    @property
    def sentences(self) -> list[str]:
        """The advice, its two reasons with their figures, and what it is worth."""
        few = self.images_per_class < MANY_PER_CLASS
        separable = is_separable(self.accuracy, self.chance)
        size = (
            f"A class has {count(self.images_per_class, 'image')} in the median"
            + (f", the smallest {self.fewest:,}" if self.fewest < self.images_per_class else "")
            + f": {'few' if few else 'many'}, by the usual mark of {MANY_PER_CLASS:,}."
        )
        told = percent_with_interval(self.accuracy, self.interval)
        likeness = (
            f"From what the frozen {_label(self.backbone)} sees, a linear model gets {told} of "
            f"{count(self.probed, 'image')} right that it did not learn from, where always saying the largest class "
            f"gets {percent(self.chance)}: its features {'' if separable else 'do not '}tell your classes apart"
            f"{' well already' if separable else ' well enough'}."
        )
        return [f"{WHAT[self.strategy]}.", size, likeness, f"{_why(few, separable)} It is a rule of thumb: try it."]


def strategy_for(images_per_class: int, accuracy: float, chance: float) -> Strategy:
    """The map; `accuracy` is the linear model's, `chance` that of always saying the largest class."""
    few, separable = images_per_class < MANY_PER_CLASS, is_separable(accuracy, chance)
    if few == separable:
        return "frozen" if few else "everything"
    return "some"


def is_separable(accuracy: float, chance: float) -> bool:
    """Whether a linear model of that accuracy shows that frozen features are good enough: see `SEPARABLE`."""
    return accuracy - chance >= SEPARABLE * (1 - chance)


def recommended_recipe(found: Recommendation) -> Recipe:
    """The shipped recipe with the backbone that was measured, and where that is not VGG16, stages and rates to suit."""
    known = known_backbone(found.backbone)
    recipe = read_recipe(found.recipe, found.dataset, [f"backbone={found.backbone}"])
    if found.strategy != "frozen" and known is not None:
        if found.strategy == "some":
            recipe.phases[-1].trainable = known.stages[round(MIDDLE_STAGE * len(known.stages))]
        if known.batch_norm:
            recipe.phases[-1].lr = "auto"  # the recipe's own are for VGG16, which has none
    return Recipe.from_dict(recipe.to_dict())


def recommendation_file(workspace: Workspace, settled: Recipe) -> Path:
    """Where the recommendation for a settled recipe's data set and backbone stands."""
    said = [settled.dataset, settled.version, settled.backbone, settled.weights, settled.image_size]
    return answer_file(workspace, "recommendations", said)


def read_recommendation(workspace: Workspace, settled: Recipe) -> Recommendation | None:
    """What was recommended before; None where nothing was measured yet."""
    return read_answer(recommendation_file(workspace, settled), Recommendation)


def _why(few: bool, separable: bool) -> str:
    if few and separable:
        return "So there is little to win by changing the body, and too few images to change it safely."
    if not few and not separable:
        return "So there is much to win by changing the body, and images enough to do it."
    if few:
        return "So the upper stages should learn what your images need; there are too few images to change all of it."
    return "So the lower stages can stay, and there are images enough to let the upper ones gain the rest."


def _label(arch: str) -> str:
    known = known_backbone(arch)
    return known.label if known else arch
