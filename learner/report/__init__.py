"""A report of a run to keep or send: one HTML file that needs nothing else, neither internet nor Thaw."""

import base64
import io
import time
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader

from learner.datasets.images import read_within
from learner.errors import ImageError
from learner.evaluation.findings import findings
from learner.evaluation.optimism import optimism_of, optimism_text
from learner.evaluation.paired import verdict as paired_verdict
from learner.evaluation.results import SPLIT_TITLES, confused_pairs, figure_name, figure_text, has_result
from learner.recipe import Phase
from learner.report import figures
from learner.report.collecting import Collected, collect
from learner.store import Store
from learner.wording import count, duration, file_size, percent, percent_with_interval

THUMBNAIL = 180
"""Pixels of the longer side."""
MOST_PAIRS = 6
MOST_PICTURED = 20
"""Classes up to which each has its mean picture in the report."""
FEW = 10
"""Validation images of a class below which its own figures say little."""


def make_report(store: Store, run_id: int) -> str:
    """The file's text. Raises what `learner.report.collecting.collect` raises."""
    told = collect(store, run_id)
    environment = templates()
    environment.filters |= {
        "percent": lambda rate: percent(rate).replace(" ", "\u00a0"),
        "with_interval": lambda pair: percent_with_interval(*pair),
    }
    valid = told.results["valid"]
    with figures.style():
        drawn = {
            "training": figures.training(told.epochs, told.steps, told.recipe.phases) if told.epochs else "",
            "confusion": figures.confusion(valid["confusion"], told.classes),
            "calibration": figures.calibration(valid["calibration"]["bins"]),
            "growth": figures.growth(told.curve) if told.curve else "",
        }
    return environment.get_template("page.html").render(
        told=told,
        run=told.run,
        valid=valid,
        drawn=drawn,
        splits=SPLIT_TITLES,
        headline=percent_with_interval(valid["accuracy"], valid["accuracy_interval"]),
        figures=_figures(told),
        methods=sorted({figure["method"] for figure in valid["figures"].values()}),
        pairs=confused_pairs(valid)[:MOST_PAIRS],
        wrong_total=sum(sum(row) for row in valid["confusion"])
        - sum(row[i] for i, row in enumerate(valid["confusion"])),
        wrong=[_photo(told, row) for row in told.wrong.itertuples()],
        compared=_compared(told),
        settings=_settings(told),
        phases=_phases(told),
        findings=_findings(told),
        environment=_environment(told),
        means=_means(told),
        limits=limits(told),
        written=time.strftime("%-d %B %Y"),
        count=count,
    )


def make_summary(store: Store, run_id: int) -> str:
    """What a notebook shows of a run, as HTML: accuracy, curves, confusion matrix, the photos it was most wrong about.

    A sentence for a run without a result. Raises what `learner.report.collecting.collect` raises.
    """
    run = store.runs.get(run_id)
    if not has_result(store.run_folder(run_id)):
        return f"<p>Run {run_id} ({run.status}) has no result: one is written when it ends.</p>"
    told = collect(store, run_id)
    valid = told.results["valid"]
    with figures.style():
        training = figures.training(told.epochs, told.steps, told.recipe.phases) if told.epochs else ""
        confusion = figures.confusion(valid["confusion"], told.classes)
    environment = templates()
    environment.filters["percent"] = lambda rate: percent(rate).replace(" ", "\u00a0")
    return environment.get_template("summary.html").render(
        told=told,
        valid=valid,
        training=training,
        confusion=confusion,
        headline=percent_with_interval(valid["accuracy"], valid["accuracy_interval"]),
        wrong=[_photo(told, row) for row in told.wrong.itertuples()],
        count=count,
    )


def templates() -> Environment:
    """Where pages are made from the files beside this one; whatever they are given is escaped."""
    folder = FileSystemLoader(Path(__file__).parent)
    return Environment(loader=folder, autoescape=True, trim_blocks=True, lstrip_blocks=True)


def limits(told: Collected) -> list[str]:
    """What the figures do not say, as sentences."""
    valid = told.results["valid"]
    chosen = "checkpoint was" if valid.get("cross_fitted") else "checkpoint and the temperature were"
    sentences = [
        f"The best {chosen} chosen on the validation images, so these figures are slightly better than new images "
        "would give.",
    ]
    flatters = optimism_of(told.epochs, told.run.facts)
    if flatters is not None:
        sentences.append(optimism_text(flatters))
    if "fold" in told.results:
        sentences.append("The images of the held-back fold decided nothing: they were looked at once, at the end.")
    if "test" in told.results:
        sentences.append(
            f"The test images of this data set have been looked at {count(told.looks, 'time')}, by all runs together; "
            "the more often they help to choose, the less they say."
        )
    elif "fold" not in told.results:
        sentences.append("No test images were looked at: nothing here comes from images that decided nothing.")
    sentences.append(
        "Intervals tell how much figures would vary with other images drawn like these. They do not cover other "
        "cameras, places, times or kinds of images, nor what another seed of training would change."
    )
    few = sum(row["support"] < FEW for row in valid["per_class"])
    if few:
        sentences.append(
            f"{count(few, 'class has', 'classes have')} fewer than {FEW} validation images: figures of these alone say "
            "little."
        )
    if not told.recipe.grouped:
        sentences.append("Near duplicates were allowed on both sides of the split, so the accuracy may flatter.")
    return sentences


