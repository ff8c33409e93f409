"""Images that can be read and still cannot be used: duplicates, contradictions, no class, classes that are too small.

They become rows all the same, excluded with the reason, so that a person can put them right.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass, replace

from learner.datasets.names import natural_key
from learner.errors import DatasetError

MIN_IMAGES = 2
"""Readable images a class needs: one to learn from and one to check with."""
NO_CLASS = "It has no class yet."

SetAsideRows = list[tuple[str, str]]
"""(path, reason) pairs."""


@dataclass(frozen=True)
class ImageRow:
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
    probabilities: dict[str, float] | None = None


def exclude_doubtful(images: list[ImageRow]) -> list[ImageRow]:
    """`images` in the same order: those without a class excluded, and all but one of those with the same content.

    The same file under two classes is excluded everywhere: only a person knows which is right. Across splits the copy
    to learn from goes, since a model must not be checked on what it has learnt.
    """
    same: dict[str, list[ImageRow]] = defaultdict(list)
    for image in images:
        same[image.sha256].append(image)
    return [_judged(image, same[image.sha256]) for image in images]


def _judged(image: ImageRow, copies: list[ImageRow]) -> ImageRow:
    other = next((copy for copy in copies if image.label and copy.label not in ("", image.label)), None)
    if other:
        reason = f"The same image is also in class {other.label} ({other.path}). Keep it in the right one only."
        return replace(image, excluded=True, reason=reason)
    first = min(copies, key=lambda copy: (not copy.label, ("test", "valid", "train", "").index(copy.split)))
    if image is not first:
        return replace(image, excluded=True, reason=_duplicate(image, first))
    if not image.label:
        return replace(image, excluded=True, reason=image.reason or NO_CLASS)
    return image


def _duplicate(image: ImageRow, first: ImageRow) -> str:
    if image.split == first.split:
        return f"The same image as {first.path}, which is used."
    return f"The same image as {first.path}: what is in {first.split} must not be in {image.split or 'training'} too."


def exclude_small_classes(
    images: list[ImageRow], decided: frozenset[str] = frozenset()
) -> tuple[list[ImageRow], list[str]]:
    """`images` without what no model could learn: classes without training images, or with a single image.

    `decided` are paths of images that a person has looked at; they stay as they are. An image that was excluded for
    this reason comes back once there are enough. Returns notes about classes that cannot be checked, too.
    """
    waiting = {image.path for image in images if image.excluded and image.reason in _small(image.label)}
    images = [replace(image, excluded=False, reason="") if image.path in waiting else image for image in images]
    open_to_doubt = {image.path for image in images if not image.excluded} - (decided - waiting)
    used = [image for image in images if not image.excluded]
    learnable = Counter(image.label for image in used if image.split in ("train", ""))
    checkable = Counter(image.label for image in used if image.split != "test")
    kept: list[ImageRow] = []
    for image in images:
        untaught, single = _small(image.label)
        reason = ""
        if image.path in open_to_doubt:
            if not learnable[image.label]:
                reason = untaught
            elif checkable[image.label] < MIN_IMAGES:
                reason = single
        kept.append(replace(image, excluded=True, reason=reason) if reason else image)
    return kept, _unchecked([image for image in kept if not image.excluded])


def _small(label: str) -> tuple[str, str]:
    return (
        f"Class {label} has no images to learn from. Add some.",
        f"Class {label} has 1 image; a class needs {MIN_IMAGES}. Add more.",
    )


def _unchecked(used: list[ImageRow]) -> list[str]:
    checked = {image.label for image in used if image.split == "valid"}
    unchecked = sorted({image.label for image in used} - checked, key=natural_key)
    return [f"Without validation images: {', '.join(unchecked)}."] if checked and unchecked else []


def require_any(taken: list[ImageRow], set_aside: SetAsideRows, source_name: str) -> None:
    """Raise DatasetError, with the commonest reason, when not a single image could be read."""
    if taken:
        return
    reason, times = Counter(reason for _, reason in set_aside).most_common(1)[0]
    raise DatasetError(f"{source_name} cannot be used: none of its images can be read. {times:,} because: {reason}")
