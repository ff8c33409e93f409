"""What commands print: tables, lines, JSON, progress bars. Results go to stdout, everything else to stderr."""

import csv
import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.table import Table
from rich.text import Text

from learner.progress import Listener
from learner.progress import Progress as RunProgress
from learner.recipe import Recipe
from learner.store import Run, Store, VersionInfo
from learner.words import count, duration, percent, percent_with_interval

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout and nothing else there.")]


class TimeLeft(ProgressColumn):
    """What the run itself expects, which knows that later phases are slower."""

    def render(self, task: Task) -> Text:
        left = task.fields.get("seconds_left")
        return Text(f"{duration(left)} left" if left is not None else "", style="cyan")


def progress_bar(transient: bool = False, disabled: bool = False) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"), TimeLeft())
    return Progress(*columns, console=err, transient=transient, disable=disabled or not err.is_terminal)


class RunBar(Listener):
    """Shows a run that trains here: a bar with time left, and a line an epoch."""

    def __init__(self, bar: Progress, task: int, recipe: Recipe):
        self._bar, self._task, self._recipe = bar, task, recipe

    def on_progress(self, progress: RunProgress) -> None:
        self._bar.update(
            self._task, description=progress.message, completed=progress.done, seconds_left=progress.seconds_left
        )

    def on_epoch(self, figures: dict[str, Any], is_best: bool) -> None:
        line = epoch_line(figures, self._recipe.phases[figures["phase"]].name)
        self._bar.console.print(line + (" best so far" if is_best else ""), markup=False)


def write_csv(path: Path, rows: list, columns: int) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        ranks = range(1, columns + 1)
        writer.writerow(["file", *(f"{what}_{rank}" for rank in ranks for what in ("class", "prob")), "error"])
        for row in rows:
            cells = [cell for pair in zip(row.classes, row.probs, strict=True) for cell in pair]
            writer.writerow([row.source, *cells, *[""] * (2 * columns - len(cells)), row.error])


def print_dataset(store: Store, version: VersionInfo) -> None:
    from learner.datasets import summarize

    summary = summarize(store, version)
    out.print(
        f"{version.name}, version {version.number}: {count(summary.images, 'image')} in "
        f"{count(len(summary.classes), 'class', 'classes')}",
        markup=False,
    )
    splits = list(summary.totals)
    table = Table(box=None, pad_edge=False)
    table.add_column("Class")
    for split in splits:
        table.add_column(split or "images", justify="right")
    for name in summary.classes:
        table.add_row(Text(name), *(str(summary.counts[name].get(split, 0)) for split in splits))
    out.print(table)
    if summary.set_aside:
        out.print(f"{count(len(summary.set_aside), 'file')} set aside:")
        for row in summary.set_aside:
            out.print(f"  {row.path}: {row.reason}", markup=False)


def summary_dict(summary) -> dict[str, Any]:
    version = summary.version
    return {
        "name": version.name,
        "version": version.number,
        "images": summary.images,
        "classes": summary.classes,
        "counts": summary.counts,
        "set_aside": [{"path": row.path, "reason": row.reason} for row in summary.set_aside],
    }


def run_dict(store: Store, run: Run, whole: bool = False) -> dict[str, Any]:
    name, number = store.runs.dataset_of(run)
    columns = ("status", "reason", "created_at", "started_at", "finished_at", "best_accuracy", "best_epoch")
    values = {"run": run.id, "dataset": name, "version": number} | {key: getattr(run, key) for key in columns}
    if whole:
        from learner.results import load_result

        figures = ("epoch", "phase", "train_loss", "valid_loss", "accuracy", "error_rate", "lrs", "seconds")
        values |= {
            "recipe": run.recipe,
            "facts": run.facts,
            "progress": run.progress,
            "epochs": [{key: getattr(epoch, key) for key in figures} for epoch in store.runs.epochs(run.id)],
            "result": load_result(store.workspace.run_folder(run.id)),
        }
    return values


def print_result(store: Store, run: Run) -> None:
    from learner.results import load_result

    result = load_result(store.workspace.run_folder(run.id))
    if result is not None:
        out.print(
            f"Accuracy {percent_with_interval(result['accuracy'], result['accuracy_interval'])} on "
            f"{count(result['images'], 'validation image')}, best checkpoint from epoch {run.best_epoch}; "
            f"took {took(run)}"
        )


def epoch_line(figures: dict[str, Any], phase: str) -> str:
    losses = (f"{figures[key]:.4f}" if figures[key] is not None else "none" for key in ("train_loss", "valid_loss"))
    return (
        f"Epoch {figures['epoch']:>3}  {phase}  train loss {next(losses)}  valid loss {next(losses)}  "
        f"accuracy {percent(figures['accuracy'])}  {duration(figures['seconds'])}"
    )


def took(run: Run) -> str:
    if run.started_at is None:
        return "–"
    return duration((run.finished_at or time.time()) - run.started_at)


def print_json(values: dict[str, Any]) -> None:
    print(json.dumps(values, ensure_ascii=False))
