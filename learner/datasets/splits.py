"""Which images a recipe learns from and which it is checked on. What belongs together stays on one side."""

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TypeVar

from learner.datasets.exclusions import ImageRow
from learner.datasets.grouping import components
from learner.errors import DatasetError
from learner.recipe import Recipe
from learner.store import Image

AnyImage = TypeVar("AnyImage", Image, ImageRow)

LARGEST_SHARE = 0.5
"""Of a class: a larger group of near duplicates is torn where the class could not be checked otherwise."""


@dataclass(frozen=True)
class Split:
    """Images by side, each in order of their paths."""

    train: list[ImageRow]
    valid: list[ImageRow]
    test: list[ImageRow]
    prevented: int
    """Validation images that would have had one of their own group in training, had each been drawn by itself."""
    torn: int
    """Validation images that do have one in training: the data set's own folders, or a class that is one burst."""


def split_by(recipe: Recipe, images: Iterable[Image]) -> tuple[list[Image], list[Image]]:
    """`train_valid_split` as `recipe` says it; of what its fold leaves, where that is for the test."""
    train, valid = _fold_by(recipe, images)
    if recipe.holds_back:
        return train_valid_split(train, recipe.seed, recipe.valid_fraction, recipe.grouped)
    return train, valid


def held_back_by(recipe: Recipe, images: Iterable[Image]) -> list[Image]:
    """The images that judge the finished model and have no other part (`Recipe.fold_is`); none without such a fold."""
    return _fold_by(recipe, images)[1] if recipe.holds_back else []


def _fold_by(recipe: Recipe, images: Iterable[Image]) -> tuple[list[Image], list[Image]]:
    return train_valid_split(images, recipe.seed, recipe.valid_fraction, recipe.grouped, recipe.folds, recipe.fold)


def train_valid_split(
    images: Iterable[AnyImage], seed: int, valid_fraction: float, grouped: bool = True, folds: int = 0, fold: int = 1
) -> tuple[list[AnyImage], list[AnyImage]]:
    """Training and validation images, each in order of their paths; excluded and `test` images are in neither.

    A data set with `valid` images of its own is split as it says, and nothing else here means anything.
    Otherwise each class gives about `valid_fraction` of its images (over 0, under 1), at least one and never all; a
    class with one image gives none. With `folds` (2 or more) every image is in the validation images of exactly one
    `fold` of 1 … `folds`. An image's place follows from the seed and its content alone, so the order of `images` does
    not matter and most images stay where they are when others come or go.

    `grouped` keeps near duplicates and declared groups on one side. Where a class is little more than one burst of
    near duplicates, that burst is torn in order of its paths; a declared group never is.

    Raises DatasetError when `valid_fraction` or `fold` is out of range.
    """
    if not 0 < valid_fraction < 1:
        raise DatasetError(
            f"The share of validation images is {valid_fraction}; it must lie between 0 and 1. Use 0.2 for one in five."
        )
    if folds and not (folds >= 2 and 1 <= fold <= folds):
        raise DatasetError(f"Fold {fold} of {folds} does not exist. Use 2 folds or more, and a fold from 1 on.")
    usable = _usable(images)
    if has_own_split(usable):
        valid = {image.path for image in usable if image.split == "valid"}
    else:
        together = components(usable) if grouped else [[image] for image in usable]
        together.sort(key=lambda group: min(_lot(seed, image) for image in group))
        per_class = Counter(image.label for image in usable)
        if folds:
            chosen = _deal(together, per_class, folds)[fold - 1]
        else:
            target = {
                label: min(max(int(number * valid_fraction + 0.5), 1), number - 1)
                for label, number in per_class.items()
            }
            chosen = _draw(together, per_class, target)
        valid = {image.path for image in chosen}
    return [image for image in usable if image.path not in valid], [image for image in usable if image.path in valid]


def assign_folds(images: Iterable[AnyImage], seed: int, folds: int, grouped: bool = True) -> list[int]:
    """For each of `images` which of the folds 0 … `folds` - 1 leaves it out: for cross-validation within a side.

    Classes are spread evenly. What belongs together is in one fold, if `grouped`. A place follows from the seed and the
    images' content, not from their order.
    """
    images = list(images)
    together = components(images) if grouped else [[image] for image in images]
    together.sort(key=lambda group: min(_lot(seed, image) for image in group))
    dealt = _deal(together, Counter(image.label for image in images), folds)
    fold_of = {image.path: index for index, members in enumerate(dealt) for image in members}
    return [fold_of[image.path] for image in images]


