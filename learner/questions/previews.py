"""Pictures of what augmentation does to a recipe's images, as they are kept."""

from dataclasses import asdict
from pathlib import Path

from learner.questions.answers import answer_file
from learner.recipe import Recipe
from learner.workspace import Workspace

IMAGES = 4
VIEWS = 6
"""Of each image at most; a recipe with fewer views shows all that there are."""


def preview_folder(workspace: Workspace, recipe: Recipe) -> Path:
    """Where the pictures of a settled recipe lie once they are made.

    `0-0.jpg` is the first image as it is, `0-1.jpg` its first view.
    """
    said = [recipe.dataset, recipe.version, recipe.image_size, recipe.seed, recipe.views, asdict(recipe.augment)]
    return answer_file(workspace, "previews", said).with_suffix("")


def rows_of_pictures(folder: Path) -> list[list[Path]]:
    """The pictures by image, the image as it is first; empty while they are not made."""
    rows: dict[int, list[Path]] = {}
    for file in sorted(folder.glob("*-*.jpg"), key=lambda file: [int(part) for part in file.stem.split("-")]):
        rows.setdefault(int(file.stem.split("-")[0]), []).append(file)
    return list(rows.values())
