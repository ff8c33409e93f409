"""Multinomial logistic regression: a linear head at its optimum, its regularisation chosen by cross-validation.

Needs no torch.
"""

import os
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from scipy.special import log_softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

STRENGTHS = tuple(10.0 ** (half / 2) for half in range(1, -10, -1))
"""Weights of the penalty that are tried, the strongest first, each about a third of the one before: 3.2 to 0.00003."""
USUAL_STRENGTH = 0.1
"""Where nothing can be checked, as no fold leaves two classes to learn from."""
WORSE_IN_A_ROW = 2
"""The path ends when so many strengths in a row had a higher log loss than the best before them."""
MOST_ITERATIONS = 200
NEVER = -1e4
"""Logit of a class that there was nothing to learn of."""
SHARE_OF_MEAN = 0.1
"""Of the mean variance of all numbers, added to each one's own. A number that hardly varies in a few hundred images,
such as the maximum of a filter that hardly anything excites, would else be blown up, and one new image with a little of
it would get an absurd answer (measured: docs/benchmarks.md)."""
_LEAST_VARIANCE = 1e-12


@dataclass(frozen=True)
class Checked:
    """What cross-validation found for one strength."""

    strength: float
    log_loss: float
    """Mean over the images that were left out of the fit, like `accuracy`."""
    accuracy: float
    images: int
    log_loss_error: float
    """Standard error of `log_loss`."""


@dataclass(frozen=True)
class Solution:
    """A linear head at its optimum: logits are `features @ weight.T + bias`, features as they come."""

    weight: np.ndarray
    """(classes, numbers)."""
    bias: np.ndarray
    """(classes,)."""
    strength: float
    checked: list[Checked]
    """In the order of the path; empty where nothing could be checked."""
    logits: np.ndarray
    """(images, classes) that each image got at `strength` by a fit that had not seen it; NaN where there was none."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values of what was tried and taken."""
        return {"strength": self.strength, "checked": [vars(one) for one in self.checked]}


def solve(
    views: np.ndarray,
    targets: np.ndarray,
    classes: int,
    folds: np.ndarray,
    weights: np.ndarray | None = None,
    strengths: tuple[float, ...] = STRENGTHS,
    tell: Callable[[int, int], None] = lambda fits, total: None,
) -> Solution:
    """Fit a multinomial logistic regression to all images in all their views, standardised (`SHARE_OF_MEAN`).

    The objective is the mean cross entropy, images counted by `weights`, plus half the strength times the squared
    weights. The strength with the lowest log loss of left-out images is taken, on a path from strong to weak in which
    each fit starts from the one before. A left-out image is asked about as it is, and none of its views is learnt from.

    `views` is (images, views, numbers) of float32, the unchanged image first; `targets` (images,) of class indices, or
    (images, classes) of probabilities; `folds` (images,) from 0, and -1 for images that no fold leaves out; `weights`
    (images,); `strengths` are those to try, the strongest first. `tell` hears how many more fits of how many at most
    are done, and may raise to stop.
    """
    shares = as_shares(targets, classes)
    weights = np.ones(len(views)) if weights is None else weights * (len(views) / weights.sum())
    fits = [_Fit(views, shares, weights, folds != fold, folds == fold) for fold in range(folds.max() + 1)]
    fits = [fit for fit in fits if fit.is_possible]
    checked: list[Checked] = []
    best_logits = np.full((len(views), classes), np.nan, dtype=np.float32)
    total = len(strengths) * len(fits) + 1
    # A thread a fold: those of a matrix product wait for each other, and spin while another program has their core.
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for strength in strengths if fits else ():
            logits = np.full((len(views), classes), np.nan, dtype=np.float32)
            for fit, said in zip(fits, pool.map(partial(_Fit.ask, strength=strength, views=views), fits), strict=True):
                logits[fit.asked] = said
                tell(1, total)
            checked.append(_check(strength, logits, shares, weights))
            best = min(checked, key=lambda one: one.log_loss)
            if checked[-1] is best:
                best_logits = logits
            if len(checked) - 1 - checked.index(best) >= WORSE_IN_A_ROW:
                break
        strength = min(checked, key=lambda one: one.log_loss).strength if checked else _usual(strengths)
        everything = np.ones(len(views), dtype=bool)
        whole = _Fit(views, shares, weights, everything, ~everything)
        whole.to(strength)
        tell(1, total)
    return Solution(*whole.unstandardised(), strength, checked, best_logits)