def describe_split(
    images: Iterable[ImageRow], seed: int, valid_fraction: float, grouped: bool = True, folds: int = 0, fold: int = 1
) -> Split:
    """The sides of `train_valid_split`, and how many leaks grouping prevented and could not prevent."""
    images = list(images)
    train, valid = train_valid_split(images, seed, valid_fraction, grouped, folds, fold)
    test = sorted(
        (image for image in images if not image.excluded and image.split == "test"), key=lambda image: image.path
    )
    torn = _leaks(train, valid)
    alone = torn
    if grouped and not has_own_split(train + valid):
        alone = _leaks(*train_valid_split(images, seed, valid_fraction, False, folds, fold))
    return Split(train, valid, test, max(alone - torn, 0), torn)


def has_own_split(images: Iterable[Image] | Iterable[ImageRow]) -> bool:
    """Whether some images are there for validation and others are not, so that no seed decides."""
    splits = {image.split for image in images} - {"test"}
    return "valid" in splits and len(splits) > 1


def draw_test_set(rows: Iterable[ImageRow], seed: int, fraction: float) -> list[ImageRow]:
    """Rows for a test set: about `fraction` of each class, whole groups, never a class's last image.

    Raises DatasetError when there is a test set already or `fraction` is out of range.
    """
    if not 0 < fraction < 1:
        raise DatasetError(f"The share of test images is {fraction}; it must lie between 0 and 1. Use 0.2 for a fifth.")
    rows = list(rows)
    if any(row.split == "test" and not row.excluded for row in rows):
        raise DatasetError("There is a test set already, and it stays the same. Give it up first to draw another.")
    return train_valid_split([replace(row, split="") for row in rows if row.split != "valid"], seed, fraction)[1]


def _usable(images: Iterable[AnyImage]) -> list[AnyImage]:
    return sorted(
        (image for image in images if not image.excluded and image.split != "test"), key=lambda image: image.path
    )


def _draw(together: list[list[AnyImage]], per_class: Counter[str], target: dict[str, int]) -> list[AnyImage]:
    drawn: list[AnyImage] = []
    taken: Counter[str] = Counter()

    def take(group: list[AnyImage]) -> None:
        drawn.extend(group)
        taken.update(image.label for image in group)

    left = []
    for group in together:
        needed = Counter(image.label for image in group)
        fits = all(taken[label] + number <= target[label] for label, number in needed.items())
        take(group) if fits else left.append(group)
    for label in sorted(per_class):
        if target[label] == 0 or taken[label]:
            continue
        mine = sorted((group for group in left if any(image.label == label for image in group)), key=len)
        smallest = mine[0]
        numbers = Counter(image.label for image in smallest)
        if all(taken[name] + number <= LARGEST_SHARE * per_class[name] for name, number in numbers.items()):
            take(smallest)
            left.remove(smallest)
        else:
            take(_end_of_burst(mine[-1], label, target[label]))
    return drawn


def _end_of_burst(burst: list[AnyImage], label: str, number: int) -> list[AnyImage]:
    """About the last `number` images of a class in a group of near duplicates, in order of their paths.

    Declared groups stay whole, so this may be none. Neighbours in a burst resemble each other most, which is why its
    end is taken and not every n-th image.
    """
    mine = [image for image in burst if image.label == label]
    parts = components(mine, clusters=False)
    end: list[AnyImage] = []
    for part in reversed(parts[1:]):
        if len(end) + len(part) > max(number, 1) and end:
            break
        end += part
    return end


def _deal(together: list[list[AnyImage]], per_class: Counter[str], folds: int) -> list[list[AnyImage]]:
    """The images of each fold: each group, large ones first, goes to the one with the smallest share of its classes."""
    filled = [Counter[str]() for _ in range(folds)]
    members: list[list[AnyImage]] = [[] for _ in range(folds)]
    for group in sorted(together, key=len, reverse=True):
        numbers = Counter(image.label for image in group)
        place = min(
            range(folds),
            key=lambda place: (
                sum(filled[place][label] / per_class[label] for label in numbers),
                len(members[place]),
                place,
            ),
        )
        filled[place].update(numbers)
        members[place] += group
    return members


def _leaks(train: list[AnyImage], valid: list[AnyImage]) -> int:
    learnt = {image.path for image in train}
    return sum(
        sum(image.path not in learnt for image in group)
        for group in components(train + valid)
        if len(group) > 1 and any(image.path in learnt for image in group)
    )


def _lot(seed: int, image: Image | ImageRow) -> tuple[bytes, str]:
    return hashlib.sha256(f"{seed} {image.sha256}".encode()).digest(), image.path
