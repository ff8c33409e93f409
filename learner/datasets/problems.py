"""Images that can be read and still cannot be used: duplicates, contradictions, classes that are too small."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from learner.datasets.names import natural_key, plural
from learner.errors import DatasetError

MIN_CLASSES = 2
MIN_IMAGES = 2
"""Readable images a class needs: one to learn from and one to check with."""

SetAsideRows = list[tuple[str, str]]
"""(path, reason) pairs."""


@dataclass(frozen=True)
class Taken:
    """An image that was decoded and copied; the columns of `store.Image`."""

    path: str
    file: str
    label: str
    split: str
    sha256: str
    width: int
    height: int
    group: str = ""
    weight: float | None = None
    excluded: bool = False
    reason: str = ""
    cluster: str = ""


def without_duplicates(images: list[Taken]) -> tuple[list[Taken], SetAsideRows]:
    """One image for each content. The same file under two classes is set aside everywhere: only a person knows which
    is right. Across splits the copy to learn from goes, since a model must not be checked on what it has learnt.
    """
    same: dict[str, list[Taken]] = defaultdict(list)
    for image in images:
        same[image.sha256].append(image)
    kept: list[Taken] = []
    set_aside: SetAsideRows = []
    for copies in same.values():
        if len({image.label for image in copies}) > 1:
            set_aside += [(image.path, _contradiction(image, copies)) for image in copies]
            continue
        first = min(copies, key=lambda image: ("test", "valid", "train", "").index(image.split))
        kept.append(first)
        set_aside += [(image.path, _duplicate(image, first)) for image in copies if image is not first]
    order = {image.path: place for place, image in enumerate(images)}
    return sorted(kept, key=lambda image: order[image.path]), sorted(set_aside, key=lambda row: order[row[0]])


def _contradiction(image: Taken, copies: list[Taken]) -> str:
    other = next(copy for copy in copies if copy.label != image.label)
    return f"The same image is also in class {other.label} ({other.path}). Keep it in the right one only."


def _duplicate(image: Taken, first: Taken) -> str:
    if image.split == first.split:
        return f"The same image as {first.path}, which was taken."
    return f"The same image as {first.path}: what is in {first.split} must not be in {image.split} too."


def without_small_classes(images: list[Taken]) -> tuple[list[Taken], SetAsideRows, list[str]]:
    """Drop what no model could learn: classes without training images, or with a single image.

    Returns what is left, what was set aside, and notes about classes that cannot be checked.
    """
    has_valid = any(image.split == "valid" for image in images)
    learnable = Counter(image.label for image in images if image.split in ("train", ""))
    checkable = Counter(image.label for image in images if image.split != "test")
    kept: list[Taken] = []
    set_aside: SetAsideRows = []
    for image in images:
        if not learnable[image.label]:
            set_aside.append((image.path, f"Class {image.label} has no images to learn from. Add some."))
        elif checkable[image.label] < MIN_IMAGES:
            set_aside.append((image.path, f"Class {image.label} has 1 image; a class needs {MIN_IMAGES}. Add more."))
        else:
            kept.append(image)
    notes = []
    if has_valid:
        checked = {image.label for image in kept if image.split == "valid"}
        unchecked = sorted({image.label for image in kept} - checked, key=natural_key)
        notes = [f"Without validation images: {', '.join(unchecked)}."] if unchecked else []
    return kept, set_aside, notes


def require_enough(kept: list[Taken], readable: Iterable[Taken], set_aside: SetAsideRows, source_name: str) -> None:
    """Raise DatasetError, with the counts, when fewer than two classes are left."""
    if len({image.label for image in kept}) >= MIN_CLASSES:
        return
    counts = Counter(image.label for image in readable)
    found = ", ".join(f"{label} {counts[label]:,}" for label in sorted(counts, key=natural_key)[:20]) or "none"
    aside = ""
    if set_aside:
        reason, times = Counter(reason for _, reason in set_aside).most_common(1)[0]
        aside = f" {plural(len(set_aside), 'file was', 'files were')} set aside, {times:,} because: {reason}"
    raise DatasetError(
        f"{source_name} cannot be used: a data set needs at least {MIN_CLASSES} classes with at least {MIN_IMAGES} "
        f"readable images each. Readable images by class: {found}.{aside} Add images, one folder a class, and import "
        "it again."
    )
