"""`augment: auto`: which changes leave an image's class as it is, tried on what the frozen body makes of images."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.special import log_softmax

from learner.datasets import assign_folds
from learner.features.loaders import ImageLoader
from learner.models.logistic import solve
from learner.models.network import Network, lowered
from learner.recipe import Augment
from learner.store import Image
from learner.training.solve import FOLDS

MOST_IMAGES = 200
"""Enough to see that mirror images do harm where they do."""
GENTLE = Augment(zoom=1.1, shift=0.05)
"""What hardly any class depends on: about the differences between two photos of one thing."""
MIRRORED, UPSIDE_DOWN = 3, 2
"""Dimensions of (images, channels, height, width)."""


@dataclass(frozen=True)
class Decided:
    """What was decided and why."""

    augment: Augment
    reason: str
    """A sentence or two."""


def choose_augment(
    network: Network, loader: ImageLoader, images: list[Image], classes: list[str], seed: int
) -> Decided:
    """Decide by images of the training side, which `loader` gives unchanged and in their order.

    A change is taken if the head that is solved with changed images besides has no higher log loss on images that were
    left out of the fit.
    """
    plain, mirrored, upside_down = _features(network, loader)
    targets = np.array([classes.index(image.label) for image in images])
    folds = np.array(assign_folds(images, seed, FOLDS))

    def losses(*views: np.ndarray) -> np.ndarray:
        """(images,) of log loss; NaN where an image could not be left out."""
        logits = solve(np.stack(views, axis=1), targets, len(classes), folds).logits
        return -log_softmax(logits.astype(np.float64), axis=1)[np.arange(len(targets)), targets]

    before = losses(plain)
    harms = {}
    for name, views in (("mirror images", mirrored), ("images upside down", upside_down)):
        harms[name] = float(np.nanmean(losses(plain, views) - before))
        if not harms[name] <= 0:
            break
    taken = [name for name, harm in harms.items() if harm <= 0]
    told = "; ".join(
        f"with {name} {'lower' if harm <= 0 else 'higher'} by {abs(harm):.3f}" for name, harm in harms.items()
    )
    reason = f"The log loss of {len(images)} training images, each left out of the fit: {told}."
    both = len(taken) == len(harms) == 2
    augment = replace(GENTLE, flip_horizontal=bool(taken), flip_vertical=both, quarter_turns=both)
    return Decided(augment, reason)


@torch.inference_mode()
def _features(network: Network, loader: ImageLoader) -> list[np.ndarray]:
    """Maxima and means of the last feature map, (images, numbers): of images as they are, mirrored, upside down."""
    network = lowered(network)
    rows: list[list[np.ndarray]] = [[], [], []]
    for x, _ in loader:
        for found, flipped in zip(rows, (None, MIRRORED, UPSIDE_DOWN), strict=True):
            maps = x if flipped is None else x.flip(flipped)
            for stage in range(len(network.body)):
                maps = network.stage(stage, maps)
            maps = maps.float()
            found.append(torch.cat([maps.amax((2, 3)), maps.mean((2, 3))], dim=1).cpu().numpy())
    return [np.concatenate(one) for one in rows]
