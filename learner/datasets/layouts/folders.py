"""Layouts that folders tell: one folder a class, and folders for training, validation and test around or inside those.

Paths are tuples of parts here; the last part is the file.
"""

import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from functools import lru_cache

from learner.datasets.layouts.choice import Found, Reading
from learner.datasets.names import joined, label_of, plural

Parts = tuple[str, ...]

SPLIT_WORDS = {
    **dict.fromkeys(("train", "training", "trn", "tr", "trainset", "trainingset"), "train"),
    **dict.fromkeys(("valid", "validation", "val", "dev", "eval", "evaluation", "valset", "validationset"), "valid"),
    **dict.fromkeys(("test", "testing", "tst", "testset", "holdout"), "test"),
}
"""Names in lower case, without the signs between their words, and the split they stand for."""
_ENDINGS = ("sep", "set", "split", "data", "images", "imgs", "folder", "dir", "out")
"""Words that say nothing more when they follow one of those: `train_sep`, `Validation Set`."""
_TOO_SHORT = {"tr", "dev", "eval", "tst", "trn"}
"""Words that mean a split only beside another one, and never within a longer name: `tr` may well be Turkish."""


@lru_cache(10_000)
def split_of(name: str) -> str:
    """`train`, `valid` or `test` for a name that means just that, such as `Training`, `val` or `test_set`; or empty."""
    words = _words(name)
    if len(words) == 2 and words[1] in _ENDINGS:
        words = words[:1]
    return SPLIT_WORDS.get("".join(words), "")


def _words(name: str) -> list[str]:
    """`TrainImages_2017` is train, images, 2017."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return [word.lower() for word in re.findall(r"[^\W\d_]+|\d+", apart)]


@lru_cache(10_000)
def _affixed(name: str) -> tuple[str, str]:
    """The split that one word of a longer name means, and the rest of the name; both empty unless there is one."""
    words = _words(name)
    meant = [word for word in words if word in SPLIT_WORDS and word not in _TOO_SHORT]
    if len(meant) != 1:
        return "", ""
    return SPLIT_WORDS[meant[0]], " ".join(word for word in words if word != meant[0])


@dataclass
class SplitFolders:
    """Where a pile of images keeps its splits."""

    around: dict[Parts, str] = field(default_factory=dict)
    """Folder → split, where class folders (or images without a class) lie inside: `photos/train/cats/1.jpg`."""
    inside: dict[Parts, str] = field(default_factory=dict)
    """Folder → split, where it lies in a class folder: `photos/cats/test/1.jpg`. Only one of the two is filled."""

    @property
    def names(self) -> list[str]:
        """The folders' own names, each once."""
        return sorted({folder[-1] for folder in self.around or self.inside})

    @property
    def splits(self) -> set[str]:
        return set((self.around or self.inside).values())

    def around_of(self, parts: Parts) -> Parts | None:
        """The split folder around an image."""
        return next((parts[:end] for end in range(1, len(parts)) if parts[:end] in self.around), None)


def split_folders(images: list[Parts]) -> SplitFolders:
    """The folders that mean a split; a folder counts only where its place shows it, for `train` may also be a class."""
    folders = _folders_with_images(images)
    children: dict[Parts, set[str]] = defaultdict(set)
    for folder in folders:
        if folder:
            children[folder[:-1]].add(folder[-1])
    named: dict[Parts, str] = {}
    for parent, names in sorted(children.items(), key=lambda item: len(item[0])):
        if not any(parent[:end] in named for end in range(1, len(parent) + 1)):
            named |= {(*parent, name): split for name, split in meant_splits(names).items()}

    around = {folder: split for folder, split in named.items() if folder in children}
    parents = {folder[:-1] for folder in named if folder not in children}
    holds_everything = len(around) == 1 and all(parts[: len(folder)] == folder for parts in images for folder in around)
    if around and not holds_everything and (len(set(named.values())) > 1 or "train" in around.values()):
        siblings = {folder[:-1] for folder in around}
        flat = {folder: split for folder, split in named.items() if folder[:-1] in siblings}
        return SplitFolders(around=around | flat)
    if len(parents) > 1 and () not in parents and len({len(parent) for parent in parents}) == 1:
        return SplitFolders(inside={folder: split for folder, split in named.items() if folder[:-1] in parents})
    return SplitFolders()


def flat_splits(images: list[Parts]) -> dict[str, str]:
    """Folder name → split, where all images lie directly in such folders: `train/cat_1.jpg`, `test/cat_2.jpg`."""
    names = {parts[-2] if len(parts) > 1 else "" for parts in images}
    meant = meant_splits(names)
    return meant if len(meant) == len(names) and {"train"} < set(meant.values()) else {}


