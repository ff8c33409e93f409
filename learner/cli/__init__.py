"""`python -m learner …`: the same work as the pages, from a shell. Heavy modules load inside the commands."""

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from typer.exceptions import TyperException

from learner.cli.cache import cache
from learner.cli.data import data
from learner.cli.data.adding import import_path
from learner.cli.plans import foresee, plan_dict, print_expected_and_true, print_plan
from learner.cli.printing import (
    AsJson,
    RunBar,
    check_target,
    epoch_line,
    err,
    out,
    print_json,
    print_result,
    progress_bar,
    run_dict,
    table_of,
    took,
    write_csv,
)
from learner.errors import ModelError, RunError, ThawError
from learner.executors import PATIENT_THREADS, execute
from learner.recipe import Recipe, read_recipe
from learner.speed import RunPlan
from learner.store import Store
from learner.words import count, duration, file_size, percent

app = typer.Typer(
    help="Fine-tune image classifiers phase by phase.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
runs = typer.Typer(help="Runs: list, show, stop.")
app.add_typer(data, name="data")
app.add_typer(runs, name="runs")
app.add_typer(cache, name="cache")


class ExportFormat(StrEnum):
    LEARNER = "learner"
    SAFETENSORS = "safetensors"


def main() -> None:
    """Run a command; an error that a person can put right is one line on stderr and exit code 2."""
    warnings.filterwarnings("ignore", ".torch.jit.script.", FutureWarning)  # fastai's, and no concern of a person's
    try:
        code = app(prog_name="python -m learner", standalone_mode=False)
    except (ThawError, TyperException) as error:
        text = error.format_message() if isinstance(error, TyperException) else str(error)  # names the option
        err.print(f"Error: {' '.join(text.split())}", markup=False)
        sys.exit(2)
    sys.exit(code if isinstance(code, int) else 0)


# Training


@app.command()
def train(
    dataset: Annotated[str, typer.Option(help="A data set's name, or a folder or archive, which is added first.")],
    recipe: Annotated[str, typer.Option(help="A shipped recipe's name, or a YAML file.")] = "default",
    model: Annotated[Path | None, typer.Option(help="Write the trained model here as a learner.pkl.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Change the recipe: key=value, e.g. phases.0.epochs=3.")
    ] = None,
    queue: Annotated[bool, typer.Option("--queue", help="Leave it to a worker instead of training here.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would cost, and train nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Train a model: here and now, or with --queue by a worker."""
    if dry_run and (queue or model):
        raise ThawError("--dry-run trains nothing, so it goes with neither --queue nor --model.")
    if queue and model:
        raise ThawError("--model needs the run to be done: with --queue, export it later with `learner export`.")
    if model is not None:
        check_target(model)
    read_recipe(recipe, dataset, set_)  # mistakes are told before any image is read
    store = Store()
    plan = read_recipe(recipe, _dataset_name(store, dataset, quiet=as_json), set_)
    if dry_run:
        foreseen = foresee(store, plan, quiet=as_json)
        if as_json:
            print_json(plan_dict(*foreseen))
        else:
            print_plan(*foreseen)
        return
    run_id = store.submit(plan, running=not queue)
    if queue:
        if as_json:
            print_json({"run": run_id, "status": "queued"})
            return
        out.print(f"Run {run_id} is queued. Watch it: python -m learner runs show {run_id}")
        if not store.runs.workers():
            err.print("No worker is running. Start one: python -m learner worker")
        return
    status = _train_here(store, run_id, plan, quiet=as_json)
    run = store.runs.get(run_id)
    if status == "failed":
        raise RunError(f"Run {run_id} failed. {run.reason}")
    written = _export(store, run_id, ExportFormat.LEARNER, model) if model is not None else None
    if as_json:
        print_json(run_dict(store, run, whole=True) | {"model": str(written) if written else None})
        return
    print_result(store, run)
    if written:
        out.print(f"Model: {written} ({file_size(written.stat().st_size)})", markup=False)


@runs.callback(invoke_without_command=True)
def runs_list(context: typer.Context, as_json: AsJson = False) -> None:
    """List the runs, newest first."""
    if context.invoked_subcommand is not None:
        return
    store = Store()
    store.runs.requeue_silent()
    every = store.runs.all()
    if as_json:
        print_json({"runs": [run_dict(store, run) for run in every]})
        return
    if not every:
        out.print("No runs yet. Start one: python -m learner train --dataset NAME")
        return
    table = table_of("Run", "Status", "Data set", "Best accuracy", "Took", right=("Run", "Best accuracy", "Took"))
    for run in every:
        name, number = store.runs.dataset_of(run)
        best = percent(run.best_accuracy) if run.best_accuracy is not None else "–"
        table.add_row(str(run.id), run.status, f"{name} (version {number})", best, took(run))
    out.print(table)


@runs.command("show")
def runs_show(run_id: Annotated[int, typer.Argument(metavar="ID")], as_json: AsJson = False) -> None:
    """Show a run: its status, every epoch and its result."""
    store = Store()
    store.runs.requeue_silent()
    run = store.runs.get(run_id)
    if as_json:
        print_json(run_dict(store, run, whole=True))
        return
    name, number = store.runs.dataset_of(run)
    out.print(f"Run {run.id}: {run.status}, data set {name} (version {number})", markup=False)
    if run.reason:
        out.print(run.reason, markup=False)
    if run.facts:
        out.print(f"{run.facts['backbone']} at {run.facts['image_size']} px on {run.facts['device']}", markup=False)
        weights = run.facts["weights"]
        out.print(" ".join([weights["reason"], *(f"({place})" for place in weights["tried"])]), markup=False)
    if run.status == "running":
        left = run.progress.get("seconds_left")
        out.print(
            f"{run.progress.get('message', 'Starting')}, {percent(run.progress.get('done', 0))} done"
            + (f", {duration(left)} left" if left is not None else "")
        )
    phases = Recipe.from_dict(run.recipe).phases
    for epoch in store.runs.epochs(run_id):
        out.print(epoch_line(epoch.__dict__, phases[epoch.phase].name), markup=False)
    if cost := RunPlan.from_facts(run.facts):
        print_expected_and_true(cost, finished=run.status == "finished")
    if run.status in ("finished", "stopped"):
        print_result(store, run)


@runs.command("stop")
def runs_stop(run_id: Annotated[int, typer.Argument(metavar="ID")]) -> None:
    """Stop a run; what it has learnt so far is kept."""
    status = Store().runs.ask(run_id, "stop")
    out.print(
        f"Run {run_id} was taken out of the queue."
        if status == "stopped"
        else f"Run {run_id} stops after checking what it has learnt so far."
    )


# Models


@app.command()
def predict(
    model: Annotated[str, typer.Argument(help="A run's id or an exported model.safetensors.")],
    images: Annotated[list[Path], typer.Argument(help="Images, or folders of images.", metavar="IMAGE_OR_FOLDER...")],
    top_k: Annotated[int, typer.Option(min=1, help="How many classes to show.")] = 3,
    csv_file: Annotated[Path | None, typer.Option("--csv", help="Write a table here.")] = None,
    as_json: AsJson = False,
    trust_pickle: Annotated[bool, typer.Option(help="Open a learner.pkl, which can run any program.")] = False,
) -> None:
    """Say what is on images."""
    from learner.images import IMAGE_SUFFIXES

    paths = list(_image_files(images, IMAGE_SUFFIXES))
    if csv_file is not None:
        check_target(csv_file)

    from learner.inference import Predictor

    predictor = Predictor.open(model, Store(), trust_pickle)
    rows = []
    with progress_bar(transient=True, disabled=len(paths) < 2) as bar:
        task = bar.add_task("Predicting", total=len(paths))
        for prediction in predictor.predict(paths, top_k):
            bar.advance(task)
            rows.append(prediction)
            if not as_json and csv_file is None:
                answer = ", ".join(
                    f"{name} {percent(p)}" for name, p in zip(prediction.classes, prediction.probs, strict=True)
                )
                out.print(f"{prediction.source}: {answer or 'not read. ' + prediction.error}", markup=False)
    if csv_file is not None:
        write_csv(csv_file, *_answers(rows, min(top_k, len(predictor.spec.classes))))
        if not as_json:
            out.print(f"Wrote {count(len(rows), 'row')} to {csv_file}", markup=False)
    if as_json:
        print_json({"model": model, "predictions": [asdict(row) | {"source": str(row.source)} for row in rows]})
    unread = sum(bool(row.error) for row in rows)
    if unread == len(rows):
        raise ModelError(f"None of the {count(unread, 'file')} could be read as an image.")
    if unread:
        err.print(f"{count(unread, 'file')} could not be read; the output says why.")


@app.command()
def export(
    run: Annotated[int, typer.Argument(metavar="RUN", help="A run's id.")],
    to: Annotated[Path, typer.Option("--to", help="A file, or a folder to put it in.")],
    format_: Annotated[ExportFormat, typer.Option("--format", help="What to write.")] = ExportFormat.LEARNER,
) -> None:
    """Write a run's model: learner.pkl for plain fastai, or safetensors with its model.json."""
    check_target(to)
    written = _export(Store(), run, format_, to)
    out.print(f"{written} ({file_size(written.stat().st_size)})", markup=False)


@app.command()
def worker() -> None:
    """Train queued runs, one after another, until Ctrl-C."""
    from learner.worker import main as work

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    work()


# Helpers


def _answers(rows: list, ranks: int) -> tuple[list[str], list[list]]:
    """Headings and rows of a table of predictions, `ranks` classes and probabilities a row."""
    headings = [f"{what}_{rank}" for rank in range(1, ranks + 1) for what in ("class", "prob")]
    table = []
    for row in rows:
        cells = [cell for pair in zip(row.classes, row.probs, strict=True) for cell in pair]
        table.append([row.source, *cells, *[""] * (2 * ranks - len(cells)), row.error])
    return ["file", *headings, "error"], table


def _dataset_name(store: Store, dataset: str, quiet: bool) -> str:
    """The data set of that name; else the folder or archive of that path, imported under its own name."""
    if dataset in store.datasets.names():
        return dataset
    path = Path(dataset)
    if not path.exists():
        store.datasets.version(dataset)  # raises, naming the data sets that there are
    return import_path(store, path, quiet).name


def _train_here(store: Store, run_id: int, recipe: Recipe, quiet: bool) -> str:
    os.environ.update({**PATIENT_THREADS, **os.environ})  # before torch is loaded; a person's own setting stays
    folder = store.workspace.run_folder(run_id)
    folder.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(filename=folder / "log.txt", level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    with progress_bar(disabled=quiet) as bar:
        task = bar.add_task(f"Run {run_id}", total=1.0)
        try:
            return execute(store, run_id, RunBar(bar, task, recipe))
        except KeyboardInterrupt:
            bar.stop()
            store.runs.end(run_id, "interrupted", "It was interrupted before training began.")  # unless it has ended
            learnt = f"Export what run {run_id} has learnt: python -m learner export {run_id} --to ."
            kept = store.workspace.checkpoint(run_id).exists()
            err.print(f"Interrupted. {learnt if kept else 'Nothing was learnt yet.'}")
            raise


def _export(store: Store, run_id: int, format_: ExportFormat, target: Path) -> Path:
    checkpoint = store.checkpoint(run_id)
    from learner.export import export_learner, export_safetensors

    return (export_learner if format_ is ExportFormat.LEARNER else export_safetensors)(checkpoint, target)


def _image_files(paths: list[Path], suffixes) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            found = sorted(p for p in path.rglob("*") if p.suffix.lower() in suffixes and p.is_file())
            if not found:
                raise ModelError(f"There are no images in {path}.")
            yield from found
        elif path.exists():
            yield path
        else:
            raise ModelError(f"There is no file or folder {path}.")
