"""`data list`, `show`, `versions`, `diff`, `restore`, `table`: what there is, and how it came to be so."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from learner.cli.data.printing import print_dataset, print_list, summary_dict
from learner.cli.printing import AsJson, out, print_json, table_of, write_csv
from learner.datasets import summarize
from learner.datasets.editing import SPLIT_NAMES, Difference, difference
from learner.datasets.editing import restore as restore_version
from learner.datasets.exclusions import ImageRow
from learner.datasets.names import natural_key
from learner.datasets.rows import COLUMNS, rows_of
from learner.errors import DatasetError
from learner.store import Store
from learner.wording import count

commands = typer.Typer()

Name = Annotated[str, typer.Argument(metavar="NAME", help="A data set's name.")]
Number = Annotated[int | None, typer.Option("--version", help="Its version; the newest when left out.")]


@commands.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the data sets."""
    store = Store()
    summaries = [summarize(store, store.datasets.version(name)) for name in store.datasets.names()]
    if as_json:
        print_json({"datasets": [summary_dict(summary) for summary in summaries]})
        return
    if not summaries:
        out.print("No data sets yet. Add one: python -m learner data add FOLDER_OR_ZIP --name NAME")
        return
    table = table_of("Name", "Version", "Images", "Classes", right=("Version", "Images", "Classes"))
    for summary in summaries:
        version = summary.version
        table.add_row(Text(version.name), str(version.number), f"{summary.images:,}", str(len(summary.classes)))
    out.print(table)


@commands.command("show")
def show(name: Name, version: Number = None, as_json: AsJson = False) -> None:
    """Show a data set: classes, splits, what is not used."""
    store = Store()
    info = store.datasets.version(name, version)
    if as_json:
        unused = [{"path": row.path, "reason": row.reason} for row in rows_of(store, info) if row.excluded]
        print_json(summary_dict(summarize(store, info)) | {"not_used": unused})
    else:
        print_dataset(store, info)


@commands.command("versions")
def versions(name: Name, as_json: AsJson = False) -> None:
    """List the versions of a data set, newest first."""
    store = Store()
    store.datasets.version(name)  # raises, naming the data sets that there are
    every = store.datasets.versions(name)
    if as_json:
        columns = ("number", "created_at", "parent", "note")
        print_json({"name": name, "versions": [{key: getattr(one, key) for key in columns} for one in every]})
        return
    table = table_of("Version", "Made", "From", "Note", right=("Version",))
    for one in every:
        made = datetime.fromtimestamp(one.created_at).strftime("%Y-%m-%d %H:%M")
        table.add_row(str(one.number), made, f"version {one.parent}" if one.parent else "import", Text(one.note))
    out.print(table, soft_wrap=False)


@commands.command("diff")
def diff(
    name: Name,
    old: Annotated[int | None, typer.Argument(metavar="[OLD]", help="The one that NEW was made from.")] = None,
    new: Annotated[int | None, typer.Argument(metavar="[NEW]", help="The newest.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say what changed from one version to another."""
    store = Store()
    after = store.datasets.version(name, new)
    if old is None and after.number == 1:
        raise DatasetError(f"{name} has one version, so there is nothing to compare it to.")
    before = store.datasets.version(name, old or after.parent or after.number - 1)
    changed = difference(rows_of(store, before), rows_of(store, after))
    if as_json:
        print_json({"name": name, "old": before.number, "new": after.number, **vars(changed)})
        return
    out.print(f"{name}, version {before.number} to {after.number}. {changed.in_words()}.", markup=False)
    for what, rows in _told(changed):
        if rows:
            print_list(f"{count(len(rows), 'image')} {what}:", rows)


def _told(changed: Difference) -> list[tuple[str, list[tuple[str, str]]]]:
    """What happened, and (path, detail) of the images that it happened to."""
    relabelled = [
        (path, f"{old or 'no class'} → {new or 'no class'}") for path, (old, new) in changed.relabelled.items()
    ]
    moved = [(path, f"{SPLIT_NAMES[old]} → {SPLIT_NAMES[new]}") for path, (old, new) in changed.moved.items()]
    return [
        ("added", [(path, "") for path in changed.added]),
        ("removed", [(path, "") for path in changed.removed]),
        ("set aside", [(path, "") for path in changed.excluded]),
        ("taken back in", [(path, "") for path in changed.included]),
        ("relabelled", relabelled),
        ("moved", moved),
        ("given another group", [(path, "") for path in changed.regrouped]),
        ("given other probabilities", [(path, "") for path in changed.reweighed]),
    ]


@commands.command("restore")
def restore(
    name: Name, version: Annotated[int, typer.Argument(metavar="VERSION", help="The one to bring back.")]
) -> None:
    """Bring an old version back, as a new one. Nothing in between is lost."""
    store = Store()
    newest = restore_version(store, name, version)
    if newest.number == version:
        out.print(f"Version {version} is the newest of {name} already.", markup=False)
    else:
        out.print(f"Version {version} of {name} is back, as version {newest.number}.", markup=False)


@commands.command("table")
def table(
    name: Name,
    to: Annotated[Path, typer.Argument(metavar="FILE.csv", help="The table to write.")],
    version: Number = None,
) -> None:
    """Write a table of all images. It has path, class, split, group, why one is not used, and more."""
    store = Store()
    rows = rows_of(store, store.datasets.version(name, version))
    plain = [column for column in COLUMNS if column != "probabilities"]
    classes = sorted({name for row in rows for name in row.probabilities or ()}, key=natural_key)
    headings = [*plain, *(f"probability:{name}" for name in classes)]  # as an import reads them
    write_csv(to, headings, ([*(getattr(row, column) for column in plain), *_chances(row, classes)] for row in rows))
    out.print(f"Wrote {count(len(rows), 'row')} to {to}", markup=False)


def _chances(row: ImageRow, classes: list[str]) -> list[float | str]:
    """The probability of each class; empty cells where the image's class is certain."""
    return [row.probabilities.get(name, 0.0) if row.probabilities else "" for name in classes]
