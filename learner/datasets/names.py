"""Names of data sets, classes and files: what is allowed, what is ignored, how they are ordered."""

import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from learner.errors import DatasetError
from learner.workspace import Workspace

T = TypeVar("T")

MAX_NAME_LENGTH = 80

_JOINERS = "\u200c\u200d"
"""Zero-width signs that Persian, Hindi and others cannot be spelt without."""
_IGNORED_FILES = {"thumbs.db", "desktop.ini", "icon\r"}
_IGNORED_FOLDERS = {"__macosx"}


def check_name(name: str) -> str:
    """The name of a data set as it is kept (trimmed, Unicode NFC). Raises DatasetError when it cannot be one."""
    kept = re.sub(" +", " ", unicodedata.normalize("NFC", name)).strip()
    way_out = (
        f"Use 1 to {MAX_NAME_LENGTH} letters or digits of any script; spaces, dots, hyphens and underscores "
        "may stand between them."
    )
    if not kept:
        raise DatasetError(f"A data set needs a name. {way_out}")
    if len(kept) > MAX_NAME_LENGTH:
        raise DatasetError(f"The data set name {kept[:20]!r}… is {len(kept)} characters long. {way_out}")
    wrong = sorted({character for character in kept if not _allowed(character)})
    if wrong:
        raise DatasetError(f"The data set name {kept!r} holds {' '.join(map(repr, wrong))}. {way_out}")
    if not any(character.isalnum() for character in kept):
        raise DatasetError(f"The data set name {kept!r} has no letter or digit. {way_out}")
    return kept


def _allowed(character: str) -> bool:
    # Marks (M) belong to the letters of many scripts: Hindi and Thai cannot be written without them.
    return character in " ._-" or unicodedata.category(character)[0] in "LMN"


def dataset_folder(workspace: Workspace, name: str) -> Path:
    """Where the files of a data set lie. Two names never share a folder, whatever the file system does with case."""
    return workspace.datasets / slug(name)


def slug(name: str) -> str:
    """A folder name a person can guess the data set from: ASCII letters, then a digest of the exact name."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    readable = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:40] or "dataset"
    return f"{readable}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"


def shown(path: str) -> str:
    """A path as a page can show it and a database can keep it: no control characters, no undecodable bytes."""
    clean = path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if clean.isprintable():
        return clean
    return "".join(
        character if character.isprintable() or character in _JOINERS else "\N{REPLACEMENT CHARACTER}"
        for character in clean
    )


def label_of(folder: str) -> str:
    """The class a folder stands for. NFC, because macOS writes é as two characters and others as one."""
    return unicodedata.normalize("NFC", folder).strip() or folder


def suffix_of(path: str) -> str:
    """`.jpg` for `photos/1.JPG`, as pathlib has it but many times faster; empty where there is none."""
    start, _, suffix = path.rpartition("/")[2].rpartition(".")
    return f".{suffix.lower()}" if start and suffix else ""


def is_ignored(path: str) -> bool:
    """Whether a relative path is a file that an operating system left behind: no one means it as data."""
    *folders, file = path.split("/")
    return (
        any(part.startswith(".") and part not in (".", "..") for part in (*folders, file))
        or any(folder.lower() in _IGNORED_FOLDERS for folder in folders)
        or file.lower() in _IGNORED_FILES
    )


def first_free(named: Callable[[int], T], taken: Callable[[T], bool]) -> T:
    """`named(1)`, or one of `named(2)`, `named(3)` … that is not taken, in few tries where many are.

    Where those that are taken have no gaps it is the first.
    """
    last, free = 0, 1
    while taken(named(free)):
        last, free = free, 2 * free
    while free - last > 1:
        middle = (last + free) // 2
        last, free = (middle, free) if taken(named(middle)) else (last, middle)
    return named(free)


def natural_key(text: str) -> tuple[list[tuple[str, int]], str]:
    """Sort key that puts `class 2` before `class 10` and does not mind case."""
    words_and_numbers = re.split(r"(\d+)", text.casefold())
    words, numbers = words_and_numbers[::2], [int(number) for number in words_and_numbers[1::2]]
    return list(zip(words, [*numbers, -1], strict=True)), text


def plural(count: int, one: str, many: str | None = None) -> str:
    """`1 image`, `2,000 images`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def joined(names: Iterable[str]) -> str:
    """`train, valid and test`, in the order given; empty for none."""
    *most, last = [*names] or [""]
    return f"{', '.join(most)} and {last}" if most else last


def sentence(text: str) -> str:
    """`text` in one line, with a full stop; empty text stays empty."""
    text = " ".join(text.split())
    return text if not text or text.endswith((".", "!", "?", "…")) else f"{text}."


def suggested_name(source_name: str) -> str:
    """A name for a data set that came from a file or folder of that name."""
    stem = re.sub(r"(\.(zip|tar|tgz|tbz2?|txz|gz|bz2|xz))+$", "", unicodedata.normalize("NFC", source_name), flags=re.I)
    kept = "".join(character if _allowed(character) else " " for character in stem)
    kept = re.sub(" +", " ", kept).strip()[:MAX_NAME_LENGTH].strip()
    return kept if any(character.isalnum() for character in kept) else "photos"


def alike_names(labels: Iterable[str]) -> list[list[str]]:
    """Groups of class names that differ only in case, spaces and signs between words, or the form of their letters."""
    alike: dict[str, list[str]] = {}
    for label in labels:
        plain = unicodedata.normalize("NFKC", label).casefold()
        letters = "".join(character for character in plain if character not in "_-" and not character.isspace())
        alike.setdefault(letters, []).append(label)
    return [names for names in alike.values() if len(names) > 1]
