"""What a search tries: a head on what a frozen body gives, and what thawing some of the body brings."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from fastai.callback.core import Callback, CancelFitException
from fastai.torch_core import set_seed
from scipy.special import log_softmax

from learner.datasets import assign_folds
from learner.features.arrays import DiskError
from learner.features.cache import Tick
from learner.features.targets import shares_of
from learner.models.logistic import Solution, as_shares
from learner.recipe import Phase, Recipe
from learner.store import Image, Store
from learner.training.averaging import Interpolate
from learner.training.callbacks import FrozenStagesEval, Gradients, StopWhenNotFinite
from learner.training.phases import build_learner, fit_phase, prepare_phase
from learner.training.prepare import Data, Images, augment_for, build_network, make_data
from learner.training.solve import FOLDS, HeadProblem, put_solution
from learner.training.symmetry import Decided

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
        self._keep(data, [len(self.built.backbone.stages)])
        found = self._solved(HeadProblem(recipe, images, self._classes, data.feed))
        asked = ~np.isnan(found.logits[:, 0])
        said = log_softmax(found.logits[asked].astype(np.float64), axis=1)
        labels = np.array([self._classes.index(image.label) for image in images])
        shares = shares_of(images, self._classes)
        shares = as_shares(labels if shares is None else shares, len(self._classes))
        right = said.argmax(axis=1) == labels[asked]
        return Checked(-(shares[asked] * said).sum(axis=1), right.astype(float), found.strength)

    def thaw(self, recipe: Recipe, phase: Phase, strength: float, until: float) -> dict[str, Any] | None:
        """Solve the head on four fifths of the training images, then train `phase`, and check on the others.

        Returns what `Interpolate` found: the best point between start and end, and what it gains; None where the loss
        stopped being a number. Raises OutOfTime when it is not done at `until` (of `time.monotonic`).
        """
        images, network, stages = self._images.train, self.built.network, self.built.backbone.stages
        folds = assign_folds(images, recipe.seed, FOLDS, recipe.grouped)
        learnt = [image for image, fold in zip(images, folds, strict=True) if fold]
        checked = [image for image, fold in zip(images, folds, strict=True) if not fold]
        data = self._data(recipe, learnt, checked)
        cut = phase.first_trainable_group(stages)
        cached = self._keep(data, sorted({cut, len(stages)} - {0}))
        found: dict[str, Any] = {}
        try:
            put_solution(network, self._solved(HeadProblem(recipe, learnt, self._classes, data.feed, strength)))
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
        return found or None

    def _data(self, recipe: Recipe, train: list[Image], valid: list[Image]) -> Data:
        built = self.built.with_augment(recipe.augment)
        images = replace(self._images, train=train, valid=valid, samples=[])
        recipe = replace(recipe, precision=built.recipe.precision)
        return make_data(self._store.workspace, recipe, built.backbone, built.network, built.spec, images, recipe.side)

    def _keep(self, data: Data, cuts: list[int]) -> bool:
        """Put what the frozen stages give into the cache, as the run will want it; False where the disk has no room."""
        data.feed.read(self._ticks("reading the images"))
        try:
            return data.feed.keep(cuts, self._ticks("running images through the frozen stages"), unchanged=True)
        except DiskError:
            return False

    def _solved(self, problem: HeadProblem) -> Solution:
        features = problem.features(self.built.network, self._ticks("reading what the frozen body gives"))
        return problem.fit(features, lambda *_: self._tell("solving the head"))

    def _ticks(self, what: str) -> Tick:
        done = 0

        def tick(pictures: int) -> None:
            nonlocal done
            done += pictures
            self._tell(f"{what}, {done:,} so far")

        return tick


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
