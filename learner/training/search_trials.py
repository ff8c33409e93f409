"""What a search tries: a head on what a frozen body gives, and what thawing some of the body brings."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from fastai.callback.core import Callback, CancelFitException
from fastai.torch_core import set_seed
from scipy.special import log_softmax

from learner.datasets import assign_folds
from learner.features.arrays import DiskError
from learner.features.cache import Item, all_views
from learner.features.loaders import LabelledFile
from learner.features.targets import shares_of
from learner.models.logistic import Solution, solve
from learner.recipe import Phase, Recipe
from learner.store import Image, Store
from learner.training.averaging import Interpolate
from learner.training.callbacks import FrozenStagesEval, Gradients, StopWhenNotFinite
from learner.training.phases import build_learner, fit_phase, prepare_phase
from learner.training.prepare import Data, Images, augment_for, build_network, make_data
from learner.training.solve import last_layer
from learner.training.symmetry import Decided

FOLDS = 5
Tell = Callable[[str], None]
"""Hears what is done, and may raise to stop."""


@dataclass(frozen=True)
class Checked:
    """How a head did on images that it was not fitted on."""

    losses: np.ndarray
    """(images,) of log loss."""
    hits: np.ndarray
    """(images,) of 1 where it was right, else 0."""
    strength: float
    """Of its regularisation."""


class OutOfTime(Exception):
    """A trial would take longer than it may."""


class Bench:
    """The network of a recipe and the images of its training side. Nothing here looks at validation images."""

    def __init__(self, store: Store, recipe: Recipe, images: Images, classes: list[str], tell: Tell):
        """Raises WeightsError, BackboneError, RecipeError and ImageError."""
        self._store, self._images, self._classes, self._tell = store, images, classes, tell
        files = [file.path for file in images.train_files]
        self.built = build_network(store, recipe, files, len(images.valid), classes, recipe.weights)
        self.recipe = self.built.recipe
        self._weights = {name: tensor.clone() for name, tensor in self.built.network.state_dict().items()}

    def decide_augment(self) -> Decided:
        """What `augment: auto` comes to."""
        self._tell("trying whether mirror images are like the others")
        return augment_for(self._store.workspace, self.built, self._images)

    def check_head(self, recipe: Recipe, images: list[Image]) -> Checked:
        """Solve a head by cross-validation on `images`, as `recipe` changes them, the network frozen."""
        data = self._data(recipe, images, images)
        views = recipe.views if recipe.augment.changes_anything else 0
        self._keep(data, [len(self.built.backbone.stages)], bool(views))
        features = self._pooled(data, recipe, views)
        shares = self._shares(images)
        folds = np.array(assign_folds(images, recipe.seed, FOLDS, recipe.grouped))
        found = solve(features, shares, len(self._classes), folds, tell=lambda *_: self._tell("solving the head"))
        asked = ~np.isnan(found.logits[:, 0])
        said = log_softmax(found.logits[asked].astype(np.float64), axis=1)
        labels = np.array([self._classes.index(image.label) for image in images])
        right = said.argmax(axis=1) == labels[asked]
        return Checked(-(shares[asked] * said).sum(axis=1), right.astype(float), found.strength)

    def thaw(self, recipe: Recipe, phase: Phase, strength: float, until: float) -> dict[str, Any]:
        """Solve the head on four fifths of the training images, then train `phase`, and check on the others.

        Returns what `Interpolate` found: the best point between start and end, and what it gains. Raises OutOfTime when
        it is not done at `until` (of `time.monotonic`).
        """
        images, network, stages = self._images.train, self.built.network, self.built.backbone.stages
        folds = assign_folds(images, recipe.seed, FOLDS, recipe.grouped)
        learnt = [image for image, fold in zip(images, folds, strict=True) if fold]
        checked = [image for image, fold in zip(images, folds, strict=True) if not fold]
        data = self._data(recipe, learnt, checked)
        views = recipe.views if recipe.augment.changes_anything else 0
        cut = phase.first_trainable_group(stages)
        cached = self._keep(data, sorted({cut, len(stages)} - {0}), bool(views))
        found: dict[str, Any] = {}
        try:
            self._put(self._solved(self._pooled(data, recipe, views), self._shares(learnt), strength))
            data.feed.start_at(cut if cached else 0, [data.dls.train, data.dls.valid])
            start = {name: tensor.clone() for name, tensor in network.state_dict().items()}
            learn = build_learner(network, data.dls)
            prepare_phase(learn, phase, stages)
            learn.weight_average.begin_phase(phase.average)
            finite = StopWhenNotFinite()
            learn.add_cbs([FrozenStagesEval(), finite, Gradients(recipe.clip_norm), _Clock(self._tell, until)])
            set_seed(recipe.seed, reproducible=True)
            fit_phase(learn, recipe, phase, stages, 0, [Interpolate(start, found.update)])
        finally:
            network.load_state_dict(self._weights)
            network.skip = 0
        if not found and not finite.has_failed:
            raise OutOfTime
        return found or {"point": 0.0, "gain": -math.inf, "images": len(checked), "failed": True}

    def _data(self, recipe: Recipe, train: list[Image], valid: list[Image]) -> Data:
        built = self.built.with_augment(recipe.augment)
        images = replace(self._images, train=train, valid=valid, samples=[])
        recipe = replace(recipe, precision=built.recipe.precision)
        return make_data(self._store.workspace, recipe, built.backbone, built.network, built.spec, images, recipe.side)

    def _keep(self, data: Data, cuts: list[int], changed: bool) -> bool:
        """Put what the frozen stages give into the cache, as the run will want it; False where the disk has no room."""
        train, valid = (loader.pixels.files for loader in (data.dls.train, data.dls.valid))
        files: list[LabelledFile] = list(dict.fromkeys([*train, *valid]))
        total, done = data.cache.missing_pixels(files), 0

        def read(pictures: int) -> None:
            nonlocal done
            done += pictures
            self._tell(f"reading the images: {done:,} of {total:,}")

        for loader in (data.dls.train, data.dls.valid):
            loader.pixels = data.cache.pixels(loader.pixels.files, read)
        items = [*map(Item, files), *(all_views(train, data.dls.train.views) if changed else [])]
        total, done = data.cache.missing(cuts, items), 0

        def compute(pictures: int) -> None:
            nonlocal done
            done += pictures
            self._tell(f"running images through the frozen stages: {done:,} of {total:,}")

        try:
            return data.cache.compute(cuts, items, compute)
        except DiskError:
            return False

    def _pooled(self, data: Data, recipe: Recipe, views: int) -> np.ndarray:
        """(images, 1 + views, numbers) that a head of the recipe's kind sees: maxima and means, or means alone."""
        pooled = data.feed.pooled(self.built.network, views, lambda _: self._tell("reading what the frozen body gives"))
        return pooled if recipe.head.kind == "solved" else pooled[:, :, pooled.shape[2] // 2 :]

    def _solved(self, features: np.ndarray, shares: np.ndarray, strength: float) -> Solution:
        nobody = np.full(len(shares), -1)
        return solve(features, shares, len(self._classes), nobody, strengths=(strength,))

    @torch.no_grad()
    def _put(self, solution: Solution) -> None:
        """Put a solution into the network's head, which pools both ways; what it does not see counts nothing."""
        layer = last_layer(self.built.network)
        layer.weight.zero_()
        layer.weight[:, -solution.weight.shape[1] :].copy_(torch.from_numpy(solution.weight))
        layer.bias.copy_(torch.from_numpy(solution.bias))

    def _shares(self, images: list[Image]) -> np.ndarray:
        """(images, classes) that are 1 for an image's class, or its probabilities."""
        shares = shares_of(images, self._classes)
        if shares is None:
            shares = np.array([[name == image.label for name in self._classes] for image in images])
        return shares.astype(np.float32)


class _Clock(Callback):
    """Ends the fit when its time is over, and lets a person's wish to stop through."""

    order = 80
    run_valid = False

    def __init__(self, tell: Tell, until: float):
        self._tell, self._until = tell, until

    def before_epoch(self) -> None:
        self.dls.train.epoch, self.dls.train.first_batch = self.epoch, 0

    def after_batch(self) -> None:
        self._tell(f"training, epoch {self.epoch + 1} of {self.n_epoch}")
        if time.monotonic() > self._until:
            raise CancelFitException
