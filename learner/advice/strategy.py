"""Measure how well a frozen body already tells a data set's classes apart, and recommend a strategy."""

import time
from collections import Counter, defaultdict
from statistics import median

import numpy as np
import torch
from scipy.stats import binomtest

from learner.datasets import assign_folds, bring_files
from learner.datasets.exclusions import ImageRow
from learner.datasets.rows import rows_of
from learner.errors import DatasetError
from learner.features.arrays import DiskError
from learner.features.cache import Item
from learner.features.loaders import LabelledFile
from learner.jobs.device import exclusive_device
from learner.jobs.process import Tell
from learner.models.logistic import solve
from learner.planning.estimate import resolve_recipe
from learner.questions.answers import keep_answer
from learner.questions.strategy import (
    RECIPE_OF,
    Recommendation,
    read_recommendation,
    recommendation_file,
    strategy_for,
)
from learner.recipe import Recipe
from learner.store import Image, Store
from learner.training.trial import Trial, set_up

MOST_IMAGES = 1000
"""Enough for an interval of two per cent either way; more would take minutes."""
FOLDS = 5
FEWEST = 5
"""Images that a class needs to be tried: one a fold."""
ROWS_AT_ONCE = 64


def recommend(store: Store, recipe: Recipe, tell: Tell = lambda _: None) -> Recommendation:
    """Measure a recipe's data set with its backbone and weights; what was measured before is returned at once.

    Raises DatasetError when two classes of `FEWEST` images are not there or the disk has no room for features, and
    what `learner.training.trial.set_up` raises.
    """
    began = time.monotonic()
    settled = resolve_recipe(store, recipe)
    found = read_recommendation(store.workspace, settled)
    if found is not None:
        return found
    tell("Reading the data set and the weights")
    version = store.datasets.version(settled.dataset, settled.version)
    usable = [row for row in rows_of(store, version) if not row.excluded and row.split != "test"]
    rows = sample(usable)
    with exclusive_device(store.workspace):
        trial = set_up(store, settled)
        features = frozen_features(store, trial, rows, tell)
    tell("Learning a linear model, in five folds")
    right, chance = probe(rows, features)
    accuracy = float(right.mean())
    interval = binomtest(int(right.sum()), len(right)).proportion_ci(0.95, method="wilson")
    per_class = Counter(row.label for row in usable)
    images = int(median(per_class.values()))
    strategy = strategy_for(images, accuracy, chance)
    found = Recommendation(
        dataset=settled.dataset,
        version=version.number,
        backbone=settled.backbone,
        images_per_class=images,
        fewest=min(per_class.values()),
        probed=len(right),
        accuracy=accuracy,
        interval=[float(interval.low), float(interval.high)],
        chance=chance,
        strategy=strategy,
        recipe=RECIPE_OF[strategy],
        seconds=time.monotonic() - began,
    )
    keep_answer(recommendation_file(store.workspace, settled), found)
    return found


def sample(rows: list[ImageRow]) -> list[ImageRow]:
    """At most `MOST_IMAGES`, of every class its share, of classes that can be tried; always the same ones.

    Raises DatasetError when there are fewer than two of these.
    """
    by_class: dict[str, list[ImageRow]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: row.sha256):
        by_class[row.label].append(row)
    by_class = {label: rows for label, rows in by_class.items() if len(rows) >= FEWEST}
    if len(by_class) < 2:
        raise DatasetError(
            f"To recommend a strategy, two classes with at least {FEWEST} images each are needed; there "
            f"{'is 1' if by_class else 'are none'}. Add images first."
        )
    share = min(1.0, MOST_IMAGES / sum(len(rows) for rows in by_class.values()))
    return [row for rows in by_class.values() for row in rows[: max(FEWEST, round(share * len(rows)))]]


def probe(rows: list[ImageRow], features: np.ndarray) -> tuple[np.ndarray, float]:
    """Whether a linear model tells each image right that saw neither it nor what belongs to it; and the chance level.

    The chance level is the accuracy of always saying the largest class. `features` is (rows, numbers). What belongs
    together is in one fold, as in the splits. An image whose fold could not be tried, since it held nearly everything,
    is left out. How strongly the model is regularised is chosen by what it says of these images, which flatters little.
    """
    classes, targets = np.unique([row.label for row in rows], return_inverse=True)
    folds = np.array(assign_folds(rows, 0, FOLDS))
    logits = solve(features[:, None].astype(np.float32), targets, len(classes), folds).logits
    asked = ~np.isnan(logits[:, 0])
    if not asked.any():
        raise DatasetError("All images belong together, so nothing can be checked. Look at the groups of the data set.")
    chance = np.bincount(targets[asked]).max() / asked.sum()
    return logits[asked].argmax(axis=1) == targets[asked], float(chance)


def frozen_features(store: Store, trial: Trial, rows: list[Image] | list[ImageRow], tell: Tell) -> np.ndarray:
    """(rows, channels): the body's last feature map, averaged over its area; the maps are kept as a run keeps them."""
    base = bring_files(store, trial.recipe.dataset, (row.file for row in rows), tell)
    items = [Item(LabelledFile(base / row.file, row.label, row.sha256)) for row in rows]
    cache = trial.cache(store, trial.recipe.side)
    cut = len(trial.backbone.stages)
    total, done = cache.missing([cut], items), 0

    def tick(images: int) -> None:
        nonlocal done
        done += images
        tell(f"Running images through the frozen network: {done:,} of {total:,}")

    try:
        fits = cache.compute([cut], items, tick)
    except DiskError as error:
        raise DatasetError(f"The disk is full, so nothing can be measured: {error}. Free some space.") from error
    if not fits:
        raise DatasetError("There is no disk space to measure with. Free some, or raise THAW_CACHE_GB.")
    kept = cache.features(cut, items)
    dtype = trial.network.precision.dtype
    means = [
        torch.from_numpy(kept[np.arange(start, min(start + ROWS_AT_ONCE, len(rows)))]).view(dtype).float().mean((1, 2))
        for start in range(0, len(rows), ROWS_AT_ONCE)
    ]
    return torch.cat(means).numpy()
