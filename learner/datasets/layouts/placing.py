"""Read a listing by a layout: which class, split and group each image has. Touches no disk."""

import unicodedata
from collections import Counter, defaultdict
from dataclasses import fields, replace

from learner.datasets.images import IMAGE_SUFFIXES
from learner.datasets.layouts.choice import Choice, Found, Layout, Placed, Proposal, Reading
from learner.datasets.layouts.descriptions import reason_for, title_of
from learner.datasets.layouts.folders import class_depth, read_folders, read_splits, split_folders
from learner.datasets.layouts.listed import read_listed
from learner.datasets.layouts.listing import Listing
from learner.datasets.layouts.numbers import read_numbered, read_setid
from learner.datasets.layouts.patterns import read_names, searched
from learner.datasets.layouts.probabilities import most_likely, renamed
from learner.datasets.names import alike_names, natural_key, suffix_of
from learner.datasets.sources import describe_kinds
from learner.errors import DatasetError

EXPECTED = (
    "Put the images of each class into one folder named after the class (photos/cats/1.jpg, photos/dogs/2.jpg), "
    "or make the folders train and valid, and test if you like, each with one folder a class inside "
    "(photos/train/cats/1.jpg, photos/valid/cats/2.jpg), and import it again."
)
MAX_LABEL_LENGTH = 100
_EXAMPLES = 3
_FOUND = [field.name for field in fields(Found)]


def place(listing: Listing, choice: Choice) -> Layout:
    """Where every image goes. Takes well under a second for 25,000 paths.

    Raises DatasetError when the choice cannot be used: a regular expression that cannot be read, a table or column that
    is not there, no images at all.
    """
    images = images_of(listing)
    reading = read(listing, images, resolved(listing, choice))
    top = _top(images, reading.around)
    placed = [
        Placed(source_path=path, path=path.removeprefix(top), **{one: getattr(found, one) for one in _FOUND})
        for path, found in reading.found.items()
    ]
    return Layout(
        placed=sorted(placed, key=lambda item: natural_key(item.path)),
        set_aside=[(path.removeprefix(top), reason) for path, reason in _set_aside(listing, images, reading)],
        notes=reading.notes,
    )


def preview(listing: Listing, choice: Choice) -> Proposal:
    """What `choice` would bring in, counted, with a title and a reason; raises what `place` raises."""
    return summarized(listing, images_of(listing), resolved(listing, choice))


def resolved(listing: Listing, choice: Choice) -> Choice:
    """The layout that `auto` stands for here, with the same classes and groups; any other as it is."""
    if choice.kind != "auto":
        return choice
    from learner.datasets.layouts.recognition import recognise  # which reads with each layout to find out what fits

    best = recognise(listing)[0].choice
    return replace(best, classes=choice.classes, group_pattern=choice.group_pattern, group_seconds=choice.group_seconds)


def summarized(listing: Listing, images: list[str], choice: Choice) -> Proposal:
    """`preview` of a choice that is not `auto`, for images that are known."""
    reading = read(listing, images, choice)
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    examples: dict[str, list[str]] = defaultdict(list)
    for path, found in reading.found.items():
        counts[found.label][found.split] += 1
        if len(examples[found.label]) < _EXAMPLES:
            examples[found.label].append(path)
    labels = sorted(counts, key=natural_key)
    aside = [*listing.set_aside, *_set_aside(listing, images, reading)]
    proposal = Proposal(
        choice=choice,
        title=title_of(choice),
        reason="",
        images=len(images),
        counts={label: dict(counts[label]) for label in labels},
        examples={label: examples[label] for label in labels},
        set_aside=dict(Counter(reason for _, reason in aside)),
        notes=reading.notes,
        merges=alike_names([label for label in labels if label]),
    )
    return replace(proposal, reason=reason_for(proposal, reading.seen))


