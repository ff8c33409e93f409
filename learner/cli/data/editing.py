"""`data edit`, `edits`, `undo`, `redo`, `discard`, `save`: cleaning. Edits wait in a draft that the page shows too."""

from collections.abc import Sequence
from dataclasses import asdict
from enum import StrEnum
from fnmatch import filter as fitting
from typing import Annotated

import typer
from typer.core import TyperGroup

from learner.cli.data.showing import Name
from learner.cli.data.working import Working, tell_how_to_save, working_on
from learner.cli.printing import AsJson, confirm, out, print_json
from learner.datasets import editing
from learner.datasets.editing import Edit, add_edit, declare_groups, edited, edits_of, undone_of
from learner.datasets.exclusions import ImageRow
from learner.errors import DatasetError
from learner.store import Store
from learner.wording import count

commands = typer.Typer()
edit = typer.Typer(
    help="Change a data set: set images aside, relabel, rename, move.",
    no_args_is_help=True,
    invoke_without_command=True,
)
commands.add_typer(edit, name="edit")

Paths = Annotated[
    list[str], typer.Argument(metavar="PATH...", help="Images by their paths, or patterns such as 'cat/*_1?.jpg'.")
]


class Side(StrEnum):
    """Where an image can be moved to."""

    TRAIN = "train"
    VALID = "valid"
    TEST = "test"
    UNDECIDED = "undecided"


@edit.callback()
def edit_(context: typer.Context, name: Name) -> None:
    """The name is looked up by each command, so that its --help needs no data set."""
    context.obj = name
    if context.invoked_subcommand is None:
        assert isinstance(context.command, TyperGroup)
        raise DatasetError(f"Say what to do with {name}: {', '.join(context.command.commands)}.")


@edit.command("exclude")
def exclude(
    context: typer.Context, paths: Paths, reason: Annotated[str, typer.Option(help="Why, a sentence.")] = ""
) -> None:
    """Set images aside: they are kept, but used for nothing."""
    work = _work(context)
    rows = [row for row in _chosen(work, paths) if not row.excluded]
    _edit(work, Edit("exclude", _paths(rows), to=reason))


@edit.command("include")
def include(context: typer.Context, paths: Paths) -> None:
    """Take images back in that were set aside."""
    work = _work(context)
    rows = [row for row in _chosen(work, paths) if row.excluded]
    _edit(work, Edit("include", _paths(rows)))


@edit.command("relabel")
def relabel(
    context: typer.Context,
    label: Annotated[str, typer.Argument(metavar="CLASS", help="Their class; a new name makes a new class.")],
    paths: Paths,
) -> None:
    """Give images another class, which takes them in, too."""
    work = _work(context)
    _edit(work, Edit("relabel", _paths(_chosen(work, paths)), to=label))


@edit.command("rename")
def rename(
    context: typer.Context,
    classes: Annotated[list[str], typer.Argument(metavar="CLASS...", help="The classes.")],
    to: Annotated[str, typer.Option(help="Their new name.")],
) -> None:
    """Rename a class, or merge several into one."""
    work = _work(context)
    there = {row.label for row in work.rows if row.label}
    for name in classes:
        if name not in there:
            raise DatasetError(f"There is no class {name!r}. There are: {', '.join(sorted(there))}.")
    _edit(work, Edit("rename", classes=tuple(classes), to=to))


@edit.command("move")
def move(
    context: typer.Context, split: Annotated[Side, typer.Argument(metavar="SPLIT", help="Where to.")], paths: Paths
) -> None:
    """Move images to train, valid or test, or leave them undecided for a recipe's seed."""
    to = "" if split is Side.UNDECIDED else str(split)
    work = _work(context)
    _edit(work, Edit("move", _paths(_chosen(work, paths)), to=to))


@edit.command("group")
def group(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="GROUP", help="Such as a patient or a burst.")],
    paths: Paths,
) -> None:
    """Declare that images belong together; they stay on one side of every split."""
    if not name.strip():
        raise DatasetError("A group needs a name. To take images out of their groups, use ungroup.")
    work = _work(context)
    _edit(work, Edit("group", _paths(_chosen(work, paths)), to=name.strip()))


@edit.command("group-by")
def group_by(
    context: typer.Context,
    pattern: Annotated[
        str, typer.Option(help="A regular expression for paths; its first group names what belongs together.")
    ] = "",
    seconds: Annotated[
        float, typer.Option(min=0, help="Photos of one camera within so many seconds of each other belong together.")
    ] = 0.0,
) -> None:
    """Declare groups by a pattern in the path, or by the moment a photo was taken."""
    if bool(pattern) == bool(seconds):
        raise DatasetError("Say what tells the groups: --pattern or --seconds, one of the two.")
    work = _work(context)
    _edit(work, declare_groups(work.store, work.version, work.rows, pattern, seconds))


