"""Which unlabelled photos a model would learn most from: those it is unsure of, and unlike each other. Needs no torch.

Source: Ash et al. 2020, "Deep Batch Active Learning by Diverse, Uncertain Gradient Lower Bounds" (BADGE), ICLR,
arXiv:1906.03671. The label that the model itself would give makes a gradient of its last layer; a photo it is sure of
has a short one, photos that would teach the same have the same one. Long gradients that differ are drawn by k-means++.
"""

import numpy as np


def most_useful(probs: np.ndarray, features: np.ndarray, most: int, seed: int = 0) -> list[int]:
    """Rows of at most `most` photos, the one to label first in front; the same for the same photos and seed.

    `probs` is (photos, classes), `features` (photos, numbers), as the last layer gets them. The gradient of a photo is
    the outer product of its features with its probabilities less one for the likeliest class: distances follow from
    both parts, so it is never written out. The first photo is the one with the longest gradient, as in the authors'
    program.
    """
    photos = len(probs)
    if not photos:
        return []
    errors = probs.astype(np.float64)
    errors[np.arange(photos), probs.argmax(axis=1)] -= 1
    features = features.astype(np.float64)
    lengths = (errors**2).sum(axis=1) * (features**2).sum(axis=1)
    chance = np.random.default_rng(seed)
    chosen = [int(lengths.argmax())]
    nearest = np.full(photos, np.inf)
    while len(chosen) < min(most, photos):
        last = chosen[-1]
        products = (errors @ errors[last]) * (features @ features[last])
        nearest = np.minimum(nearest, np.maximum(lengths + lengths[last] - 2 * products, 0))
        nearest[chosen] = 0
        total = nearest.sum()
        if total <= 1e-12 * max(lengths.max(), 1e-300):  # nothing is left that differs from what was chosen
            rest = np.setdiff1d(np.argsort(-lengths, kind="stable"), chosen, assume_unique=True)
            chosen += [int(row) for row in rest[: most - len(chosen)]]
            break
        chosen.append(int(chance.choice(photos, p=nearest / total)))
    return chosen
