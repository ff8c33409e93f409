"""`results learning-curve`, `results report` and `results card`: what would help, and what to keep or send."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from learner.cli.printing import AsJson, check_target, out, print_json, table_of, telling_about
from learner.errors import RunError
from learner.evaluation.results import is_complete, load_result
from learner.jobs.process import use_patient_threads
from learner.questions.learning_curve import VERDICTS, gain_text, recipe_of, verdict
from learner.store import Store
from learner.terminal import err, progress_bar
from learner.wording import duration, file_size, percent

RunId = Annotated[int, typer.Argument(metavar="RUN", help="A run's id.")]
File = Annotated[Path, typer.Option("--to", help="The file to write.")]


def learning_curve(run: RunId, as_json: AsJson = False) -> None:
    """Find out what more photos would bring, overall and to each class, and how sure that is."""
    store = Store()
    found = store.runs.get(run)
    result = load_result(store.run_folder(run))
    if result is None:
        raise RunError(f"Run {run} has no result: it is {found.status}. It can be asked once it has ended.")
    use_patient_threads()
    with progress_bar(transient=True, disabled=as_json) as bar:
        task = bar.add_task("Loading", total=None)
        from learner.advice.learning_curve import measure_curve

        curve = measure_curve(store, recipe_of(found), lambda text: bar.update(task, description=text))
    if as_json:
        gains = {"half_more": curve.half_more, "twice": curve.twice, "now": curve.now}
        measured = {"sizes": curve.sizes, "accuracies": curve.accuracies, "line": curve.line}
        told = {"verdict": verdict(curve.twice), "sentences": curve.sentences, "per_class": curve.ranked()}
        print_json({"run": run} | gains | told | measured)
        return
    for sentence in curve.sentences:
        out.print(sentence, markup=False)
    out.print(curve.about_the_head(result["accuracy"], result["accuracy_interval"]), markup=False)
    table = table_of("Class", "Photos", "Found now", "Twice as many (95 %)", "", right=["Photos", "Found now"])
    for row in curve.ranked():
        table.add_row(
            Text(row["class"]),
            f"{row['train_images']:,}",
            percent(row["recalls"][-1]) if row["recalls"] else "–",
            gain_text(row["twice"]) if row["twice"] else "–",
            VERDICTS[verdict(row["twice"], row["p"])],
        )
    out.print(table)
    err.print(f"Measured in {duration(curve.seconds)}.")


def report(run: RunId, to: File) -> None:
    """Write a report of a run: one HTML file with figures, tables, recipe, data and versions, to keep or send."""
    from learner.report import make_report

    _write(run, to, make_report)


def card(run: RunId, to: File) -> None:
    """Write a model card, the README.md that goes with the model on Hugging Face; measured figures only."""
    from learner.report.model_card import make_card

    _write(run, to, make_card)


def add_to(app: typer.Typer) -> None:
    """Make the commands `app`'s."""
    app.command()(learning_curve)
    app.command()(report)
    app.command()(card)


def _write(run: int, to: Path, make: Callable[[Store, int], str]) -> None:
    check_target(to)
    store = Store()
    text = make(store, run)
    with telling_about(to):
        to.write_text(text, "utf-8")
    out.print(f"{to} ({file_size(to.stat().st_size)})", markup=False)
    if not is_complete(store.run_folder(run)):
        err.print(f"An older Thaw trained this run. For all figures: python -m learner results complete {run}")
