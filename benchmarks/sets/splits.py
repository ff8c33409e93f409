"""Which images are learnt from and which are held back: by seed, by class, and whole groups at a time."""

import warnings
from dataclasses import dataclass

from sklearn.model_selection import StratifiedGroupKFold, train_test_split

from benchmarks.report import BenchmarkError
from benchmarks.sets import Photo

HELD_BACK = 4
"""One in so many images is held back."""


@dataclass(frozen=True)
class Split:
    """Two parts that share no image and no group."""

    learn: list[Photo]
    """All that a competitor may use, for training and for whatever it chooses by."""
    held_back: list[Photo]
    """What judges it."""


def split(photos: list[Photo], seed: int, inner: bool = False) -> Split:
    """A quarter held back, with about the same share of each class in both parts; the same one for the same seed.

    With `inner` that quarter is left alone: the other three are split once more in the same way, for decisions that
    the held-back images must have no part in. Raises BenchmarkError when there are too few images.
    """
    parts = _parted(photos, seed)
    return _parted(parts.learn, seed) if inner else parts


def _parted(photos: list[Photo], seed: int) -> Split:
    labels, groups = [photo.label for photo in photos], [photo.group for photo in photos]
    try:
        if len(set(groups)) == len(photos):
            learn, held_back = train_test_split(photos, test_size=1 / HELD_BACK, stratify=labels, random_state=seed)
        else:
            folds = StratifiedGroupKFold(HELD_BACK, shuffle=True, random_state=seed)
            with warnings.catch_warnings(action="ignore"):  # of small classes, which the check below is about
                train, test = next(folds.split(photos, labels, groups))
            learn, held_back = [photos[index] for index in train], [photos[index] for index in test]
    except ValueError as error:
        raise BenchmarkError(f"{len(photos):,} images are too few to hold back a quarter by class ({error}).") from None
    if {photo.label for photo in learn} != set(labels):
        raise BenchmarkError(f"{len(photos):,} images are too few: a class has none left to learn from.")
    return Split(*(sorted(part, key=lambda photo: photo.name) for part in (learn, held_back)))
