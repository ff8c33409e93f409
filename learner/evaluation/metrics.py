"""What a trained model gets right and wrong: figures with their intervals, and the curves behind them.

Needs no torch.
"""

from math import sqrt
from typing import Any

import numpy as np
from sklearn.metrics import (
    auc,
    average_precision_score,
    confusion_matrix,
    precision_recall_curve,
    precision_recall_fscore_support,
    roc_curve,
)

from learner.evaluation.intervals import wilson

RESAMPLES = 1000
CALIBRATION_BINS = 10
CURVE_POINTS = 60
"""Of a ROC or precision–recall curve at most: more cannot be told apart on a screen."""
WILSON, MOVER, BOOTSTRAP = "Wilson", "Wilson for each class, combined", f"bootstrap, {RESAMPLES:,} resamples"


def evaluate(
    probs: np.ndarray, targets: np.ndarray, classes: list[str], shares: np.ndarray | None = None
) -> dict[str, Any]:
    """Figures as plain values, ready for JSON. `probs` is (images, classes), `targets` (images,) of class indices.

    `shares` (images, classes) are true probabilities of the classes, where there are any. Log loss is against them,
    then, and so is `brier`, the Brier score: squared distances added up over the classes, their mean over the images.

    `confusion[i][j]` counts images of class i that were taken for class j. Precision of a class that was never
    predicted is 0; balanced accuracy and macro F1 are means over the classes that have images. `figures` are those
    that stand in a headline, each with its 95 % interval and the method of that:

    - accuracy and top-k accuracy: Wilson (1927, JASA 22);
    - balanced accuracy: the Wilson intervals of the classes, combined as independent proportions (MOVER: Zou and
      Donner 2008, Statistics in Medicine 27), which is not empty where every image is right;
    - macro F1: bootstrap, percentiles, each class resampled by itself; where every image is right, as the former;
    - log loss: bootstrap, percentiles.
    """
    predicted = probs.argmax(axis=1)
    confusion = confusion_matrix(targets, predicted, labels=np.arange(len(classes)))
    right = int((predicted == targets).sum())
    interval = wilson(right, len(targets))
    precision, recall, f1, support = precision_recall_fscore_support(
        targets, predicted, labels=np.arange(len(classes)), zero_division=0.0
    )
    brier = {} if shares is None else {"brier": float(((probs - shares) ** 2).sum(axis=1).mean())}
    return {
        "images": len(targets),
        **brier,
        "accuracy": right / len(targets),
        "accuracy_interval": interval,
        "figures": {
            "accuracy": _figure(right / len(targets), interval, WILSON),
            **_balanced(confusion),
            **_top_k(probs, targets),
            "log_loss": _log_loss(log_losses(probs, targets if shares is None else shares)),
        },
        "classes": classes,
        "confusion": confusion.tolist(),
        "calibration": calibration_curve(probs, targets),
        "per_class": [
            {"class": name, "precision": float(p), "recall": float(r), "f1": float(f), "support": int(s)}
            | {"recall_interval": wilson(int(confusion[index, index]), int(s)) if s else None}
            for index, (name, p, r, f, s) in enumerate(zip(classes, precision, recall, f1, support, strict=True))
        ],
    }