def _usual(strengths: tuple[float, ...]) -> float:
    """The one nearest to `USUAL_STRENGTH`, in ratio."""
    return min(strengths, key=lambda strength: abs(np.log(strength / USUAL_STRENGTH)))


class _Fit:
    """One model on some of the images, which goes along the path."""

    def __init__(
        self, views: np.ndarray, shares: np.ndarray, weights: np.ndarray, learnt: np.ndarray, asked: np.ndarray
    ):
        self._shape = (shares.shape[1], views.shape[2])
        images, labels = np.nonzero(shares * (learnt & (weights > 0))[:, None])
        self._classes = np.unique(labels)
        known = shares[:, self._classes].sum(axis=1) > 0
        self.asked = np.flatnonzero(asked & known & (weights > 0))
        self.is_possible = len(self._classes) > 1 and (len(self.asked) > 0 or not asked.any())
        if not self.is_possible:
            return
        number = views.shape[1]
        features = views[images].reshape(len(images) * number, -1)
        self._labels = np.repeat(labels, number)
        self._weights = np.repeat((shares[images, labels] * weights[images]), number)
        self._weights *= len(self._weights) / self._weights.sum()
        self._mean = np.average(features, axis=0, weights=self._weights).astype(np.float32)
        centred = features - self._mean
        variance = np.average(np.square(centred), axis=0, weights=self._weights)
        self._deviation = np.sqrt(variance + SHARE_OF_MEAN * variance.mean() + _LEAST_VARIANCE).astype(np.float32)
        centred /= self._deviation
        self._features = centred
        self._model = LogisticRegression(max_iter=MOST_ITERATIONS, tol=1e-4, warm_start=True)

    def to(self, strength: float) -> None:
        """Go on to this strength from wherever it stands; one class alone needs none."""
        if len(self._classes) < 2:
            return
        # Of two classes scikit-learn fits the difference of their weights, whose square is twice that of both together.
        self._model.C = (2 if len(self._classes) == 2 else 1) / (strength * len(self._weights))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the weakest strengths need not come to their end
            self._model.fit(self._features, self._labels, sample_weight=self._weights)

    def ask(self, strength: float, views: np.ndarray) -> np.ndarray:
        """Go on to this strength, and give the logits (asked images, classes) of the unchanged left-out images."""
        self.to(strength)
        weight, bias = self.unstandardised()
        return views[self.asked, 0] @ weight.T + bias

    def unstandardised(self) -> tuple[np.ndarray, np.ndarray]:
        """Weight and bias for features as they come; a class that was not learnt is as unlikely as can be."""
        weight = np.zeros(self._shape, dtype=np.float32)
        bias = np.full(self._shape[0], NEVER, dtype=np.float32)
        if len(self._classes) < 2:
            bias[self._classes] = 0
            return weight, bias
        coefficients, intercepts = self._model.coef_, self._model.intercept_
        if len(self._classes) == 2:  # scikit-learn keeps one row, the difference of the two
            coefficients = np.concatenate([-coefficients, coefficients]) / 2
            intercepts = np.concatenate([-intercepts, intercepts]) / 2
        weight[self._classes] = coefficients / self._deviation
        bias[self._classes] = intercepts - weight[self._classes] @ self._mean
        return weight, bias


def as_shares(targets: np.ndarray, classes: int) -> np.ndarray:
    """(images, classes) of probabilities, of class indices or of such already."""
    if targets.ndim == 2:
        return targets
    return np.eye(classes, dtype=np.float32)[targets]


def _check(strength: float, logits: np.ndarray, shares: np.ndarray, weights: np.ndarray) -> Checked:
    asked = ~np.isnan(logits[:, 0])
    logits, shares, weights = logits[asked], shares[asked], weights[asked]
    losses = -(shares * log_softmax(logits.astype(np.float64), axis=1)).sum(axis=1)
    mean = float(np.average(losses, weights=weights))
    right = shares[np.arange(len(shares)), logits.argmax(axis=1)]
    error = float(np.sqrt(np.average((losses - mean) ** 2, weights=weights) / max(len(losses) - 1, 1)))
    return Checked(strength, mean, float(np.average(right, weights=weights)), len(losses), error)
