"""Find the layouts that fit a listing, best first, each with the reason."""

from collections import defaultdict
from collections.abc import Iterator

from learner.datasets.layouts.choice import Choice, Proposal
from learner.datasets.layouts.folders import Parts, class_depth, flat_splits, meant_splits, split_folders
from learner.datasets.layouts.listed import guess_columns
from learner.datasets.layouts.listing import Listing
from learner.datasets.layouts.numbers import KNOWN_COUNTS, numbered_run, usual_count
from learner.datasets.layouts.patterns import INNERMOST_FOLDER, fitting_pattern
from learner.datasets.layouts.placing import images_of, summarized

UNLABELLED = 20.0
"""What bringing everything in without a class is rated; what is rated less is only offered."""
_PLAIN_FOLDERS = {
    "images", "image", "imgs", "img", "photos", "pictures", "pics", "data", "dataset", "files", "upload", "jpg", "jpeg",
    "png", "raw", "all", "new folder",
}  # fmt: skip
"""Folders that hold images of all sorts; none of them is a class."""


def recognise(listing: Listing) -> list[Proposal]:
    """Every layout that fits, best first; one of them brings all images in without a class.

    A layout counts for more the surer its signs are and the more images get a class by it. Raises DatasetError when
    there are no images.
    """
    images = images_of(listing)
    rated: list[tuple[float, Proposal]] = []
    for rate, choice in _candidates(listing, images):
        proposal = summarized(listing, images, choice)
        labelled = 1 - sum(proposal.counts.get("", {}).values()) / proposal.images
        if labelled:
            rated.append((rate * labelled, proposal))
    rated.append((UNLABELLED, summarized(listing, images, Choice("unlabelled"))))
    proposals: list[Proposal] = []
    for _, proposal in sorted(rated, key=lambda pair: -pair[0]):
        same = any((one.counts, one.examples) == (proposal.counts, proposal.examples) for one in proposals)
        if not same:  # `cats/cats_1.jpg` says it twice
            proposals.append(proposal)
    return proposals


def _candidates(listing: Listing, images: list[str]) -> Iterator[tuple[float, Choice]]:
    """Each layout with signs of it, and how sure those are, up to 100."""
    parts = [tuple(path.split("/")) for path in images]
    if any("labels" in mat for mat in listing.mats.values()):
        yield 100, Choice("setid")
    for path, table in listing.tables.items():
        choice, named = guess_columns(images, path, table)
        if choice:
            yield (90 if named else 55), choice
    if split_folders(parts).names:
        yield 85, Choice("splits")
    yield from _by_class_folders(parts)
    pattern = fitting_pattern(images, flat_splits(parts))
    if pattern:
        yield 60, Choice("names", pattern=pattern)
    run = numbered_run(images)
    if run > 1:
        yield (65 if run in KNOWN_COUNTS else UNLABELLED / 2), Choice("numbered", per_class=usual_count(run))


def _by_class_folders(images: list[Parts]) -> Iterator[tuple[float, Choice]]:
    depth = class_depth(images)
    inside = [parts[depth:] for parts in images if len(parts) > depth + 1]
    names = {parts[0] for parts in inside}
    if len(meant_splits(names)) > 1:
        yield UNLABELLED / 4, Choice("folders")
    elif len(names) > 1:
        yield 70, Choice("folders")
    elif names:
        plain = {name.lower() for name in names} <= _PLAIN_FOLDERS
        yield UNLABELLED * (0.2 if plain else 0.9), Choice("folders")
    if any(len(parts) > 2 for parts in inside):
        sure = _innermost_repeat(inside)
        yield (75 if sure else UNLABELLED / 2), Choice("names", pattern=INNERMOST_FOLDER)


def _innermost_repeat(inside: list[Parts]) -> bool:
    """Whether the same folders stand in several numbered ones: `site 1/cats`, `site 2/cats`."""
    around: dict[str, set[str]] = defaultdict(set)
    for parts in inside:
        if len(parts) < 3:
            return False
        around[parts[-2]].add(parts[0])
    numbered = all(any(map(str.isdigit, parts[0])) for parts in inside)
    words = not any(any(map(str.isdigit, name)) for name in around)
    return numbered and words and all(len(folders) > 1 for folders in around.values())
