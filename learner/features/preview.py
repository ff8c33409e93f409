"""Show what a network will see: a few training images as they are, and in the views that a recipe draws of them."""

import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image as Picture

from learner.datasets import bring_images, image_path, split_by
from learner.datasets.images import read_squished
from learner.features.augment import apply, draw
from learner.jobs.process import Tell
from learner.questions.previews import IMAGES, VIEWS, preview_folder
from learner.recipe import Recipe
from learner.store import Image, Store


def make_preview(store: Store, recipe: Recipe, tell: Tell = lambda _: None) -> Path:
    """Write the pictures of a settled recipe, in its image size, to `preview_folder`; returns that.

    The views are exactly those that training draws from (the first epochs', where every epoch draws anew). Raises
    DatasetError and ImageError.
    """
    tell("Changing some photos")
    folder = preview_folder(store.workspace, recipe)
    version = store.datasets.version(recipe.dataset, recipe.version)
    train, _ = split_by(recipe, store.datasets.images(version.id))
    unfinished = folder.with_name(f".{uuid.uuid4().hex}")
    unfinished.mkdir(parents=True)
    try:
        some = _some(train)
        bring_images(store, version.name, some)
        for number, image in enumerate(some):
            original = read_squished(image_path(store.workspace, version.name, image), recipe.side)
            pictures = [original, *_views(original, image.sha256, recipe)]
            for view, picture in enumerate(pictures):
                picture.save(unfinished / f"{number}-{view}.jpg", quality=90)
        shutil.rmtree(folder, ignore_errors=True)
        unfinished.rename(folder)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    return folder


def _some(images: Sequence[Image]) -> list[Image]:
    """One image of each of the first classes, then second ones where there are few classes."""
    seen: dict[str, int] = {}
    ranked = []
    for image in images:
        seen[image.label] = seen.get(image.label, 0) + 1
        ranked.append((seen[image.label], image))
    return [image for _, image in sorted(ranked, key=lambda pair: pair[0])[:IMAGES]]


def _views(original: Picture.Image, sha256: str, recipe: Recipe) -> list[Picture.Image]:
    count = min(recipe.views or VIEWS, VIEWS)
    draws = np.stack([draw(recipe.augment, recipe.seed, sha256, view) for view in range(count)])
    pixels = torch.from_numpy(np.asarray(original).copy()).permute(2, 0, 1).float().div(255)
    changed = apply(pixels.expand(count, -1, -1, -1).contiguous(), torch.from_numpy(draws))
    as_bytes = changed.mul(255).round().byte().permute(0, 2, 3, 1).numpy()
    return [Picture.fromarray(view) for view in as_bytes]
