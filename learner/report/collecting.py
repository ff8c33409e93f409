"""Everything that a report or a model card says of a run, as plain values. Nothing in it is drawn or formatted yet."""

import platform
from collections import Counter
from dataclasses import dataclass, replace
from hashlib import file_digest
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Any

from learner.datasets import bring_files, split_by
from learner.datasets.card import Card, card_of
from learner.datasets.rows import rows_of
from learner.datasets.splits import has_own_split
from learner.errors import RunError
from learner.evaluation.paired import Paired, pair_predictions
from learner.evaluation.results import SPLIT_TITLES, SplitName, load_curves, load_predictions, load_result, most_wrong
from learner.questions.learning_curve import LearningCurve, read_curve, recipe_of
from learner.recipe import Recipe
from learner.store import Epoch, Run, Step, Store, VersionInfo
from learner.version import __version__

if TYPE_CHECKING:
    import pandas as pd

MOST_WRONG = 12
PACKAGES = ("torch", "fastai", "timm", "scikit-learn", "numpy", "pillow")


@dataclass(frozen=True)
class Collected:
    """A finished or stopped run with all that is told of it."""

    run: Run
    recipe: Recipe
    """As it was decided; of a file of weights only its name, as folders of this machine are nobody else's business."""
    weights: str
    """What training began with, in words."""
    version: VersionInfo
    classes: list[str]
    results: dict[SplitName, dict[str, Any]]
    """Of each kind of images that were looked at; `valid` is always there and comes first."""
    curves: list[dict[str, Any]]
    looks: int
    """At the test images of this data set, by all runs."""
    epochs: list[Epoch]
    steps: list[Step]
    wrong: "pd.DataFrame"
    folder: Path
    """Of the data set: what `file` of `wrong` is relative to."""
    baseline: int | None
    paired: Paired | None
    """Against `baseline`, on the validation images of both."""
    curve: LearningCurve | None
    card: Card
    counts: dict[str, dict[str, int]]
    """Images by class, then by what this run used them for: `train`, `valid`, `test`."""
    has_own_split: bool
    excluded: int
    versions: dict[str, str]
    """Of Python, Thaw and its packages, as they are installed now."""
    model_sha256: str
    model_bytes: int


def collect(store: Store, run_id: int) -> Collected:
    """Read all of it. Raises RunError where there is no such run or it has no result, ModelError without a model."""
    run = store.runs.get(run_id)
    folder = store.run_folder(run_id)
    results = {split: result for split in SPLIT_TITLES if (result := load_result(folder, split)) is not None}
    if "valid" not in results or run.status not in ("finished", "stopped"):
        raise RunError(
            f"Run {run_id} is {run.status} and has no result to tell of. It is there once the run has ended."
        )
    if "figures" not in results["valid"]:
        raise RunError(
            f"An older Thaw trained run {run_id}, so its figures have no intervals. Complete it first: "
            f"python -m learner results complete {run_id}"
        )
    recipe = recipe_of(run)
    version = store.datasets.version_by_id(run.dataset_version_id)
    rows = rows_of(store, version)
    predictions = load_predictions(folder)
    before = None
    if run.baseline is not None and _has_result(store, run.baseline):
        before = load_predictions(store.run_folder(run.baseline))
    paired = None if before is None else pair_predictions(before, predictions)
    file = store.checkpoint(run_id)
    with file.open("rb") as opened:
        digest = file_digest(opened, "sha256").hexdigest()
    shown = most_wrong(predictions, MOST_WRONG)
    return Collected(
        run=run,
        recipe=replace(recipe, weights=_nameless(recipe.weights)),
        weights=weights_text(run.facts),
        version=version,
        classes=results["valid"]["classes"],
        results=results,
        curves=load_curves(folder) or [],
        looks=len(store.runs.test_looks(version.name)),
        epochs=store.runs.epochs(run_id),
        steps=store.runs.steps(run_id),
        wrong=shown,
        folder=bring_files(store, version.name, shown["file"]),
        baseline=run.baseline if paired is not None and paired.counts.images else None,
        paired=paired if paired is not None and paired.counts.images else None,
        curve=read_curve(store.workspace, recipe),
        card=card_of(store, version, rows),
        counts=_counts(store, recipe, version),
        has_own_split=has_own_split(row for row in rows if not row.excluded),
        excluded=sum(row.excluded for row in rows),
        versions=versions(),
        model_sha256=digest,
        model_bytes=file.stat().st_size,
    )


def versions() -> dict[str, str]:
    """Of Python, Thaw and the packages that decide a result, as installed here."""
    found = {"Python": platform.python_version(), "Thaw": __version__}
    for name in PACKAGES:
        try:
            found[name] = installed(name)
        except PackageNotFoundError:
            continue
    return found


def weights_text(facts: dict[str, Any]) -> str:
    """What training began with: where the weights came from, without any folder of this machine."""
    source = facts["weights"]
    return {
        "hub": f"pretrained weights from the Hugging Face hub ({source['location']})",
        "hub cache": "pretrained weights from the Hugging Face hub",
        "package": f"pretrained weights from the Python package {source['location']}",
        "file": f"weights from a file, {Path(source['location']).name}",
        "run": "the body of another run",
        "random": "random weights",
        "import": f"a model that was trained elsewhere, {source['location']}",
    }[source["kind"]]


def _counts(store: Store, recipe: Recipe, version: VersionInfo) -> dict[str, dict[str, int]]:
    images = store.datasets.images(version.id)
    train, valid = split_by(recipe, images)
    test = [image for image in images if image.split == "test" and not image.excluded]
    sides = {
        side: Counter(image.label for image in mine)
        for side, mine in (("train", train), ("valid", valid), ("test", test))
    }
    labels = dict.fromkeys(label for counts in sides.values() for label in counts)
    return {label: {side: counts[label] for side, counts in sides.items()} for label in labels}


def _nameless(weights: str) -> str:
    return weights if weights.startswith("run:") else Path(weights).name


def _has_result(store: Store, run_id: int | None) -> bool:
    return run_id is not None and load_result(store.run_folder(run_id)) is not None
