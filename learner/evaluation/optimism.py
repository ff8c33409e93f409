"""How much a choice flatters that was made on the images it is judged by. Needs no torch.

Of several states of a network, such as its epochs, the one with the lowest validation loss is kept. It is partly the
luckiest one on these images, so its figures there flatter.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy.special import stdtrit

from learner.store import Epoch

PARTS = 10
"""Into which the validation images are divided: of each image alone, an epoch would keep too many numbers."""
DRAWS = 1000
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

    These are its epochs, and of a phase that ends at the best point of its way all points in place of the last epoch;
    after the first phase, none of its other epochs.
    """
    found: list[Parts] = []
    for index, epoch in enumerate(epochs):
        is_last = index + 1 == len(epochs) or epochs[index + 1].phase != epoch.phase
        points = interpolated.get(str(epoch.phase))
        if points and epoch.phase and not is_last:
            continue
        if points is None or not is_last:
            found.append(epoch.parts or [])
        else:  # the first point is the state before, which is there already
            found += [row.get("parts", []) for row in points["tried"][bool(found) :]]
    return found if all(found) else None


def optimism(candidates: Sequence[Parts]) -> Optimism | None:
    """How much the lowest loss of `candidates` flatters; None where there is no choice or there are too few images.

    Parts are drawn with repetition, many times: the candidate that is best on those that were drawn is judged on those
    that were not. What it does worse there than the best of all does on all images is what the choice flatters by.
    Both are taken against the mean of all candidates on the same images, so that it does not matter which were drawn.
    Source: the bootstrap bias correction of Tsamardinos, Greasidou and Borboudakis (2018, Machine Learning 107,
    arXiv:1708.07180), here of parts. Choosing on all parts but one, in turn (Cawley and Talbot 2010, JMLR 11,
    2079–2107), gives the same on average, but of so few parts it varies more than twice as much.
    """
    candidates = [parts for parts in candidates if all(row[1] is not None for row in parts)]  # else it was never chosen
    if len(candidates) < 2 or len({len(parts) for parts in candidates}) > 1:
        return None
    table = np.array(candidates, dtype=float)  # (candidates, parts, 3)
    images, losses, right = table[0, :, 0], table[..., 1], table[..., 2]
    if images.sum() < FEWEST_IMAGES:
        return None
    parts = len(images)
    drawn = np.random.default_rng(0).multinomial(parts, np.full(parts, 1 / parts), size=DRAWS)
    drawn = drawn[(drawn == 0).any(axis=1)]
    chosen = (drawn @ losses.T).argmin(axis=1)  # (draws,)
    best = losses.sum(axis=1).argmin()

    def worse(figures: np.ndarray) -> float:
        """Of the chosen on left-out images than of the best on all, both against the mean of the candidates."""
        differences = figures - figures.mean(axis=0)
        left_out = drawn == 0
        of_chosen = (left_out * differences[chosen]).sum(axis=1) / (left_out @ images)
        return float(of_chosen.mean() - differences[best].sum() / images.sum())

    return Optimism(max(0.0, worse(losses)), -worse(right), len(candidates), int(images.sum()))


def optimism_of(epochs: Sequence[Epoch], facts: Mapping[str, Any]) -> Optimism | None:
    """Of a run's best epoch; None where it cannot be told."""
    candidates = candidates_of(epochs, facts.get("interpolated", {}))
    return None if candidates is None else optimism(candidates)


def optimism_text(found: Optimism) -> str:
    """By how much the choice flatters, and how that is known."""
    chosen = f"The best of {found.candidates} states of the network was chosen on the validation images."
    if found.log_loss < 0.0005 and found.accuracy < 0.0005:
        return f"{chosen} That hardly flatters: it is the best on other draws of these images, too."
    accuracy = f"{100 * found.accuracy:.1f} points in accuracy" if found.accuracy >= 0.0005 else "not in accuracy"
    return (
        f"{chosen} That flatters by about {found.log_loss:.3f} in log loss and {accuracy}, estimated by choosing on "
        "random draws of these images and judging on those left out (bootstrap)."
    )


def change(before: Parts, after: Parts, of: Literal["loss", "accuracy"]) -> tuple[float, float] | None:
    """The 95 % interval of how much a figure rose from one state to another, both on the same images.

    By Student's t over the parts; None where there are fewer than two, or a loss is no number.
    """
    if len(before) != len(after) or len(before) < 2:
        return None
    first, second = np.array(before, dtype=float), np.array(after, dtype=float)
    column = 1 if of == "loss" else 2
    images, rises = first[:, 0], second[:, column] - first[:, column]
    if not np.isfinite(rises).all() or (images != second[:, 0]).any():
        return None
    mean, parts = rises.sum() / images.sum(), len(images)
    spread = np.square(rises - mean * images).sum() * parts / (parts - 1)  # of a ratio of sums (Cochran 1977, 6.3)
    error = stdtrit(parts - 1, 0.975) * math.sqrt(spread) / images.sum()
    return float(mean - error), float(mean + error)
