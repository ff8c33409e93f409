"""What commands print: tables, lines, JSON. Results go to stdout, everything else to stderr."""

import csv
import json
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.prompt import Confirm
from rich.table import Table

from learner.errors import ThawError
from learner.evaluation.findings import findings, search_summary
from learner.recipe import Recipe
from learner.store import Run, Store
from learner.terminal import err
from learner.wording import count, duration, percent_with_interval

out = Console(highlight=False, soft_wrap=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout and nothing else there.")]


def check_target(path: Path) -> None:
    """Raise ThawError when the folder that `path` shall be written into is not there."""
    if not path.resolve().parent.is_dir():
        raise ThawError(f"The folder {path.resolve().parent} does not exist. Make it first, or name another.")


def write_csv(path: Path, headings: list[str], rows: Iterable[Iterable]) -> None:
    """Write a table in UTF-8. Raises ThawError when it cannot be written there."""
    with telling_about(path), path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([headings, *rows])


@contextmanager
def telling_about(path: Path) -> Iterator[None]:
    """Turn what goes wrong while `path` is written into a ThawError."""
    check_target(path)
    try:
        yield
    except OSError as error:
        raise ThawError(f"{path} cannot be written: {error.strerror or error}. Name another file or folder.") from error


def confirm(question: str, otherwise: str) -> bool:
    """Ask on the terminal; no by default. Raises ThawError, beginning with `otherwise`, when nobody answers."""
    try:
        return Confirm.ask(question, console=err, default=False)
    except EOFError:
        err.print()  # the question has no end of line
        raise ThawError(f"{otherwise}, because nobody answered. To be asked nothing: --yes") from None


def table_of(*headings: str, right: Iterable[str] = ()) -> Table:
    """An empty table; the columns named in `right` hold numbers."""
    table = Table(box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading, justify="right" if heading in right else "left")
    return table


def run_dict(store: Store, run: Run, whole: bool = False) -> dict[str, Any]:
    """What `--json` tells of a run; with `whole` also its recipe, facts, progress, epochs and result."""
    name, number = store.runs.dataset_of(run)
    columns = ("status", "reason", "created_at", "started_at", "finished_at", "best_accuracy", "best_epoch")
    values = {"run": run.id, "dataset": name, "version": number} | {key: getattr(run, key) for key in columns}
    if whole:
        from learner.evaluation.results import load_result

        figures = ("epoch", "phase", "train_loss", "valid_loss", "accuracy", "error_rate", "lrs", "seconds")
        values |= {
            "recipe": run.recipe,
            "facts": run.facts,
            "progress": run.progress,
            "epochs": [{key: getattr(epoch, key) for key in figures} for epoch in store.runs.epochs(run.id)],
            "result": load_result(store.run_folder(run.id)),
        }
    return values


def print_result(store: Store, run: Run) -> None:
    """Its accuracy with the interval, best epoch and time in one line; nothing where it has no result."""
    from learner.evaluation.results import load_result, refit_text

    result = load_result(store.run_folder(run.id))
    if result is not None:
        out.print(
            f"Accuracy {percent_with_interval(result['accuracy'], result['accuracy_interval'])} on "
            f"{count(result['images'], 'validation image')}, best checkpoint from epoch {run.best_epoch}; "
            f"took {took(run)}"
        )
        for text in (search_summary(run.facts), *run.facts.get("search", {}).get("reasons", []), refit_text(run.facts)):
            if text:
                out.print(text, markup=False)


def print_findings(store: Store, run: Run) -> None:
    """A line for each phase that solved its head or took the best point of its way."""
    phases = Recipe.from_dict(run.recipe_with_epochs).phases
    for index, told in findings(run, phases):
        out.print(f"{phases[index].name}: {told}", markup=False)


def took(run: Run) -> str:
    """`2 min 10 s`, until now where it has not ended; `–` before it has begun."""
    if run.started_at is None:
        return "–"
    return duration((run.finished_at or time.time()) - run.started_at)


def print_json(values: dict[str, Any]) -> None:
    """One line on stdout, and nothing else there."""
    print(json.dumps(values, ensure_ascii=False))
