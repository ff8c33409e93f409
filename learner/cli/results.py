"""`python -m learner results …`: all that the Results page does, from a shell."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from learner.advice.corrections import correct
from learner.advice.corrections import retrain as submit_again
from learner.cli.printing import (
    AsJson,
    check_target,
    out,
    print_findings,
    print_json,
    print_result,
    run_dict,
    table_of,
    write_csv,
)
from learner.cli.runs import ending_claimed_run, train_here
from learner.datasets.editing import Edit, edits_of, summary_of
from learner.errors import DatasetError, ModelError, RunError
from learner.evaluation.intervals import holm
from learner.evaluation.optimism import optimism_of, optimism_text
from learner.evaluation.paired import pair_predictions, verdict
from learner.evaluation.photo_map import COLUMNS, map_file, read_map, require_ended
from learner.evaluation.results import (
    confused_pairs,
    figure_name,
    figure_text,
    is_complete,
    load_predictions,
    load_result,
    wrong,
)
from learner.jobs.process import use_patient_threads
from learner.store import Store
from learner.terminal import err, progress_bar
from learner.wording import count, percent, percent_with_interval

results = typer.Typer(
    help="Results: figures, mistakes, test images, comparisons, corrections and what they bring.",
    no_args_is_help=True,
)

RunId = Annotated[int, typer.Argument(metavar="RUN", help="A run's id.")]
Paths = Annotated[list[str], typer.Argument(help="Photos, as `results mistakes` names them.", metavar="PATH...")]
SHOWN = 20


class SplitName(StrEnum):
    """The images that a result can be on, as words of a command."""

    VALID = "valid"
    TRAIN = "train"
    TEST = "test"
    FOLD = "fold"


class Side(StrEnum):
    """The images that mistakes can be corrected in."""

    TRAIN = "train"
    VALID = "valid"


Split = Annotated[SplitName, typer.Option(help="Of which images; test images only after `results test`.")]


@results.command()
def show(run: RunId, split: Split = SplitName.VALID, as_json: AsJson = False) -> None:
    """Show a run's figures with their 95 % intervals, class by class."""
    store = Store()
    result = _result(store, run, split)
    told = store.runs.get(run)
    flatters = optimism_of(store.runs.epochs(run), told.facts)
    if as_json:
        print_json({"run": run} | result | {"optimism": asdict(flatters) if flatters else None})
        return
    table = table_of("Figure", "Value", "95 % interval by", right=["Value"])
    for key, figure in result.get("figures", {}).items():
        table.add_row(figure_name(key, figure), figure_text(key, figure), figure["method"])
    out.print(f"Run {run}, {count(result['images'], f'{_word(split)} image')}")
    out.print(table)
    if split is SplitName.VALID and flatters is not None:
        out.print(optimism_text(flatters))
    if "calibration" in result:
        out.print(
            f"How sure it is and how often it is right differ by {percent(result['calibration']['error'])} on average "
            f"({percent(result['uncalibrated']['error'])} before calibration, temperature {result['temperature']:.2f})."
        )
    classes = table_of("Class", "Precision", "Recall", "F1", "Images", right=["Precision", "Recall", "F1", "Images"])
    for row in result["per_class"]:
        figures = (percent(row[key]) for key in ("precision", "recall", "f1"))
        classes.add_row(Text(row["class"]), *figures, f"{row['support']:,}")
    out.print(classes)
    print_findings(store, told)
    if not is_complete(store.run_folder(run)):
        err.print(f"An older Thaw trained this run. For intervals and curves: python -m learner results complete {run}")


@results.command()
def mistakes(
    run: RunId,
    split: Split = SplitName.VALID,
    true: Annotated[str | None, typer.Option(help="Only photos of this class.")] = None,
    said: Annotated[str | None, typer.Option(help="Only photos of which the model said this class.")] = None,
    most: Annotated[int, typer.Option(min=1, help="How many to show, the surest mistakes first.")] = SHOWN,
    csv_file: Annotated[Path | None, typer.Option("--csv", help="Write all of them here.")] = None,
    as_json: AsJson = False,
) -> None:
    """List what a run gets wrong: the pairs of classes that it confuses, and the photos."""
    store = Store()
    result = _result(store, run, split)
    table = wrong(load_predictions(store.run_folder(run), split.value)).sort_values("probability", ascending=False)
    for column, name in (("label", true), ("predicted", said)):
        if name is not None:
            if name not in result["classes"]:
                raise ModelError(f"Run {run} knows no class {name!r}. It knows {', '.join(result['classes'])}.")
            table = table[table[column] == name]
    columns = ["path", "label", "predicted", "probability"]
    if csv_file is not None:
        write_csv(csv_file, columns, table[columns].itertuples(index=False))
    pairs = confused_pairs(result)
    if as_json:
        told = [dict(zip(("true", "said", "times", "images"), one, strict=True)) for one in pairs]
        print_json({"run": run, "split": split, "pairs": told, "photos": table[columns].to_dict("records")})
        return
    for one, other, times, images in pairs[:6]:
        out.print(f"{one} taken for {other}: {times:,} of {images:,}", markup=False)
    listed = table_of("Photo", "Labelled", "Model said", "How sure", right=["How sure"])
    for row in table.head(most).itertuples():
        listed.add_row(Text(row.path), Text(row.label), Text(row.predicted), percent(row.probability))
    out.print(listed)
    out.print(f"{count(len(table), 'wrong photo')}, {min(most, len(table)):,} shown.")
    if csv_file is not None:
        out.print(f"Wrote {count(len(table), 'row')} to {csv_file}", markup=False)


