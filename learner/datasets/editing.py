"""Cleaning a data set: edits wait in a draft, can be undone, and become a new version when they are saved."""

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, Literal

from learner.datasets.exclusions import ImageRow
from learner.datasets.files import import_lock
from learner.datasets.finalizing import finalize_rows
from learner.datasets.grouping import bursts
from learner.datasets.layouts import groups_by_pattern
from learner.datasets.layouts.probabilities import renamed
from learner.datasets.names import joined, natural_key, plural, sentence
from learner.datasets.rows import fingerprint_of, rows_of
from learner.datasets.splits import Split
from learner.errors import DatasetError
from learner.store import Store, VersionInfo

MAX_LABEL_LENGTH = 100
SPLITS = ("", "train", "valid", "test")
SPLIT_NAMES = {"": "undecided", "train": "train", "valid": "valid", "test": "test"}
BY_HAND = "Set aside by hand."

Action = Literal["exclude", "include", "relabel", "rename", "move", "group", "give_up_test"]


@dataclass(frozen=True)
class Edit:
    """One change to some images or classes of a data set."""

    action: Action
    """`exclude` and `include` images, `relabel` images, `rename` classes (two into one merges them), `move` images to
    a split, declare images a `group`, `give_up_test`: the test images become undecided."""
    paths: tuple[str, ...] = ()
    """The images, by their paths."""
    to: str = ""
    """The new class, split or group; for `exclude` the reason."""
    classes: tuple[str, ...] = ()
    """The classes that `rename` changes."""
    each: tuple[str, ...] = ()
    """For `relabel`, `move` and `group`: one value for each path, instead of the same for all."""

    def in_words(self) -> str:
        """`3 images set aside`."""
        images = plural(len(self.paths), "image")
        if self.each and self.action == "move":
            sides = (f"{number:,} to {SPLIT_NAMES[split]}" for split, number in sorted(Counter(self.each).items()))
            return f"{images} moved, {joined(sides)}"
        if self.each:
            what = {"relabel": "relabelled", "group": "grouped"}[self.action]
            return f"{images} {what}, {plural(len(set(self.each)), 'value')}"
        if self.action == "rename":
            return (
                f"{joined(self.classes)} renamed to {self.to}"
                if len(self.classes) == 1
                else (f"{joined(self.classes)} merged into {self.to}")
            )
        return {
            "exclude": f"{images} set aside",
            "include": f"{images} taken back in",
            "relabel": f"{images} relabelled as {self.to}",
            "move": f"{images} moved to {SPLIT_NAMES.get(self.to, self.to)}",
            "group": f"{images} declared the group {self.to}" if self.to else f"{images} taken out of their groups",
            "give_up_test": "the test set given up",
        }[self.action]


@dataclass(frozen=True)
class Difference:
    """What changed from one version to another, by path."""

    added: list[str]
    removed: list[str]
    excluded: list[str]
    included: list[str]
    relabelled: dict[str, tuple[str, str]]
    """path → (class before, class after)."""
    moved: dict[str, tuple[str, str]]
    """path → (split before, split after)."""
    regrouped: list[str]
    reweighed: list[str]
    """Of the same class as before, with other probabilities or none."""

    def in_words(self) -> str:
        """`3 images set aside, 2 relabelled`, or `nothing changed`."""
        parts = [
            (self.added, "added"),
            (self.removed, "removed"),
            (self.excluded, "set aside"),
            (self.included, "taken back in"),
            (self.relabelled, "relabelled"),
            (self.moved, "moved to another split"),
            (self.regrouped, "given another group"),
            (self.reweighed, "given other probabilities"),
        ]
        said = [f"{len(some):,} {what}" for some, what in parts if some]
        return f"Images: {', '.join(said)}" if said else "Nothing changed"


def edits_of(store: Store, name: str) -> list[Edit]:
    """The edits that are not yet a version, oldest first."""
    return [edit_of(row) for row in store.datasets.draft(name).edits]


def undone_of(store: Store, name: str) -> list[Edit]:
    """The edits that were taken back, the one that `redo` would do last."""
    return [edit_of(row) for row in store.datasets.draft(name).undone]


def add_edit(store: Store, name: str, *edits: Edit) -> None:
    """Put `edits` behind the others of the draft of `name`, all or none; what was undone is forgotten.

    Raises DatasetError when one cannot be done, naming the reason; the draft is as it was then.
    """
    more = [tidy(edit) for edit in edits]
    edited(rows_of(store, store.datasets.version(name)), [*edits_of(store, name), *more])  # raises what saving would
    store.datasets.change_draft(name, lambda there, _: ([*there, *map(asdict, more)], []))


