"""Solve a phase's head: fit it to its optimum on what the frozen body gives, as one epoch of a fastai fit."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from fastai.callback.core import Callback, CancelTrainException
from torch import nn

from learner.datasets import assign_folds
from learner.features.cache import Tick
from learner.features.targets import shares_of
from learner.models.logistic import STRENGTHS, Solution, solve
from learner.models.network import Network, head_of
from learner.recipe import Recipe
from learner.store import Image
from learner.training.feed import Feed
from learner.training.progress import ProgressReporter

FOLDS = 5
MOST_FITS = 15_000
"""Rows that all folds together are fitted on at most: where one fold has thousands of images to be checked on, the
others would say the same."""
MOST_ROWS = 40_000
"""Images times views that the head is fitted on at most; more views than fit into that are left out."""
USUAL_VIEWS = 4
"""Of an image whose views have no end (`views: 0`)."""


@dataclass(frozen=True)
class HeadProblem:
    """What a head is solved on."""

    recipe: Recipe
    images: list[Image]
    classes: list[str]
    feed: Feed
    strength: float | None = None
    """Of regularisation, where it is decided already."""

    def solve(self, network: Network, progression: ProgressReporter, phase: int, expected_s: float) -> Solution:
        """The optimum for the network's body as it is now, which should take `expected_s`.

        Raises StopAsked when asked to stop.
        """
        pictures = len(self.images) * (1 + self._views())

        def read(images: int) -> None:
            progression.prepare("Solving the head: reading what the frozen body gives", images, pictures, 0.0, phase)

        def fit(fits: int, total: int) -> None:
            progression.prepare("Solving the head: trying strengths of regularisation", fits, total, expected_s, phase)

        return self.fit(self.features(network, read), fit)

    def features(self, network: Network, tick: Tick) -> np.ndarray:
        """What enters the last layer, (images, 1 + views, numbers); `tick` hears how many more pictures are done."""
        return self.feed.pooled(network, self._views(), tick)

    def fit(self, features: np.ndarray, tell: Callable[[int, int], None]) -> Solution:
        """The optimum for these `features`; `tell` as in `learner.models.logistic.solve`."""
        targets = np.array([self.classes.index(image.label) for image in self.images])
        folds = np.array(assign_folds(self.images, self.recipe.seed, FOLDS, self.recipe.grouped))
        folds[folds >= max(1, min(FOLDS, MOST_FITS // len(folds)))] = -1
        shares = shares_of(self.images, self.classes)
        goals = targets if shares is None else shares.astype(np.float32)
        strengths = STRENGTHS
        if self.strength is not None:
            strengths, folds = (self.strength,), np.full_like(folds, -1)
        return solve(features, goals, len(self.classes), folds, self._weights(targets), strengths, tell)

    def _views(self) -> int:
        recipe = self.recipe
        views = (recipe.views or USUAL_VIEWS) if recipe.augment.changes_anything else 0
        return min(views, max(0, MOST_ROWS // len(self.images) - 1))

    def _weights(self, targets: np.ndarray) -> np.ndarray:
        """How much each image counts: by its own weight, and by its class where classes are to count the same."""
        weights = np.array([1.0 if image.weight is None else image.weight for image in self.images])
        if self.recipe.balance != "none":
            weights /= np.bincount(targets, minlength=len(self.classes))[targets]
        return weights


class SolveHead(Callback):
    """Puts the solution into the head in place of an epoch's steps; fastai validates it after that as always."""

    order = 75  # after all others have begun the epoch
    run_valid = False

    def __init__(self, find: Callable[[Network], Solution], keep: Callable[[dict[str, Any]], None]):
        """`keep` hears what was tried and taken."""
        self._find, self._keep = find, keep

    def before_train(self) -> None:
        solution = self._find(self.learn.model)
        put_solution(self.learn.model, solution)
        self._keep(solution.to_dict())
        raise CancelTrainException


@torch.no_grad()
def put_solution(model: nn.Sequential, solution: Solution) -> None:
    """Make a solution the model's last layer."""
    layer = head_of(model)[-1]
    assert isinstance(layer, nn.Linear)  # recipes solve only such heads
    layer.weight.copy_(torch.from_numpy(solution.weight))
    layer.bias.copy_(torch.from_numpy(solution.bias))