def calibration_curve(probs: np.ndarray, targets: np.ndarray) -> dict[str, Any]:
    """How sure the model was of its answers beside how often they were right.

    `bins` divide 0 to 1 evenly (empty ones are left out); `error` is the expected calibration error: the mean distance
    of the two, weighted by images. Source: Guo et al. 2017, arXiv:1706.04599.
    """
    sure, right = probs.max(axis=1), probs.argmax(axis=1) == targets
    place = np.minimum((sure * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    bins = [
        {
            "confidence": float(sure[place == index].mean()),
            "accuracy": float(right[place == index].mean()),
            "images": int((place == index).sum()),
        }
        for index in np.unique(place)
    ]
    error = sum(one["images"] * abs(one["confidence"] - one["accuracy"]) for one in bins) / len(targets)
    return {"bins": bins, "error": float(error)}


def one_against_rest(probs: np.ndarray, targets: np.ndarray, classes: list[str]) -> list[dict[str, Any]]:
    """For every class its ROC and precision–recall curve, with the area below the one and the average precision.

    `roc` are [false positive rate, true positive rate], `pr` [recall, precision], from strict to lenient. A class of
    which there are no images, or nothing else, has none of these.
    """
    curves: list[dict[str, Any]] = []
    for index, name in enumerate(classes):
        mine, scores = targets == index, probs[:, index]
        if mine.all() or not mine.any():
            curves.append({"class": name, "auc": None, "average_precision": None, "roc": [], "pr": []})
            continue
        false_rate, true_rate, _ = roc_curve(mine, scores)
        precision, recall, _ = precision_recall_curve(mine, scores)
        curves.append(
            {
                "class": name,
                "auc": float(auc(false_rate, true_rate)),
                "average_precision": float(average_precision_score(mine, scores)),
                "roc": _thinned(false_rate, true_rate),
                "pr": _thinned(recall[::-1], precision[::-1]),
            }
        )
    return curves


def _balanced(confusion: np.ndarray) -> dict[str, dict[str, Any]]:
    support = confusion.sum(axis=1)
    counts = confusion[support > 0]
    right, support = counts[:, support > 0].diagonal(), support[support > 0]
    recalls = right / support
    balanced = float(recalls.mean())
    bounds = np.array([wilson(int(hits), int(total)) for hits, total in zip(right, support, strict=True)])
    below, above = (sqrt(float(((recalls - bounds[:, side]) ** 2).sum())) / len(recalls) for side in (0, 1))
    interval = [max(0.0, balanced - below), min(1.0, balanced + above)]
    f1 = float(_f1(right, support, confusion.sum(axis=0)[confusion.sum(axis=1) > 0]).mean())
    if f1 == 1:
        f1_figure = _figure(f1, interval, MOVER)
    else:
        f1_figure = _figure(f1, _percentiles(_resampled_macro_f1(confusion)), BOOTSTRAP)
    return {"balanced_accuracy": _figure(balanced, interval, MOVER), "macro_f1": f1_figure}


def _f1(right: np.ndarray, support: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    return 2 * right / np.maximum(support + predicted, 1)


def _resampled_macro_f1(confusion: np.ndarray) -> np.ndarray:
    """(RESAMPLES,): images of a class that are drawn anew fall into the cells of its row by a multinomial law."""
    random = np.random.default_rng(0)
    there = np.flatnonzero(confusion.sum(axis=1))
    predicted = np.zeros((RESAMPLES, len(confusion)))
    right = np.zeros((RESAMPLES, len(confusion)))
    for index in there:
        row = confusion[index]
        cells = np.flatnonzero(row)
        drawn = random.multinomial(row.sum(), row[cells] / row.sum(), size=RESAMPLES)
        predicted[:, cells] += drawn
        if row[index]:
            right[:, index] = drawn[:, np.searchsorted(cells, index)]
    return _f1(right[:, there], confusion.sum(axis=1)[there], predicted[:, there]).mean(axis=1)


def _top_k(probs: np.ndarray, targets: np.ndarray) -> dict[str, dict[str, Any]]:
    """Of as many answers as still say something, given the number of classes; nothing for two."""
    classes = probs.shape[1]
    k = 5 if classes >= 20 else 3 if classes >= 6 else 2 if classes >= 3 else 0
    if not k:
        return {}
    own = probs[np.arange(len(targets)), targets]
    hits = int(((probs > own[:, None]).sum(axis=1) < k).sum())
    return {"top_k": _figure(hits / len(targets), wilson(hits, len(targets)), WILSON) | {"k": k}}


def _log_loss(losses: np.ndarray) -> dict[str, Any]:
    random = np.random.default_rng(0)
    means = np.array([losses[random.integers(len(losses), size=len(losses))].mean() for _ in range(RESAMPLES)])
    return _figure(float(losses.mean()), _percentiles(means), BOOTSTRAP)


def log_losses(probs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """(images,) of minus the logarithm of the probability of the true class, or its mean by true probabilities."""
    if targets.ndim == 2:
        return -(targets * np.log(np.maximum(probs.astype(np.float64), np.finfo(np.float64).tiny))).sum(axis=1)
    own = probs[np.arange(len(targets)), targets].astype(np.float64)
    return -np.log(np.maximum(own, np.finfo(np.float64).tiny))


def _percentiles(values: np.ndarray) -> list[float]:
    return [float(value) for value in np.percentile(values, [2.5, 97.5])]


def _figure(value: float, interval: list[float], method: str) -> dict[str, Any]:
    return {"value": value, "interval": interval, "method": method}


def _thinned(x: np.ndarray, y: np.ndarray) -> list[list[float]]:
    """At most `CURVE_POINTS` of a curve's points, its ends among them."""
    keep = np.unique(np.linspace(0, len(x) - 1, min(len(x), CURVE_POINTS)).round().astype(int))
    return [[round(float(a), 5), round(float(b), 5)] for a, b in zip(x[keep], y[keep], strict=True)]