def images_of(listing: Listing) -> list[str]:
    """The paths that are images by their names. Raises DatasetError when there are none."""
    images = [path for path in listing.paths if suffix_of(path) in IMAGE_SUFFIXES]
    if not images:
        found = describe_kinds(listing.paths) if listing.paths else "nothing"
        aside = f" {listing.set_aside[0][0]} was set aside: {listing.set_aside[0][1]}" if listing.set_aside else ""
        raise DatasetError(f"{listing.name} holds no images: {found} found.{aside} {EXPECTED}")
    return images


def read(listing: Listing, images: list[str], choice: Choice) -> Reading:
    """What `choice` says about each of `images`, with the classes renamed and the groups filled in."""
    reading = _read(listing, images, choice)
    too_long = {found.label for found in reading.found.values() if len(found.label) > MAX_LABEL_LENGTH}
    if too_long:
        reason = f"The name of its class is longer than {MAX_LABEL_LENGTH} characters."
        reading.found = {
            path: replace(found, label="", reason=reason) if found.label in too_long else found
            for path, found in reading.found.items()
        }
    if choice.classes:
        kept = {label: unicodedata.normalize("NFC", to).strip() for label, to in choice.classes.items()}
        reading.found = {path: _renamed(found, kept, choice) for path, found in reading.found.items()}
    if choice.group_pattern:
        groups = searched(choice.group_pattern, images, "group pattern", "group")
        for path, said in zip(images, groups, strict=True):
            found = reading.found[path]
            if said and not found.group:
                reading.found[path] = replace(found, group=said["group"])
    return reading


def _renamed(found: Found, names: dict[str, str], choice: Choice) -> Found:
    if not names.keys() & {found.label, *(found.probabilities or ())}:
        return found
    probabilities = renamed(found.probabilities, names)
    if probabilities and not choice.label_column:  # two classes together may be more likely than the one before
        return replace(found, label=most_likely(probabilities), probabilities=probabilities)
    return replace(found, label=names.get(found.label, found.label), probabilities=probabilities)


def _read(listing: Listing, images: list[str], choice: Choice) -> Reading:
    if choice.kind in ("folders", "splits"):
        parts = [tuple(path.split("/")) for path in images]
        if choice.kind == "folders":
            if all(len(path) == class_depth(parts) + 1 for path in parts):
                raise DatasetError(f"{listing.name} has no class folders: all its images lie in no folder. {EXPECTED}")
            return read_folders(parts)
        tree = split_folders(parts)
        if not tree.names:
            raise DatasetError(f"{listing.name} has no folders for training, validation and test. {EXPECTED}")
        return read_splits(parts, tree)
    if choice.kind == "names":
        return read_names(images, choice.pattern)
    if choice.kind == "numbered":
        return read_numbered(images, choice.per_class)
    if choice.kind == "setid":
        return read_setid(images, listing)
    if choice.kind == "table":
        return read_listed(images, listing, choice)
    return Reading(found={path: Found("") for path in images})


def _top(images: list[str], around: int | None) -> str:
    """The folders that lie around all images, `around` of them at most, as the beginning of every path."""
    first, last = (path.split("/")[:-1] for path in (min(images), max(images)))
    same = 0
    while same < min(len(first), len(last)) and first[same] == last[same]:
        same += 1
    return "".join(f"{part}/" for part in first[: same if around is None else min(same, around)])


def _set_aside(listing: Listing, images: list[str], reading: Reading) -> list[tuple[str, str]]:
    taken = {*images, *reading.used}
    others = [(path, _not_an_image(path)) for path in listing.paths if path not in taken]
    return others + reading.set_aside


def _not_an_image(path: str) -> str:
    suffix = suffix_of(path)
    if suffix in (".zip", ".7z", ".rar", ".tar", ".gz", ".tgz", ".bz2", ".xz"):
        return "It is an archive inside the source. Unpack it first."
    return f"It is not an image file ({suffix or 'no suffix'})."
