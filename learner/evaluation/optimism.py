"""How much a choice flatters that was made on the images it is judged by. Needs no torch.

Of several states of a network, such as its epochs, the one with the lowest validation loss is kept. It is partly the
luckiest one on these images, so its figures there flatter.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import stdtrit

from learner.store import Epoch

PARTS = 10
"""Into which the validation images are divided. With five, the choice is made on a fifth fewer images than a run has,
and the estimate is a little too large; each image alone would take as many numbers as there are images."""
FEWEST_IMAGES = 2 * PARTS
"""With fewer, a part is hardly an image."""

Parts = Sequence[Sequence[float | None]]
"""Of one state of the network, a row a part: how many images it has, the sum of their losses (cross entropy; None where
that is no finite number), and how many were right."""


@dataclass(frozen=True)
class Optimism:
    """By how much the figures of the chosen state are better than those of its like on images that chose nothing."""

    log_loss: float
    """Never below 0."""
    accuracy: float
    """As a share; below 0 by chance, as states are chosen by their loss."""
    candidates: int
    """States that it was chosen from."""
    images: int


def parts_of(losses: np.ndarray, right: np.ndarray, targets: np.ndarray) -> list[list[float | None]]:
    """`Parts` of images in their order: (images,) of losses, of 0 or 1, and of class indices.

    Every class is spread evenly over the parts. Neighbours stay together, as they may show the same thing.
    """
    part = np.empty(len(targets), dtype=int)
    for index in np.unique(targets):
        own = np.flatnonzero(targets == index)
        part[own] = (np.arange(len(own)) * PARTS // len(own) + int(index)) % PARTS
    sums = (np.bincount(part, weights=values, minlength=PARTS) for values in (losses, right))
    rows = zip(np.bincount(part, minlength=PARTS).tolist(), *(one.tolist() for one in sums), strict=True)
    return [
        [images, round(loss, 6) if math.isfinite(loss) else None, round(hits)] for images, loss, hits in rows if images
    ]


def candidates_of(epochs: Sequence[Epoch], interpolated: Mapping[str, Any]) -> list[Parts] | None:
    """Every state that a run's best was chosen from; None where an older Thaw kept too little of them.

    These are its epochs, and of a phase that ends at the best point of its way all points in place of the last epoch.
    """
    found: list[Parts] = []
    for index, epoch in enumerate(epochs):
        is_last = index + 1 == len(epochs) or epochs[index + 1].phase != epoch.phase
        points = interpolated.get(str(epoch.phase)) if is_last else None
        found += [epoch.parts or []] if points is None else [row.get("parts", []) for row in points["tried"]]
    return found if all(found) else None


def optimism(candidates: Sequence[Parts]) -> Optimism | None:
    """How much the lowest loss of `candidates` flatters; None where there is no choice or there are too few images.

    For each part, the best candidate is chosen on all others and judged on this one; what it does worse there than the
    one that is best on all images is what the choice flatters by. So the choice is taken for a part of learning, which
    is repeated without the images that judge it (Varma and Simon 2006, BMC Bioinformatics 7:91; Cawley and Talbot 2010,
    JMLR 11, 2079–2107). The correction by Tibshirani and Tibshirani (2009, arXiv:0908.2904) needs as much, but chooses
    on a part alone, and so says about twice as much where candidates hardly differ.
    """
    if len(candidates) < 2 or len({len(parts) for parts in candidates}) > 1 or len(candidates[0]) < 2:
        return None
    table = np.array(candidates, dtype=float)  # None becomes NaN
    losses, right = np.where(np.isnan(table[..., 1]), np.inf, table[..., 1]), table[..., 2]  # (candidates, parts)
    images = table[0, :, 0].sum()
    best = losses.sum(axis=1).argmin()
    if images < FEWEST_IMAGES or not np.isfinite(losses[best]).all():
        return None
    chosen = [np.delete(losses, part, axis=1).sum(axis=1).argmin() for part in range(losses.shape[1])]
    judged = list(zip(chosen, range(len(chosen)), strict=True))
    loss = sum(losses[at] for at in judged) - losses[best].sum()
    hits = sum(right[at] for at in judged)
    return Optimism(
        log_loss=float(max(0.0, loss) / images),
        accuracy=float((right[best].sum() - hits) / images),
        candidates=len(candidates),
        images=int(images),
    )


def optimism_of(epochs: Sequence[Epoch], facts: Mapping[str, Any]) -> Optimism | None:
    """Of a run's best epoch; None where it cannot be told."""
    candidates = candidates_of(epochs, facts.get("interpolated", {}))
    return None if candidates is None else optimism(candidates)


def rise(before: Parts, after: Parts) -> tuple[float, float] | None:
    """The 95 % interval of how much the loss rose from one state to another, both on the same images.

    By Student's t over the parts; None where there are fewer than two, or a loss is no number.
    """
    if len(before) != len(after) or len(before) < 2:
        return None
    first, second = np.array(before, dtype=float), np.array(after, dtype=float)
    images, rises = first[:, 0], second[:, 1] - first[:, 1]
    if not np.isfinite(rises).all() or (images != second[:, 0]).any():
        return None
    mean, parts = rises.sum() / images.sum(), len(images)
    spread = np.square(rises - mean * images).sum() * parts / (parts - 1)  # of a ratio of sums (Cochran 1977, 6.3)
    error = stdtrit(parts - 1, 0.975) * math.sqrt(spread) / images.sum()
    return float(mean - error), float(mean + error)
