"""What a recipe will cost on this machine, before it runs. Needs no torch: measuring is another process's work."""

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from learner.datasets import bring_images, image_path, split_by, summarize
from learner.datasets.images import read_squished
from learner.features.arrays import Budget
from learner.models.weights import choose_backbone
from learner.planning.cost import RunPlan, Workload, choose_speed, plan_run
from learner.planning.speeds import load_speeds
from learner.recipe import Recipe, choose_image_size
from learner.store import Store
from learner.workspace import Workspace

FILES_TIMED = 6
T = TypeVar("T")


def resolve_recipe(store: Store, recipe: Recipe) -> Recipe:
    """The recipe with what it leaves open decided as a run would: version, backbone, image size and epochs.

    Raises DatasetError, WeightsError where no backbone can be had, and what `Store.weights_of` raises.
    """
    version = store.datasets.version(recipe.dataset, recipe.version)
    summary = summarize(store, version)
    recipe = replace(recipe, **store.weights_of(recipe))
    arch = recipe.backbone
    if arch == "auto":
        arch, _ = choose_backbone("auto", recipe.weights, store.workspace)
    typical_side = max(summary.median_width, summary.median_height)
    size = choose_image_size(recipe.image_size, typical_side)
    train, _ = split_by(recipe, store.datasets.images(version.id))
    return replace(recipe, version=version.number, backbone=arch, image_size=size).with_epochs(len(train))


def workload_of(store: Store, recipe: Recipe) -> Workload:
    """How much a settled recipe has to do if nothing of it is in the cache. Raises ImageError."""
    version = store.datasets.version(recipe.dataset, recipe.version)
    train, valid = split_by(recipe, store.datasets.images(version.id))
    bring_images(store, version.name, _timed(train))
    paths = [image_path(store.workspace, version.name, image) for image in train]
    classes = len({image.label for image in train})
    return workload_for(store.workspace, paths, len(valid), classes, recipe.side)


def workload_for(workspace: Workspace, train: list[Path], valid: int, classes: int, image_size: int) -> Workload:
    """How much there is to do with these images and so many for validation. Raises ImageError."""
    return Workload(
        train=len(train),
        valid=valid,
        classes=classes,
        decode_s=decode_s(train, image_size),
        undecoded=len(train) + valid,
        room=Budget(workspace.features).room(),
    )


def expected_plan(store: Store, recipe: Recipe, amounts: Workload | None = None) -> RunPlan | None:
    """What a settled recipe would cost if nothing of it were in the cache; None until this machine was measured for it.

    `amounts` spares finding them out again. Raises RecipeError when a phase names a stage that the backbone lacks.
    """
    speeds = load_speeds(store.workspace, recipe)
    if not speeds:
        return None
    recipe.check(speeds[0].stages)
    amounts = amounts or workload_of(store, recipe)
    return plan_run(recipe, choose_speed(recipe, speeds, amounts), amounts)


def _timed(files: Sequence[T]) -> Sequence[T]:
    """Those whose decoding is timed."""
    return files[:: max(1, len(files) // FILES_TIMED)][:FILES_TIMED]


def decode_s(files: list[Path], image_size: int) -> float:
    """Seconds to read one of these images when all cores decode, from a few of them. Raises ImageError."""
    chosen = _timed(files)
    read_squished(chosen[0], image_size)  # the first also loads the decoder
    began = time.perf_counter()
    for file in chosen:
        read_squished(file, image_size)
    return (time.perf_counter() - began) / len(chosen) / (os.cpu_count() or 1)