def _folders_with_images(images: list[Parts]) -> set[Parts]:
    """Every folder that holds images, and those around it."""
    found: set[Parts] = set()
    for folder in {parts[:-1] for parts in images}:
        while folder not in found:
            found.add(folder)
            folder = folder[:-1]
    return found


def meant_splits(names: set[str]) -> dict[str, str]:
    """Which of the folders beside each other mean a split.

    Longer names count when the same name stands there for two splits: `seg_train` and `seg_test`, but not
    `bullet train` and `test tube`.
    """
    meant = {name: split for name in names if (split := split_of(name))}
    if len(set(meant.values())) == 1:
        meant = {name: split for name, split in meant.items() if name.lower() not in _TOO_SHORT}
    alike: dict[str, dict[str, str]] = defaultdict(dict)
    for name in names - meant.keys():
        split, rest = _affixed(name)
        if split:
            alike[rest][name] = split
    for some in alike.values():
        if {"train"} < set(some.values()):
            meant |= some
    return meant


def class_depth(images: list[Parts]) -> int:
    """How many folders lie around the class folders. Loose files beside a lone folder do not hide what is in it."""
    depth = 0
    while True:
        here = [parts for parts in images if len(parts) > depth]
        loose = sum(len(parts) == depth + 1 for parts in here)
        names = {parts[depth] for parts in here if len(parts) > depth + 1}
        deeper = sum(len(parts) > depth + 2 for parts in here)
        if len(names) != 1 or loose * 2 >= deeper:
            return depth
        depth += 1


def read_folders(images: list[Parts]) -> Reading:
    """One folder a class; folders inside a class folder belong to it."""
    depth = class_depth(images)
    reading = Reading(around=depth)
    for parts in images:
        label = label_of(parts[depth]) if len(parts) > depth + 1 else ""
        reason = "" if label else "It lies beside the class folders, so its class is not known."
        reading.found["/".join(parts)] = Found(label, reason=reason)
    return reading


def read_splits(images: list[Parts], tree: SplitFolders) -> Reading:
    """Class folders with split folders around or inside them."""
    if tree.inside:
        return _read_inside(images, tree)
    seen = f"{plural(len(tree.names), 'folder')} ({', '.join(tree.names)}) around the class folders"
    reading = Reading(around=min(len(folder) for folder in tree.around) - 1, seen=seen)
    rests = {parts: _rest(parts, folder) for parts in images if (folder := tree.around_of(parts))}
    depth = class_depth([rest for rest in rests.values() if len(rest) > 1])
    for parts in images:
        rest, folder = rests.get(parts), tree.around_of(parts)
        if rest is None or folder is None:
            found = Found("", reason=f"It lies beside {joined(tree.names)}, so its class and its split are not known.")
        elif len(rest) < depth + 2:
            found = Found(
                "", tree.around[folder], reason=f"It lies directly in {parts[-2]}, so its class is not known."
            )
        else:
            found = Found(label_of(rest[depth]), tree.around[folder])
        reading.found["/".join(parts)] = found
    if "train" not in tree.splits:
        reading.notes.append(
            "It has no train folder, so there is nothing to learn from yet. Move some images to train."
        )
    doubles = Counter((folder[:-1], split) for folder, split in tree.around.items())
    for (parent, split), times in doubles.items():
        if times > 1:
            same = [folder[-1] for folder, what in tree.around.items() if folder[:-1] == parent and what == split]
            reading.notes.append(f"The folders {joined(sorted(same))} both count as {split}.")
    return reading


def _rest(parts: Parts, folder: Parts) -> Parts:
    """What follows the split folder, and another of the same split in it: `seg_train/seg_train/cats/1.jpg`."""
    start = len(folder)
    split = split_of(folder[-1]) or _affixed(folder[-1])[0]
    while start < len(parts) - 1 and split in (split_of(parts[start]), _affixed(parts[start])[0]):
        start += 1
    return parts[start:]


def _read_inside(images: list[Parts], tree: SplitFolders) -> Reading:
    depth = len(next(iter(tree.inside))) - 2
    others = "" if "train" in tree.splits else "train"
    seen = f"{plural(len(tree.names), 'folder')} ({', '.join(tree.names)}) inside the class folders"
    reading = Reading(around=depth, seen=seen + (" and all that lies beside" if others else ""))
    for parts in images:
        if len(parts) < depth + 2:
            found = Found("", reason="It lies beside the class folders, so its class is not known.")
        else:
            found = Found(label_of(parts[depth]), tree.inside.get(parts[: depth + 2], others))
        reading.found["/".join(parts)] = found
    return reading