def _figures(told: Collected) -> list[tuple[str, list[str]]]:
    """(name, one text a kind of images) for each headline figure."""
    return [
        (figure_name(key, figure), [figure_text(key, result["figures"][key]) for result in told.results.values()])
        for key, figure in told.results["valid"]["figures"].items()
    ]


def _photo(told: Collected, row: Any) -> dict[str, Any]:
    """A row of wrong predictions with a small copy of its image; without, where the file cannot be read any more."""
    try:
        picture = read_within(told.folder / row.file, THUMBNAIL)
    except ImageError:
        return {"row": row, "data": ""}
    return {"row": row, "data": _as_data(picture)}


def _as_data(picture: Any) -> str:
    written = io.BytesIO()
    picture.convert("RGB").save(written, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(written.getvalue()).decode()}"


def _compared(told: Collected) -> dict[str, Any] | None:
    if told.paired is None:
        return None
    counts = told.paired.counts
    low, high = counts.interval
    difference = f"{100 * counts.difference:+.1f} points ({100 * low:+.1f} to {100 * high:+.1f})".replace("-", "−")
    return {
        "verdict": paired_verdict(counts, f"Run {told.baseline}", f"Run {told.run.id}"),
        "difference": difference,
        "counts": counts,
        "p": f"{counts.p_value:.3f}" if counts.p_value >= 0.001 else "below 0.001",
        "left_out": told.paired.relabelled + told.paired.only_first + told.paired.only_second,
    }


def _settings(told: Collected) -> list[tuple[str, str]]:
    """What decides most of a result, in words."""
    recipe, facts = told.recipe, told.run.facts
    split = f"{percent(recipe.valid_fraction)} for validation, by the seed"
    if recipe.folds:
        split = f"fold {recipe.fold} of {recipe.folds} for validation, by the seed"
    apart = ", near duplicates on one side" if recipe.grouped else ""
    return [
        ("Backbone", recipe.backbone),
        ("Began with", told.weights),
        ("Image size", f"{facts['image_size']} px, squished to a square"),
        ("Batch size", f"{recipe.batch_size:,}"),
        ("Split", "the data set's own" if told.has_own_split else split + apart),
        ("Seed", str(recipe.seed)),
        ("Loss", recipe.loss.replace("_", " ")),
        ("Augmentation", "yes, see the recipe" if recipe.augment.changes_anything else "none"),
    ]


def _how(phase: Phase) -> str:
    if phase.solve:
        return "logistic regression"
    more = [", weights averaged"] * phase.average + [", the best point of its way"] * phase.interpolate
    return f"{phase.schedule.replace('_', ' ')}, {phase.optimizer}{''.join(more)}"


def _phases(told: Collected) -> list[dict[str, str]]:
    found = []
    for phase, rates in zip(told.recipe.phases, told.run.facts["rates"], strict=True):
        learning = [rate for rate in rates if rate]
        low, high = (min(learning), max(learning)) if learning else (0.0, 0.0)  # none in a model that was imported
        found.append(
            {
                "name": phase.name,
                "trains": phase.learning_text,
                "epochs": phase.length_text,
                "rate": "–"
                if phase.solve or not learning
                else f"{high:.2g}"
                if low == high
                else f"{low:.2g} to {high:.2g}",
                "how": _how(phase),
            }
        )
    return found


def _findings(told: Collected) -> list[tuple[str, str]]:
    """(name of the phase, text) of what solving and interpolating found."""
    found = findings(told.run, told.recipe.phases)
    return [(told.recipe.phases[index].name, text) for index, text in found]


def _environment(told: Collected) -> list[tuple[str, str]]:
    run = told.run
    assert run.started_at is not None and run.finished_at is not None  # it has a result
    return [
        ("Device", run.facts["device"]),
        ("Precision", told.recipe.precision),
        ("Seed", str(told.recipe.seed)),
        ("Took", duration(run.finished_at - run.started_at)),
        ("Ended", time.strftime("%-d %B %Y, %H:%M", time.localtime(run.finished_at))),
        ("Best epoch", str(run.best_epoch)),
        *told.versions.items(),
        (f"SHA-256 of model.safetensors ({file_size(told.model_bytes)})", told.model_sha256),
    ]


def _means(told: Collected) -> list[tuple[str, str]]:
    if len(told.card.means) > MOST_PICTURED:
        return []
    return [
        (label, f"data:image/png;base64,{base64.b64encode(told.card.means[label]).decode()}")
        for label in told.classes
        if label in told.card.means
    ]
