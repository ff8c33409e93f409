"""The layers of a network as a table, as they are kept."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from learner.atomic import read_json
from learner.questions.answers import answer_file
from learner.recipe import Recipe
from learner.workspace import Workspace


def layers_file(workspace: Workspace, recipe: Recipe, classes: int) -> Path:
    """Where the layers of a settled recipe's network stand once they were listed."""
    said = [recipe.backbone, recipe.image_size, asdict(recipe.head), classes]
    return answer_file(workspace, "layers", said)


def read_layers(workspace: Workspace, recipe: Recipe, classes: int) -> list[dict[str, Any]] | None:
    """As `learner.models.layers.layers_of` gives them; None until they were listed."""
    try:
        layers: list[dict[str, Any]] | None = read_json(layers_file(workspace, recipe, classes))
    except (OSError, ValueError):
        return None
    return layers


def learning_parameters(layers: list[dict[str, Any]], stages: list[str], first: int) -> tuple[int, int]:
    """Parameters that learn when group `first` (stages, then head) is the lowest that does, and all there are."""
    learning = {*stages[first:], "head"}
    return sum(layer["parameters"] for layer in layers if layer["stage"] in learning), sum(
        layer["parameters"] for layer in layers
    )