def undo(store: Store, name: str) -> None:
    """Take the last edit back. Does nothing where there is none."""
    store.datasets.change_draft(name, lambda edits, undone: (edits[:-1], [*undone, *edits[-1:]]))


def redo(store: Store, name: str) -> None:
    """Do again what `undo` took back last. Does nothing where there is nothing."""
    store.datasets.change_draft(name, lambda edits, undone: ([*edits, *undone[-1:]], undone[:-1]))


def discard(store: Store, name: str) -> None:
    """Take all edits back; `redo` does them again one by one."""
    store.datasets.change_draft(name, lambda edits, undone: ([], [*undone, *reversed(edits)]))


def edited(images: Sequence[ImageRow], edits: Iterable[Edit]) -> list[ImageRow]:
    """`images` after `edits`, in the same order. Raises DatasetError when one of them cannot be done."""
    rows = {image.path: image for image in images}
    for edit in edits:
        _apply(rows, edit)
    return list(rows.values())


def save(store: Store, name: str, note: str = "") -> VersionInfo:
    """Make the edits of `name` a new version and empty the draft; returns the newest version as it is without edits.

    Raises DatasetError when an import into `name` is under way.
    """
    with import_lock(store.workspace, name, wait=None) as alone:
        if not alone:
            raise DatasetError(f"{name} is being imported into. Save your edits when that has ended; they are kept.")
        draft = store.datasets.draft(name)
        newest = store.datasets.version(name)
        edits = [edit_of(row) for row in draft.edits]
        if not edits:
            return newest
        before = rows_of(store, newest)
        after = edited(before, edits)
        said = difference(before, after).in_words()
        version = _add_version(
            store, newest, after, " ".join(filter(None, [sentence(note), f"{said}."])), newest.number
        )
        done = len(draft.edits)
        store.datasets.change_draft(name, lambda edits, undone: (edits[done:], []))
    return version


def restore(store: Store, name: str, number: int) -> VersionInfo:
    """Make version `number` the newest again, as a version of its own; nothing in between is lost.

    The test set stays that of the newest version, if it has one: it outlives every version.

    Raises DatasetError when there is no such version, or there are edits that were not saved.
    """
    old = store.datasets.version(name, number)
    newest = store.datasets.version(name)
    if newest.number == number:
        return newest
    if store.datasets.draft(name).edits:
        raise DatasetError(f"{name} has edits that are not saved. Save or discard them, then restore version {number}.")
    rows = rows_of(store, old)
    tested = {row.sha256 for row in rows_of(store, newest) if row.split == "test"}
    note = f"Version {number} restored."
    if tested and tested != {row.sha256 for row in rows if row.split == "test"}:
        undecided = [replace(row, split="") if row.split == "test" else row for row in rows]
        rows = finalize_rows(undecided, tested, store.datasets.contents(old.id))
        note += " The test set stays as it was."
    return _add_version(store, newest, rows, note, number)


def difference(before: Sequence[ImageRow], after: Sequence[ImageRow]) -> Difference:
    """What changed between two lists of images of one data set."""
    old, new = ({image.path: image for image in images} for images in (before, after))
    both = [(old[path], new[path]) for path in old.keys() & new.keys()]
    both.sort(key=lambda pair: natural_key(pair[0].path))
    return Difference(
        added=sorted(new.keys() - old.keys(), key=natural_key),
        removed=sorted(old.keys() - new.keys(), key=natural_key),
        excluded=[b.path for a, b in both if b.excluded and not a.excluded],
        included=[b.path for a, b in both if a.excluded and not b.excluded],
        relabelled={b.path: (a.label, b.label) for a, b in both if a.label != b.label},
        moved={b.path: (a.split, b.split) for a, b in both if a.split != b.split},
        regrouped=[b.path for a, b in both if a.group != b.group],
        reweighed=[b.path for a, b in both if a.label == b.label and a.probabilities != b.probabilities],
    )


def _add_version(store: Store, newest: VersionInfo, rows: list[ImageRow], note: str, parent: int) -> VersionInfo:
    return store.datasets.add_version(
        newest.name,
        [vars(row) for row in rows],
        [(row.path, row.reason) for row in store.datasets.set_aside(newest.id)],
        note,
        fingerprint_of(rows),
        parent,
    )


def _apply(rows: dict[str, ImageRow], edit: Edit) -> None:
    change: Callable[[ImageRow], ImageRow]
    if edit.action == "rename":
        names = dict.fromkeys(edit.classes, edit.to)
        change = partial(_renamed, names=names)
        chosen = [row for row in rows.values() if names.keys() & {row.label, *(row.probabilities or ())}]
    elif edit.action == "give_up_test":
        change = partial(replace, split="")
        chosen = [row for row in rows.values() if row.split == "test"]
    else:
        chosen = [rows[path] for path in edit.paths if path in rows]
        change = _change(rows, edit, chosen)
    for row in chosen:
        rows[row.path] = change(row)


