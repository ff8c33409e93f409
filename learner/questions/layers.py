"""The layers of a network as a table: where it is kept, and the process that makes it. Needs no torch."""

import hashlib
import json
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import Any

from learner.planning.estimate import start_beside
from learner.recipe import Recipe
from learner.store import Store
from learner.workspace import Workspace


def layers_file(workspace: Workspace, recipe: Recipe, classes: int) -> Path:
    """Where the layers of a settled recipe's network stand once they were listed."""
    said = [recipe.backbone, recipe.image_size, asdict(recipe.head), classes]
    digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
    return workspace.root / "cache" / "layers" / f"{digest[:32]}.json"


def read_layers(workspace: Workspace, recipe: Recipe, classes: int) -> list[dict[str, Any]] | None:
    """As `learner.models.layers.layers_of` gives them; None until they were listed."""
    try:
        return json.loads(layers_file(workspace, recipe, classes).read_text("utf-8"))
    except (OSError, ValueError):
        return None


def start_layers(store: Store, recipe: Recipe) -> subprocess.Popen:
    """List the layers of a settled recipe in another process: about 5 s, most of it to load torch.

    It ends with exit code 2, and the reason in the last line of its `stderr`, where a person can put something right.
    """
    return start_beside("learner.models.layers", store, recipe)


def learning_parameters(layers: list[dict[str, Any]], stages: list[str], first: int) -> tuple[int, int]:
    """Parameters that learn when group `first` (stages, then head) is the lowest that does, and all there are."""
    learning = {*stages[first:], "head"}
    return sum(layer["parameters"] for layer in layers if layer["stage"] in learning), sum(
        layer["parameters"] for layer in layers
    )
