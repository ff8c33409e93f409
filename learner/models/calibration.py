"""Probabilities that mean what they say, and how far an image lies from those that were learnt from. Needs no torch."""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp, softmax

NEIGHBOURS = 5
"""The distance to the fifth nearest training image: one odd training image alone does not make an image known."""
QUANTILES = np.linspace(0, 1, 101)
ROWS_AT_ONCE = 1000
HOTTEST, COLDEST = 20.0, 0.05
"""Bounds of the temperature; at the upper one hardly anything is left of what the model says."""


def fit_temperature(logits: np.ndarray, targets: np.ndarray) -> float:
    """The number that logits are divided by so that the log loss of the images is least.

    `logits` is (images, classes), `targets` (images,) of class indices. A model that is right everywhere would like to
    be infinitely sure of itself; images that are all right leave the probabilities as they are: 1.
    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", arXiv:1706.04599.
    """
    logits = logits.astype(np.float64)
    if (logits.argmax(axis=1) == targets).all():
        return 1.0

    def loss(log_temperature: float) -> float:
        return _log_loss(logits / np.exp(log_temperature), targets)

    found = minimize_scalar(loss, bounds=(np.log(COLDEST), np.log(HOTTEST)), method="bounded")
    return float(np.exp(found.x))


def calibrated(logits: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities, (images, classes) like `logits`."""
    return softmax(logits.astype(np.float64) / temperature, axis=1)


def unit_length(features: np.ndarray) -> np.ndarray:
    """`features` (images, numbers), every image's divided by its length."""
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.maximum(lengths, 1e-12)


def distances(features: np.ndarray, reference: np.ndarray, neighbours: int) -> np.ndarray:
    """How far each image lies from the reference: (images,), 0 for a copy, at most 2.

    It is one minus the cosine similarity to the so-manieth nearest. Both arrays are (images, numbers) of length 1.
    Source: Sun et al. 2022, "Out-of-Distribution Detection with Deep Nearest Neighbors", arXiv:2204.06507.
    """
    far = np.empty(len(features), dtype=np.float32)
    for start in range(0, len(features), ROWS_AT_ONCE):
        similarity = features[start : start + ROWS_AT_ONCE] @ reference.T
        far[start : start + ROWS_AT_ONCE] = 1 - np.partition(similarity, -neighbours, axis=1)[:, -neighbours]
    return far


def neighbours_for(images: int) -> int:
    """Which nearest one counts, of so many reference images."""
    return min(NEIGHBOURS, images)


def quantiles(values: np.ndarray) -> list[float]:
    """The 101 values below which 0, 1, … 100 % of them lie."""
    return [float(value) for value in np.quantile(values, QUANTILES)]


def _log_loss(logits: np.ndarray, targets: np.ndarray) -> float:
    return float(np.mean(logsumexp(logits, axis=1) - logits[np.arange(len(targets)), targets]))
