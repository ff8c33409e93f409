"""Regular expressions on paths, a person's or our own. None may run for long: a page waits for them."""

import time
from collections import Counter
from collections.abc import Iterator

from learner.datasets.layouts.choice import Found, Reading
from learner.datasets.layouts.folders import split_of
from learner.datasets.names import label_of, plural
from learner.errors import DatasetError

PATTERN_SECONDS = 2.0
"""All paths together. Milliseconds are usual; nested repeats may need more than a lifetime for one path."""
MAX_PATTERN_LENGTH = 500
UNFIT = "The pattern does not fit its name, so its class is not known."

NAME_THEN_NUMBER = r"([^/]+?)[ _.-]*\(?\d+\)?\.\w+$"
"""`great_pyrenees_12.jpg`, `cat.1.jpg`, `cat (1).jpg`"""
LAST_WORD = r"[_ -]([^/._ -]+)\.\w+$"
"""`CHNCXR_0001_0.png`"""
FIRST_WORD = r"(?:^|/)([^/._ -]+)[._ -][^/]+$"
"""`cat-7f3a.jpg`"""
INNERMOST_FOLDER = r"([^/]+)/[^/]+$"

_CAMERA_WORDS = {
    "img", "image", "images", "dsc", "dscf", "dscn", "dcim", "pxl", "photo", "photos", "pic", "picture", "p", "wp",
    "vid", "mvimg", "snap", "scan", "screenshot", "whatsapp", "file", "frame", "burst", "img_e", "edited", "copy",
}  # fmt: skip
"""What cameras and phones begin names with; none of them is a class."""
_CODES_AT_MOST = 20
"""Classes written as a number alone; more of them are counted, not classed."""


def searched(pattern: str, paths: list[str], what: str = "pattern", name: str = "label") -> Iterator[dict[str, str]]:
    """For each path the named groups of the first match; empty where the pattern does not fit.

    Where no group is called `name`, the first group without a name of its own is.

    Raises DatasetError when the pattern cannot be read, has no group, or takes too long.
    """
    import regex

    compiled, number = _compiled(pattern, what, name)
    until = time.monotonic() + PATTERN_SECONDS
    for path in paths:
        try:
            match = compiled.search(path, timeout=max(until - time.monotonic(), 1e-3))
        except TimeoutError as error:
            raise DatasetError(
                f"The {what} {pattern!r} takes too long, for example on {path}. Repeats within repeats, such as "
                "(a+)+, do that; write it without."
            ) from error
        except (regex.error, MemoryError, RecursionError) as error:
            raise DatasetError(f"The {what} {pattern!r} is too complicated. Write it more simply.") from error
        groups = {}
        if match:
            groups = {key: value for key, value in match.groupdict().items() if value}
            if match[number]:
                groups[name] = match[number]
        yield groups


def groups_by_pattern(pattern: str, paths: list[str]) -> dict[str, str]:
    """Path → what belongs together, for those that `Choice.group_pattern` fits; raises what `searched` raises."""
    every = zip(paths, searched(pattern, paths, "group pattern", "group"), strict=True)
    return {path: groups["group"] for path, groups in every if groups.get("group")}


def _compiled(pattern: str, what: str, name: str):
    """The compiled pattern and the number of the group that `searched` calls `name`."""
    import regex

    if len(pattern) > MAX_PATTERN_LENGTH:
        raise DatasetError(f"The {what} has {len(pattern):,} characters; at most {MAX_PATTERN_LENGTH} are read.")
    if not pattern:
        raise DatasetError(f"The {what} is empty. Write a regular expression with a group, such as {NAME_THEN_NUMBER}")
    try:
        compiled = regex.compile(pattern)
    except regex.error as error:
        place = "" if error.pos is None else f" at character {error.pos + 1}"
        raise DatasetError(f"The {what} {pattern!r} cannot be read{place}: {error.msg}.") from error
    except (OverflowError, MemoryError, RecursionError) as error:
        raise DatasetError(f"The {what} {pattern!r} is too complicated. Write it more simply.") from error
    unnamed = set(range(1, compiled.groups + 1)) - set(compiled.groupindex.values())
    number = compiled.groupindex.get(name) or min(unnamed, default=0)
    if not number:
        raise DatasetError(
            f"The {what} {pattern!r} has no group. Put round brackets around the part of the name that is the {name}."
        )
    return compiled, number


def read_names(images: list[str], pattern: str) -> Reading:
    """The class is what the pattern's group says, searched for in the whole path."""
    reading = Reading()
    unfit = []
    for path, groups in zip(images, searched(pattern, images), strict=True):
        if groups.get("label"):
            split = split_of(groups.get("split", ""))
            reading.found[path] = Found(label_of(groups["label"]), split, groups.get("group", ""))
        else:
            reading.found[path] = Found("", reason=UNFIT)
            unfit.append(path)
    if unfit:
        reading.notes.append(
            f"The pattern does not fit {plural(len(unfit), 'name')}, such as {unfit[0]}; "
            "those images come in without a class."
        )
    return reading


def fitting_pattern(images: list[str], split_names: dict[str, str]) -> str:
    """The pattern of our own that sorts these names into classes; empty when none does.

    `split_names` are folders (name → split) that the images lie directly in; their names are then read as the split.
    """
    if _classes(images, NAME_THEN_NUMBER):
        return _with_split(NAME_THEN_NUMBER, split_names)
    classes = {pattern: _classes(images, pattern) for pattern in (LAST_WORD, FIRST_WORD)}
    fitting = [pattern for pattern, count in classes.items() if count]
    return _with_split(min(fitting, key=classes.__getitem__), split_names) if fitting else ""


def _classes(images: list[str], pattern: str) -> int:
    """How many classes the pattern sorts these names into; 0 where what it finds cannot be classes."""
    labels = Counter(groups.get("label", "") for groups in searched(pattern, images))
    unfit = labels.pop("", 0)
    alone = sum(times == 1 for times in labels.values())
    if unfit > len(images) / 10 or not 2 <= len(labels) <= len(images) / 2 or alone > len(labels) / 5:
        return 0
    if not any(any(map(str.isalpha, label)) for label in labels):
        return len(labels) if pattern == LAST_WORD and len(labels) <= _CODES_AT_MOST else 0
    return 0 if all(_from_a_camera(label) for label in labels) else len(labels)


def _from_a_camera(label: str) -> bool:
    words = "".join(character if character.isalpha() else " " for character in label.casefold()).split()
    return all(word in _CAMERA_WORDS for word in words)


def _with_split(pattern: str, split_names: dict[str, str]) -> str:
    import regex

    if not split_names:
        return pattern
    names = "|".join(regex.escape(name, literal_spaces=True) for name in sorted(split_names))
    inside = {
        NAME_THEN_NUMBER: r"(?P<label>[^/]+?)[ _.-]*\(?\d+\)?\.\w+$",
        LAST_WORD: r"[^/]*[_ -](?P<label>[^/._ -]+)\.\w+$",
        FIRST_WORD: r"(?P<label>[^/._ -]+)[._ -][^/]+$",
    }
    return f"(?P<split>{names})/{inside[pattern]}"