def _renamed(row: ImageRow, names: dict[str, str]) -> ImageRow:
    return replace(row, label=names.get(row.label, row.label), probabilities=renamed(row.probabilities, names))


def _change(rows: dict[str, ImageRow], edit: Edit, chosen: list[ImageRow]) -> Callable[[ImageRow], ImageRow]:
    value = dict(zip(edit.paths, edit.each or [edit.to] * len(edit.paths), strict=True))
    if edit.action == "exclude":
        return partial(replace, excluded=True, reason=edit.to or BY_HAND)
    if edit.action == "relabel":
        return lambda row: replace(row, label=value[row.path], probabilities=None, excluded=False, reason="")
    if edit.action == "group":
        return lambda row: replace(row, group=value[row.path])
    if edit.action == "include":
        unlabelled = [row.path for row in chosen if not row.label]
        if unlabelled:
            raise DatasetError(f"{unlabelled[0]} has no class yet. Give it one, which takes it in.")
        return partial(replace, excluded=False, reason="")
    leaving = [row for row in chosen if row.split == "test" and value[row.path] != "test"]
    if leaving:
        raise DatasetError(
            f"{leaving[0].path} is in the test set, which stays the same so that results compare. Give up the test set "
            "first, or set the image aside."
        )
    if "test" in value.values() and any(row.split == "test" and value.get(row.path) != "test" for row in rows.values()):
        raise DatasetError(
            "There is a test set already, and it stays the same so that results compare. Give it up first to make "
            "another."
        )
    return lambda row: replace(row, split=value[row.path])


def tidy(edit: Edit) -> Edit:
    """`edit` with tidy names. Raises DatasetError when it makes no sense whatever the images are."""
    if edit.action in ("relabel", "rename"):
        edit = replace(edit, to=_label(edit.to) if not edit.each else "", each=tuple(map(_label, edit.each)))
    if edit.action == "move" and (unknown := {edit.to, *edit.each} - set(SPLITS)):
        raise DatasetError(f"There is no split {unknown.pop()!r}. Use train, valid or test, or nothing for undecided.")
    if edit.action not in ("rename", "give_up_test") and not edit.paths:
        raise DatasetError("No image was chosen. Choose at least one.")
    if edit.action == "rename" and not edit.classes:
        raise DatasetError("No class was chosen. Choose at least one.")
    return edit


def _label(name: str) -> str:
    label = unicodedata.normalize("NFC", name).strip()
    if not label or not label.isprintable() or len(label) > MAX_LABEL_LENGTH:
        raise DatasetError(f"A class needs a name of 1 to {MAX_LABEL_LENGTH} printable characters, not {name!r}.")
    return label


def edit_of(row: dict[str, Any]) -> Edit:
    """An edit as a draft keeps it."""
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}
    return Edit(**values)


def declare_groups(store: Store, version: VersionInfo, rows: Sequence[ImageRow], pattern: str, seconds: float) -> Edit:
    """The edit that groups `rows` of `version` by a pattern in their paths or by the moment they were taken.

    See `Choice.group_pattern` and `Choice.group_seconds`. Raises DatasetError when both or none are given, the pattern
    cannot be read, or no image gets a group.
    """
    if bool(pattern) == bool(seconds):
        raise DatasetError("Say what tells the groups: a pattern in the path or a number of seconds, one of the two.")
    if pattern:
        groups = groups_by_pattern(pattern, [row.path for row in rows])
    else:
        shots = store.datasets.contents(version.id)
        groups = bursts({row.path: shots[row.sha256] for row in rows if row.sha256 in shots}, seconds)
    if not groups:
        raise DatasetError("That puts no image into a group. Try another pattern, or more seconds.")
    return Edit("group", tuple(groups), each=tuple(groups.values()))


def keep_split(split: Split) -> Edit:
    """The edit that writes both sides of `split` into the data set, so that no seed decides any more."""
    sides = {row.path: side for side in ("train", "valid") for row in getattr(split, side)}
    return Edit("move", tuple(sides), each=tuple(sides.values()))


def summary_of(edits: Sequence[Edit]) -> str:
    """`4 edits: 3 images set aside; 1 image relabelled as cat; …`, the last three told."""
    last = "; ".join(edit.in_words() for edit in edits[-3:])
    return f"{plural(len(edits), 'edit')}: {'… ' if len(edits) > 3 else ''}{last}"
