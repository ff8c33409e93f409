"""How good probabilities are, and whether one competitor's are better than another's: one way for all of them.

Probabilities are (images, classes), `truth` (images,) of class indices.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

LEAST = 1e-7
"""Probabilities below it count as it, so that one 0 does not make a log loss infinite: about float32's last digit."""
BINS = 15
RESAMPLES = 2000


@dataclass(frozen=True)
class Scores:
    """Of one competitor on the held-back images of one split."""

    accuracy: float
    log_loss: float
    calibration_error: float


def scores(probs: np.ndarray, truth: np.ndarray) -> Scores:
    return Scores(float(hits(probs, truth).mean()), float(losses(probs, truth).mean()), calibration_error(probs, truth))


def hits(probs: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """1.0 for each image whose likeliest class is the right one, else 0.0."""
    return (probs.argmax(axis=1) == truth).astype(float)


def losses(probs: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The log loss of each image, in nats; rows are brought to a sum of 1 first."""
    clipped = np.clip(probs, LEAST, 1.0)
    return -np.log(clipped[np.arange(len(truth)), truth] / clipped.sum(axis=1))


def calibration_error(probs: np.ndarray, truth: np.ndarray) -> float:
    """Expected calibration error: how far the highest probability is from how often it is right.

    The mean distance in `BINS` bins of equal width, weighted by images. Source: Guo et al. 2017, arXiv:1706.04599.
    """
    sure, right = probs.max(axis=1), hits(probs, truth)
    place = np.minimum((sure * BINS).astype(int), BINS - 1)
    gaps = np.bincount(place, sure - right, minlength=BINS)  # a bin's distance times its images
    return float(np.abs(gaps).sum() / len(truth))


def mean_ranks(values: Sequence[Sequence[float]]) -> list[float]:
    """The mean rank of each column over rows, 1 for the lowest value; equals share the mean of their ranks."""
    return rankdata(np.asarray(values), axis=1).mean(axis=0).tolist()


@dataclass(frozen=True)
class Difference:
    """A mean of paired differences, with what it could be: means of resamples."""

    mean: float
    resampled: np.ndarray

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        low, high = np.quantile(self.resampled, [(1 - confidence) / 2, (1 + confidence) / 2])
        return float(low), float(high)


def paired_difference(differences: np.ndarray, groups: Sequence[str], seed: int = 0) -> Difference:
    """The mean difference, and its bootstrap by groups.

    `differences` are of two competitors on the same images, pooled over splits. An image is held back in several
    splits, and images of one group are alike, so it is groups that are drawn again, each with all its differences.
    """
    _, place = np.unique(np.asarray(groups), return_inverse=True)
    sums, counts = np.bincount(place, differences), np.bincount(place)
    chance = np.random.default_rng(seed)
    drawn = chance.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=RESAMPLES)
    return Difference(float(differences.mean()), (drawn @ sums) / (drawn @ counts))


def over_all(differences: Sequence[Difference]) -> Difference:
    """The mean over sets, each of which counts the same; their resamples are independent of each other."""
    resampled = np.mean([one.resampled for one in differences], axis=0)
    return Difference(float(np.mean([one.mean for one in differences])), resampled)
