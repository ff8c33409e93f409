"""Layouts in which a file's number tells its class: so many files a class, or MATLAB files that list the classes."""

import re
from collections import Counter

from learner.datasets.layouts.choice import Found, Reading
from learner.datasets.layouts.listing import Listing
from learner.datasets.names import plural
from learner.errors import DatasetError

KNOWN_COUNTS = {1360: 80}
"""Images in all → images a class: Oxford Flowers 17 is 17 × 80."""
_USUAL_COUNTS = (100, 80, 50, 40, 25, 20, 10)
_SPLITS = {"trnid": "train", "valid": "valid", "tstid": "test"}


def number_of(path: str) -> int | None:
    """The last number in a file's name: 12 for `jpg/image_0012.jpg`."""
    numbers = re.findall(r"\d+", path.rpartition("/")[2].rpartition(".")[0])
    return int(numbers[-1]) if numbers and len(numbers[-1]) < 16 else None


def numbered_run(images: list[str]) -> int:
    """How many images there are if they are one run, such as `image_0001.jpg` to `image_1360.jpg`; 0 otherwise."""
    starts = {re.sub(r"\d+$", "", path.rpartition(".")[0]) for path in images}
    numbers = {number for path in images if (number := number_of(path)) is not None}
    if len(starts) != 1 or len(numbers) != len(images):
        return 0
    return len(images) if min(numbers) in (0, 1) and max(numbers) - min(numbers) == len(images) - 1 else 0


def usual_count(total: int) -> int:
    """A number of images a class to begin with, where nothing tells it; at least 1."""
    fitting = (count for count in _USUAL_COUNTS if total % count == 0 and total > count)
    return KNOWN_COUNTS.get(total) or next(fitting, max(-(-total // 2), 1))


def read_numbered(images: list[str], per_class: int) -> Reading:
    """Classes 1, 2 … of `per_class` numbers each, counted from 1 (or from 0 where there is a 0)."""
    if per_class < 1:
        raise DatasetError(f"{per_class} images a class cannot be. Say how many files in a row belong to one class.")
    numbers = {path: number_of(path) for path in images}
    first = 0 if 0 in numbers.values() else 1
    reading = Reading()
    for path, number in numbers.items():
        if number is None:
            reading.found[path] = Found("", reason="Its name has no number, so its class is not known.")
        else:
            reading.found[path] = Found(str((number - first) // per_class + 1))
    sizes = Counter(found.label for found in reading.found.values() if found.label)
    uneven = sum(size != per_class for size in sizes.values())
    if uneven:
        reading.notes.append(f"{plural(uneven, 'class does', 'classes do')} not have {per_class} images.")
    return reading


def read_setid(images: list[str], listing: Listing) -> Reading:
    """Flowers 102: `imagelabels.mat` holds the class of image 1, 2 …, `setid.mat` the numbers in each split.

    The sets are taken as they are named, although the one for test is the largest.
    """
    labels = _of(listing, "labels")
    if not labels:
        raise DatasetError(f"{listing.name} holds no imagelabels.mat, which this layout reads the classes from.")
    splits = {number: split for name, split in _SPLITS.items() for number in _of(listing, name)}
    reading = Reading(used=set(listing.mats))
    for path in images:
        number = number_of(path)
        if number is not None and 1 <= number <= len(labels):
            reading.found[path] = Found(str(labels[number - 1]), splits.get(number, ""))
        else:
            reading.found[path] = Found("", reason="imagelabels.mat lists no image of its number.")
    missing = len(labels) - sum(bool(found.label) for found in reading.found.values())
    if missing > 0:
        reading.notes.append(f"imagelabels.mat lists {plural(missing, 'image')} more than there are.")
    return reading


def _of(listing: Listing, variable: str) -> list[int]:
    return next((mat[variable] for mat in listing.mats.values() if variable in mat), [])