@results.command()
def test(run: RunId, as_json: AsJson = False) -> None:
    """Look at the test images with a run's model. Every look is counted: the more there are, the less one says."""
    store = Store()
    with _looking(as_json) as tell:
        from learner.evaluation.inspect import look_at_test

        result = look_at_test(store, run, tell)
    looks = store.runs.test_looks(store.runs.dataset_of(store.runs.get(run))[0])
    if as_json:
        print_json({"run": run, "looks": len(looks)} | result)
        return
    figure = percent_with_interval(result["accuracy"], result["accuracy_interval"])
    out.print(f"Accuracy {figure} on {count(result['images'], 'test image')}.")
    runs = count(len({look.run_id for look in looks}), "run")
    out.print(f"These test images have been looked at {count(len(looks), 'time')}, by {runs}.")


@results.command()
def complete(run: RunId) -> None:
    """Have the model of a run by an older Thaw look at its images once more, for all that runs keep now."""
    store = Store()
    with _looking() as tell:
        from learner.evaluation.inspect import complete as look

        look(store, run, tell)
    print_result(store, store.runs.get(run))


@results.command()
def compare(
    run: RunId,
    others: Annotated[
        list[int] | None,
        typer.Argument(metavar="[OTHER]...", help="The runs before it; the one it was corrected after."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare a run with others on the same photos: which it fixed, which it broke, and whether that may be chance."""
    store = Store()
    baseline = store.runs.get(run).baseline
    others = others or ([baseline] if baseline else [])
    if not others:
        raise RunError(
            f"Name the runs that run {run} is to be compared with: python -m learner results compare {run} ID"
        )
    if run in others:
        raise RunError(f"Run {run} cannot be compared with itself. Name another.")
    for one in (run, *others):
        _result(store, one, SplitName.VALID)
    mine = load_predictions(store.run_folder(run))
    pairs = {other: pair_predictions(load_predictions(store.run_folder(other)), mine) for other in others}
    for other, found in pairs.items():
        if not found.counts.images:
            raise RunError(f"Run {other} and run {run} were not checked on any photo in common.")
    p_values = dict(zip(pairs, holm([found.counts.p_value for found in pairs.values()]), strict=True))
    if as_json:
        print_json({"run": run, "compared": [_compared(other, pairs[other], p_values[other]) for other in pairs]})
        return
    for other, found in pairs.items():
        counts, (low, high) = found.counts, found.counts.interval
        out.print(verdict(counts, f"Run {other}", f"Run {run}", p_values[other]))
        out.print(
            f"  {100 * counts.difference:+.1f} points ({100 * low:+.1f} to {100 * high:+.1f}) on "
            f"{count(counts.images, 'photo')}: {counts.fixed:,} fixed, {counts.broken:,} broken, "
            f"p = {p_values[other]:.3g} (McNemar).".replace("-", "−")
        )
        for title, table in (("fixed", found.fixed), ("broken", found.broken)):
            for row in table.head(SHOWN).itertuples():
                line = f"  {title}  {row.path}  is {row.label}, before {row.predicted_before}, now {row.predicted}"
                out.print(line, markup=False)
        if found.relabelled or found.only_first or found.only_second:
            out.print(
                f"  Left out: {found.relabelled:,} relabelled in between, {found.only_first:,} checked by run {other} "
                f"alone, {found.only_second:,} by run {run} alone."
            )


@results.command(name="map")
def map_(
    run: RunId,
    to: Annotated[Path, typer.Option("--to", "--csv", help="The table to write, as CSV.")],
) -> None:
    """Lay out a run's photos in the plane, those that its model finds alike near to each other, and write a table.

    One row a photo: path, label, prediction, probability, split, whether it is wrong, and its place, x and y.
    """
    check_target(to)
    store = Store()
    told = store.runs.get(run)
    require_ended(told)
    made = read_map(map_file(store, told))
    if made is None:
        with _looking() as tell:
            from learner.evaluation.map_layout import make_map

            made = make_map(store, run, tell)
    write_csv(to, list(COLUMNS), made.rows())
    left_out = f" {count(made.left_out, 'photo is', 'photos are')} left out." if made.left_out else ""
    out.print(f"Wrote the places of {count(len(made), 'photo')} to {to}.{left_out}", markup=False)


# Fix, retrain, prove


@results.command()
def relabel(run: RunId, paths: Paths, to: Annotated[str, typer.Option(help="The right class.")]) -> None:
    """Correct the class of photos, for the next version of the data set."""
    _correct(run, Edit("relabel", tuple(paths), to=to))


@results.command()
def exclude(run: RunId, paths: Paths) -> None:
    """Set photos aside in the next version of the data set."""
    _correct(run, Edit("exclude", tuple(paths), to=f"Set aside after run {run}."))


@results.command()
def move(
    run: RunId, paths: Paths, to: Annotated[Side, typer.Option(help="Learn from them, or check on them.")]
) -> None:
    """Move photos between training and validation in the next version of the data set."""
    _correct(run, Edit("move", tuple(paths), to=to.value))


@results.command()
@ending_claimed_run()
def retrain(
    run: RunId,
    queue: Annotated[bool, typer.Option("--queue", help="Leave it to a worker instead of training here.")] = False,
    as_json: AsJson = False,
) -> None:
    """Save the corrections as a new version, train with the same recipe and seed, and say what that fixed."""
    store = Store()
    again = submit_again(store, run, running=not queue)
    if queue:
        if as_json:
            print_json({"run": again, "status": "queued", "baseline": run})
        else:
            out.print(f"Run {again} is queued. What it fixes: python -m learner results compare {again}")
        return
    if train_here(store, again, quiet=as_json) == "failed":
        raise RunError(f"Run {again} failed. {store.runs.get(again).reason}")
    if as_json:
        print_json(run_dict(store, store.runs.get(again), whole=True) | {"baseline": run})
        return
    print_result(store, store.runs.get(again))
    compare(again, [run])


def _correct(run: int, edit: Edit) -> None:
    store = Store()
    name, _ = store.runs.dataset_of(store.runs.get(run))
    known = {image.path for image in store.datasets.images(store.datasets.version(name).id)}
    unknown = [path for path in edit.paths if path not in known]
    if unknown:
        raise DatasetError(f"{name} has no photo {unknown[0]!r}. `learner results mistakes {run}` names them.")
    correct(store, run, edit)
    out.print(
        f"{summary_of(edits_of(store, name))}. Train on it: python -m learner results retrain {run}", markup=False
    )


def _result(store: Store, run: int, split: SplitName) -> dict[str, Any]:
    status = store.runs.get(run).status  # raises for a run that is not there
    if status not in ("finished", "stopped"):
        raise RunError(f"Run {run} has no result: it is {status}.")
    result = load_result(store.run_folder(run), split.value)
    if result is None and split == "test":
        raise RunError(f"Run {run} has not looked at the test images. Do it once: python -m learner results test {run}")
    if result is None and split == "train" and load_result(store.run_folder(run)):
        raise RunError(f"An older Thaw trained run {run}. Complete it: python -m learner results complete {run}")
    if result is None and split == "fold" and load_result(store.run_folder(run)):
        raise RunError(f"Run {run} held back no fold: its recipe has no `folds` with `fold_is: test`.")
    if result is None:
        raise RunError(f"Run {run} has no result: it is {status}.")
    return result


def _compared(other: int, found, p_value: float) -> dict[str, Any]:
    counts = found.counts
    columns = ["path", "label", "predicted_before", "predicted"]
    return {
        "with": other,
        "photos": counts.images,
        "difference": counts.difference,
        "interval": counts.interval,
        "p_value": p_value,
        "fixed": found.fixed[columns].to_dict("records"),
        "broken": found.broken[columns].to_dict("records"),
    }


def _word(split: SplitName) -> str:
    return {"valid": "validation", "train": "training", "test": "test", "fold": "held-back"}[split]


@contextmanager
def _looking(quiet: bool = False) -> Iterator[Callable[[str], None]]:
    """A line that says how far the work is; torch is loaded patiently in it."""
    use_patient_threads()
    with progress_bar(transient=True, disabled=quiet) as bar:
        task = bar.add_task("Loading the model", total=None)
        yield lambda text: bar.update(task, description=text)
