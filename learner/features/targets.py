"""What images are learnt as: their classes or, where a table gave any, probabilities of classes."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from torch import Tensor


class Labelled(Protocol):
    """An image of a data set, or its file."""

    @property
    def label(self) -> str: ...

    @property
    def probabilities(self) -> Mapping[str, float] | None: ...


def shares_of(images: Sequence[Labelled], classes: list[str]) -> np.ndarray | None:
    """(images, classes) of probabilities that add up to 1; None where no image has any.

    An image without has 1 for its class. What goes to a class that is not in `classes`, as no image is left of it, is
    shared out among the others.
    """
    if not any(image.probabilities for image in images):
        return None
    place = {name: index for index, name in enumerate(classes)}
    shares = np.zeros((len(images), len(classes)))
    for row, image in zip(shares, images, strict=True):
        for name, number in (image.probabilities or {}).items():
            if name in place:
                row[place[name]] = number
        if not row.any():
            row[place[image.label]] = 1
    return shares / shares.sum(axis=1, keepdims=True)


def targets_of(images: Sequence[Labelled], classes: list[str]) -> np.ndarray:
    """(images,) of class indices; where any has probabilities, (images, 1 + classes): the index, and then these.

    Both are needed: the loss is held against the probabilities, the accuracy against the class, which a person may have
    named against all odds.
    """
    place = {name: index for index, name in enumerate(classes)}
    labels = np.array([place[image.label] for image in images], dtype=np.int64)
    shares = shares_of(images, classes)
    return labels if shares is None else np.column_stack([labels, shares]).astype(np.float32)


def labels_in(targets: Tensor) -> Tensor:
    """(batch,) of class indices, of a batch of `targets_of`."""
    return targets if targets.dim() == 1 else targets[:, 0].long()


def goals_in(targets: Tensor) -> Tensor:
    """What a loss of such a batch is held against: class indices (batch,), or probabilities (batch, classes)."""
    return targets if targets.dim() == 1 else targets[:, 1:]
