"""`data pool`: photos without a class beside a data set; a model says which to label first."""

import shlex
from typing import Annotated

import typer
from rich.text import Text

from learner.advice import pool as labelling
from learner.cli.data.printing import print_dataset
from learner.cli.data.showing import Name
from learner.cli.data.source_argument import arrived
from learner.cli.data.working import working_on
from learner.cli.printing import AsJson, out, print_json, table_of
from learner.datasets.importing import import_from
from learner.datasets.layouts import Choice
from learner.errors import DatasetError
from learner.jobs.process import use_patient_threads
from learner.store import Run, Store
from learner.terminal import progress_bar, showing_progress
from learner.wording import count, percent, percent_with_interval

commands = typer.Typer()
pool = typer.Typer(help="Photos without a class: add some, see which to label first, label them.", no_args_is_help=True)
commands.add_typer(pool, name="pool")

RunId = Annotated[int | None, typer.Option("--run", help="Whose model is asked; the newest run of the data set.")]
USUAL_NEXT = 20


@pool.command("add")
def add(
    name: Name,
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="A folder, an archive, an image or an http(s) address.")
    ],
    as_json: AsJson = False,
) -> None:
    """Add photos without classes, whatever their folders are called: the data set's next version."""
    store = Store()
    store.datasets.version(name)  # raises, naming the data sets that there are
    with showing_progress("Opening", as_json) as report, arrived(store.workspace, source, report) as arrival:
        note = " ".join(filter(None, ["Photos without a class.", arrival.origin]))
        choice = Choice("unlabelled")
        version = import_from(store, lambda: arrival.source, name, report, note=note, choice=choice, mode="add")
    waiting = len(labelling.pool_of(working_on(store, name).rows))
    if as_json:
        print_json({"name": name, "version": version.number, "pool": waiting})
        return
    print_dataset(store, version)
    out.print(
        f"{count(waiting, 'photo waits', 'photos wait')} for a class. Which to label first: python -m learner data "
        f"pool next {shlex.quote(name)}",
        markup=False,
    )


@pool.command("list")
def list_(name: Name, as_json: AsJson = False) -> None:
    """List the photos that wait for a class, and those labelled since the last save."""
    work = working_on(Store(), name)
    waiting = [row.path for row in labelling.pool_of(work.rows)]
    _, said = labelling.said_of(work.edits)
    if as_json:
        print_json({"name": name, "pool": waiting, "labels": said})
        return
    for path, label in said.items():
        out.print(f"{path}  {label or 'none of the classes'}", markup=False)
    for path in waiting:
        out.print(path, markup=False)
    out.print(f"{count(len(waiting), 'photo waits', 'photos wait')} for a class, {len(said):,} labelled and not saved.")


@pool.command("next")
def next_(
    name: Name,
    run: RunId = None,
    most: Annotated[int, typer.Option(min=1, help="How many to show.")] = USUAL_NEXT,
    as_json: AsJson = False,
) -> None:
    """Show the photos that a model would learn most from: it is unsure of them, and they are unlike each other."""
    store = Store()
    work = working_on(store, name)
    chosen = _run(store, name, run)
    order = labelling.read_order(labelling.order_file(store, chosen, name))
    if order is None:
        use_patient_threads()
        with progress_bar(transient=True, disabled=as_json) as bar:
            task = bar.add_task("Loading the model", total=None)
            from learner.advice.pool_order import order_pool

            order = order_pool(store, chosen.id, name, lambda text: bar.update(task, description=text))
    waiting = {row.path for row in labelling.pool_of(work.rows)}
    rows = [pair for pair in zip(order.paths, order.proposals, strict=True) if pair[0] in waiting][:most]
    if as_json:
        told = [
            {"path": path, "proposals": [dict(zip(("class", "probability"), one, strict=True)) for one in proposals]}
            for path, proposals in rows
        ]
        print_json({"name": name, "run": chosen.id, "pool": len(waiting), "photos": told})
        return
    table = table_of("Photo", "Perhaps", "How sure", "Else", right=["How sure"])
    for path, proposals in rows:
        other = f"{proposals[1][0]} {percent(proposals[1][1])}" if len(proposals) > 1 else ""
        table.add_row(Text(path), Text(proposals[0][0]), percent(proposals[0][1]), Text(other))
    out.print(table)
    out.print(f"{count(len(waiting), 'photo waits', 'photos wait')} for a class; run {chosen.id} was asked.")


@pool.command("label")
def label(
    name: Name,
    said: Annotated[str, typer.Argument(metavar="CLASS", help="Their class; `-` for none of the classes.")],
    paths: Annotated[list[str], typer.Argument(metavar="PATH...", help="Photos, as `next` names them.")],
    run: RunId = None,
) -> None:
    """Label photos: edits of the data set that wait to be saved. The labelled ones are learnt from."""
    _say(name, dict.fromkeys(paths, "" if said == "-" else said), run)


@pool.command("unlabel")
def unlabel(
    name: Name,
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH...", help="Photos that were labelled since the last save.")
    ],
) -> None:
    """Take labels back that are not saved yet."""
    _say(name, dict.fromkeys(paths, None), None)


@pool.command("growth")
def growth(name: Name, as_json: AsJson = False) -> None:
    """Show how the accuracy grew with the labelled photos, run by run."""
    store = Store()
    store.datasets.version(name)
    rows = labelling.growth(store, name)
    if as_json:
        print_json({"name": name, "runs": [vars(row) for row in rows]})
        return
    if not rows:
        out.print(f"No run on {name} has ended yet.", markup=False)
        return
    table = table_of("Learnt from", "Accuracy", "Run", "Version", right=["Learnt from", "Run", "Version"])
    for row in rows:
        table.add_row(
            count(row.train_images, "photo"),
            percent_with_interval(row.accuracy, row.interval),
            str(row.run),
            str(row.version),
        )
    out.print(table)


def _say(name: str, labels: dict[str, str | None], run: int | None) -> None:
    store = Store()
    store.datasets.version(name)
    runs = labelling.runs_for(store, name)
    chosen = _run(store, name, run) if run is not None else runs[0] if runs else None
    number = labelling.label(store, name, labels, chosen.id if chosen else None)
    told = f"{count(number, 'label')} not saved yet."
    if chosen is not None and number:
        told += f" Save them and train again: python -m learner results retrain {chosen.id}"
    out.print(told, markup=False)


def _run(store: Store, name: str, run: int | None) -> Run:
    """That run, or the newest one of the data set. Raises DatasetError where there is none."""
    runs = labelling.runs_for(store, name)
    found = next((one for one in runs if run in (None, one.id)), None)
    if found is None:
        wanted = f"Run {run} is no finished run on {name}." if run is not None else f"No run on {name} has finished."
        raise DatasetError(f"{wanted} A model has to be there that can say which photos it would learn most from.")
    return found
