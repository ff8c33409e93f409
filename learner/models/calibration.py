"""Probabilities that mean what they say, and how far an image lies from those that were learnt from. Needs no torch."""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import softmax

NEIGHBOURS = 5
"""The distance to the fifth nearest training image: one odd training image alone does not make an image known."""
QUANTILES = np.linspace(0, 1, 101)
ROWS_AT_ONCE = 1000
HOTTEST, COLDEST = 20.0, 0.05
"""Bounds of the temperature; at the upper one hardly anything is left of what the model says."""
LOG_SPREAD = float(np.log(2)) / 2
"""Standard deviation of the logarithm of temperatures before any image is seen (normal, around 0): of twenty networks
nineteen are taken to be too sure or too little sure by less than a factor of two. It weighs 1 / LOG_SPREAD² = 8. An
image weighs what its logits vary by the model's own probabilities, near temperature 1 some 0.3 with few classes and 2
with a hundred, so the prior is worth 4 to 30 images: it leads where images are few, and hundreds leave little of it."""
FOLDS = 5


def fit_temperature(logits: np.ndarray, targets: np.ndarray, folds: int = FOLDS) -> float:
    """The number to divide logits by so that the log loss of new images is lower; 1 unless images show that it is.

    `logits` is (images, classes), `targets` (images,) of class indices or (images, classes) of probabilities, against
    which the log loss is then. The temperature is the most probable one, given
    the images and that it lies around 1 (`LOG_SPREAD`). It is fitted on each `folds - 1` folds and held against 1 on
    the images of the fold left out. Unless their log loss is lower by more than its own standard error, the answer is
    1: else the chance in a few images would often prove a model wrong that means what it says. Images that are all
    right would like an infinitely sure model; they leave the probabilities as they are.
    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", arXiv:1706.04599, which has neither the prior
    nor the folds.
    """
    logits = logits.astype(np.float64)
    if _all_right(logits, targets):
        return 1.0
    fold_of = _folds(targets, folds)
    gains = np.empty(len(targets))
    for fold in np.unique(fold_of):
        out = fold_of == fold
        temperature = _most_probable(logits[~out], targets[~out])
        gains[out] = _log_losses(logits[out], targets[out], 1.0) - _log_losses(logits[out], targets[out], temperature)
    if not gains.mean() > gains.std() / np.sqrt(len(gains)):
        return 1.0
    return _most_probable(logits, targets)


def cross_fitted(logits: np.ndarray, targets: np.ndarray, folds: int = FOLDS) -> np.ndarray:
    """Probabilities, (images, classes), each image's by the temperature that images of the other folds gave.

    On the images that it was fitted on a temperature looks better than it is. These probabilities have the log loss
    and the calibration error that images bring which had no say, slightly too high rather than too low, as each
    temperature knew fewer images than the one of all (`fit_temperature`, which this calls as it is, folds and all).
    """
    fold_of = _folds(targets, folds)
    probs = np.empty(logits.shape, dtype=np.float64)
    for fold in np.unique(fold_of):
        out = fold_of == fold
        probs[out] = calibrated(logits[out], fit_temperature(logits[~out], targets[~out], folds))
    return probs


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


def _folds(targets: np.ndarray, folds: int) -> np.ndarray:
    """(images,) of fold numbers: always the same, as even as can be, within each class too."""
    numbers = np.empty(len(targets), dtype=int)
    labels = targets if targets.ndim == 1 else targets.argmax(axis=1)
    numbers[np.argsort(labels, kind="stable")] = np.arange(len(targets)) % folds
    return numbers


def _all_right(logits: np.ndarray, targets: np.ndarray) -> bool:
    said = logits.argmax(axis=1)
    return bool((said == targets).all() if targets.ndim == 1 else (targets[np.arange(len(said)), said] == 1).all())


def _most_probable(logits: np.ndarray, targets: np.ndarray) -> float:
    """The temperature of the greatest likelihood times prior; 1 for images that are all right, or for none."""
    if _all_right(logits, targets):
        return 1.0

    def badness(log_temperature: float) -> float:
        losses = _log_losses(logits, targets, np.exp(log_temperature))
        return float(losses.sum()) + (log_temperature / LOG_SPREAD) ** 2 / 2

    bounds = (np.log(COLDEST), np.log(HOTTEST))
    return float(np.exp(minimize_scalar(badness, bounds=bounds, method="bounded", options={"xatol": 1e-3}).x))


def _log_losses(logits: np.ndarray, targets: np.ndarray, temperature: float) -> np.ndarray:
    """(images,) of minus the logarithm of the probability of the true class, or its mean by their probabilities."""
    scaled = (logits - logits.max(axis=1, keepdims=True)) / temperature
    log_sums = np.log(np.exp(scaled).sum(axis=1))  # SciPy's logsumexp takes five times as long for few images
    if targets.ndim == 2:
        return log_sums - (targets * scaled).sum(axis=1)
    return log_sums - scaled[np.arange(len(targets)), targets]
