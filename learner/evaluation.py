"""What a trained model gets right and wrong on the validation images."""

from typing import Any

import numpy as np
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support


def evaluate(probs: np.ndarray, targets: np.ndarray, classes: list[str]) -> dict[str, Any]:
    """Figures as plain values, ready for JSON. `probs` is (images, classes), `targets` (images,) of class indices.

    The interval of the accuracy is Wilson's at 95 % (Wilson 1927, JASA 22). `confusion[i][j]` counts images of class
    i that were taken for class j. Precision of a class that was never predicted is 0.
    """
    predicted = probs.argmax(axis=1)
    indices = np.arange(len(classes))
    right = int((predicted == targets).sum())
    interval = binomtest(right, len(targets)).proportion_ci(0.95, method="wilson")
    precision, recall, f1, support = precision_recall_fscore_support(
        targets, predicted, labels=indices, zero_division=0.0
    )
    return {
        "images": len(targets),
        "accuracy": right / len(targets),
        "accuracy_interval": [float(interval.low), float(interval.high)],
        "classes": classes,
        "confusion": confusion_matrix(targets, predicted, labels=indices).tolist(),
        "per_class": [
            {"class": name, "precision": float(p), "recall": float(r), "f1": float(f), "support": int(s)}
            for name, p, r, f, s in zip(classes, precision, recall, f1, support, strict=True)
        ],
    }
