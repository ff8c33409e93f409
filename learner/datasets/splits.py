"""Which images a recipe learns from and which it is checked on."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable

from learner.errors import DatasetError
from learner.store import Image


def train_valid_split(images: Iterable[Image], seed: int, valid_fraction: float) -> tuple[list[Image], list[Image]]:
    """Training and validation images, each in order of their paths; excluded and `test` images are in neither.

    A data set with `train` and `valid` images of its own is split as it says, and `seed` and `valid_fraction` (over 0,
    under 1) mean nothing. Otherwise each class gives `valid_fraction` of its images, at least one and never all;
    a class with one image gives none. An image's place follows from the seed and its content alone, so the order of
    `images` does not matter and most images stay where they are when others come or go.

    Raises DatasetError when `valid_fraction` is out of range.
    """
    if not 0 < valid_fraction < 1:
        raise DatasetError(
            f"The share of validation images is {valid_fraction}; it must lie between 0 and 1. Use 0.2 for one in five."
        )
    usable = sorted(
        (image for image in images if not image.excluded and image.split != "test"), key=lambda image: image.path
    )
    if {"train", "valid"} <= {image.split for image in usable}:
        return (
            [image for image in usable if image.split != "valid"],
            [image for image in usable if image.split == "valid"],
        )
    by_label: dict[str, list[Image]] = defaultdict(list)
    for image in usable:
        by_label[image.label].append(image)
    drawn: set[str] = set()
    for group in by_label.values():
        count = min(max(int(len(group) * valid_fraction + 0.5), 1), len(group) - 1)
        group.sort(key=lambda image: (_lot(seed, image.sha256), image.path))
        drawn.update(image.path for image in group[:count])
    return (
        [image for image in usable if image.path not in drawn],
        [image for image in usable if image.path in drawn],
    )


def _lot(seed: int, sha256: str) -> bytes:
    return hashlib.sha256(f"{seed} {sha256}".encode()).digest()