@edit.command("ungroup")
def ungroup(context: typer.Context, paths: Paths) -> None:
    """Take images out of the groups they were declared to be in."""
    work = _work(context)
    _edit(work, Edit("group", _paths(_chosen(work, paths))))


@edit.command("give-up-test")
def give_up_test(
    context: typer.Context, yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False
) -> None:
    """Give the test set up: its images become undecided. Results before and after cannot be compared."""
    work = _work(context)
    number = sum(row.split == "test" for row in work.rows)
    if not number:
        raise DatasetError(f"{work.version.name} has no test set.")
    question = f"Give up the test set of {count(number, 'image')}?"
    if yes or confirm(question, "The test set stays"):
        _edit(work, Edit("give_up_test"))
    else:
        out.print("The test set stays.")


def _work(context: typer.Context) -> Working:
    return working_on(Store(), context.obj)


def _chosen(work: Working, patterns: Sequence[str]) -> list[ImageRow]:
    """The images with these paths, in the order they came in. Raises DatasetError for a pattern that fits none."""
    paths = {row.path for row in work.rows}
    chosen: set[str] = set()
    for pattern in patterns:
        found = {pattern} & paths or set(fitting(paths, pattern))
        if not found:
            raise DatasetError(
                f"{work.version.name} has no image {pattern!r}, and none fits it as a pattern. Paths look like "
                f"{work.rows[0].path}; `python -m learner data table` lists all."
            )
        chosen |= found
    return [row for row in work.rows if row.path in chosen]


def _paths(rows: Sequence[ImageRow]) -> tuple[str, ...]:
    return tuple(row.path for row in rows)


def _edit(work: Working, change: Edit) -> None:
    none_left = not change.paths and change.action not in ("rename", "give_up_test")
    if none_left or edited(work.rows, [change]) == work.rows:
        raise DatasetError("That would change nothing: it is so already.")
    add_edit(work.store, work.version.name, change)
    out.print(f"{change.in_words()}.", markup=False)
    tell_how_to_save(work.version.name)


# The draft


@commands.command("edits")
def edits(name: Name, as_json: AsJson = False) -> None:
    """List the edits that are not saved yet, oldest first."""
    store = Store()
    name = store.datasets.version(name).name
    waiting, undone = edits_of(store, name), undone_of(store, name)
    if as_json:
        print_json({"name": name, "edits": [*map(_edit_dict, waiting)], "undone": [*map(_edit_dict, undone)]})
        return
    if not waiting:
        out.print(f"{name} has no edits to save.", markup=False)
    for number, one in enumerate(waiting, start=1):
        out.print(f"{number}. {one.in_words()}", markup=False)
    if undone:
        out.print(f"Undone, and redo does it again: {undone[-1].in_words()}", markup=False)
    if waiting:
        tell_how_to_save(name)


def _edit_dict(one: Edit) -> dict:
    return asdict(one) | {"words": one.in_words()}


@commands.command("undo")
def undo(name: Name) -> None:
    """Take the last edit back."""
    _step(name, edits_of, editing.undo, "Undone")


@commands.command("redo")
def redo(name: Name) -> None:
    """Do again what undo took back last."""
    _step(name, undone_of, editing.redo, "Done again")


def _step(name: str, listed, change, done: str) -> None:
    store = Store()
    name = store.datasets.version(name).name
    there = listed(store, name)
    if not there:
        raise DatasetError(f"{name} has no edit that could be {done.lower()}.")
    change(store, name)
    out.print(f"{done}: {there[-1].in_words()}.", markup=False)


@commands.command("discard")
def discard(name: Name) -> None:
    """Take all edits back; redo does them again one by one."""
    store = Store()
    name = store.datasets.version(name).name
    number = len(edits_of(store, name))
    editing.discard(store, name)
    out.print(f"{count(number, 'edit')} undone." if number else f"{name} has no edits.", markup=False)


@commands.command("save")
def save(
    name: Name, note: Annotated[str, typer.Option(help="What you changed and why.")] = "", as_json: AsJson = False
) -> None:
    """Make the edits a new version; older ones stay as they are."""
    store = Store()
    name = store.datasets.version(name).name
    waited = bool(edits_of(store, name))
    version = editing.save(store, name, note)
    if as_json:
        print_json({"name": name, "version": version.number, "note": version.note, "saved": waited})
    elif waited:
        out.print(f"{name}, version {version.number}. {version.note}", markup=False)
    else:
        out.print(f"{name} has no edits to save; version {version.number} is the newest.", markup=False)
