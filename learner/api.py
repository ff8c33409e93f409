"""Thaw from Python: train on photos, look at what came of it, load a model and predict.

The commands and the pages do the same with the same functions. torch is loaded once something is trained or opened.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, overload

import pandas as pd

from learner.datasets import add_dataset
from learner.datasets.names import suggested_name
from learner.errors import ModelError, RunError
from learner.evaluation.results import SplitName, load_predictions, load_result
from learner.exports import USUAL_COVERAGE, Export, export
from learner.exports.formats import FORMATS
from learner.jobs.process import use_patient_threads
from learner.notebook import NotebookBar, in_notebook
from learner.recipe import Recipe, read_recipe
from learner.store import Run, Store
from learner.terminal import RunBar, progress_bar, showing_progress, telling
from learner.wording import percent_with_interval
from learner.workspace import Workspace

if TYPE_CHECKING:
    from fastai.learner import Learner

    from learner.inference.predictor import Prediction, Predictor

KIND_OF_SUFFIX = {
    ".pkl": "learner",
    ".safetensors": "safetensors",
    ".onnx": "onnx",
    ".xml": "openvino",
    ".tflite": "litert",
    ".mlpackage": "coreml",
}
"""What a model's file is written as, by its name's ending."""


def train(
    data: str | Path,
    recipe: str | Path | Recipe = "default",
    *,
    model: str | Path | None = None,
    changes: Sequence[str] = (),
    workspace: str | Path | None = None,
    progress: bool = True,
) -> "Result":
    """Train a model here and now, and return what came of it.

    `data` is the name of a data set, or a folder or an archive of labelled photos, which becomes a data set first.
    `recipe` is a `Recipe`, the name of a recipe that ships with Thaw, or a YAML file; `changes` are `key=value`, as
    `--set` takes them. `model` is a file to write the model to: `.pkl` (fastai), `.safetensors` or `.onnx`. `workspace`
    is the folder that keeps everything (`$THAW_HOME`, or the usual place). `progress` shows a bar, on a terminal
    or in a notebook.

    Ctrl-C leaves the run as interrupted: `python -m learner runs resume` goes on with it. Raises RecipeError,
    DatasetError, WeightsError, ModelError, and RunError when the training failed, each with the way out.

    >>> from learner import train
    >>> result = train("photos", recipe="quick", changes=["phases.0.epochs=2"], progress=False)
    >>> result.run.status
    'finished'
    >>> 0 <= result.accuracy.low <= result.accuracy <= result.accuracy.high <= 1
    True
    >>> list(result.confusion.columns)
    ['cat', 'dog']
    """
    kind = _kind_of(Path(model)) if model is not None else ""
    written = recipe.to_dict() if isinstance(recipe, Recipe) else None
    if written is None:
        read_recipe(str(recipe), Path(data).name, list(changes))  # mistakes are told before any image is read
    store = Store(Workspace(Path(workspace)) if workspace is not None else None)
    name = dataset_named(store, data, quiet=not progress)
    if isinstance(recipe, Recipe):
        plan = replace(recipe, dataset=name)
    else:
        plan = read_recipe(str(recipe), name, list(changes))
    run_id = store.submit(plan, running=True)
    result = Result(store, run_id)
    if train_run(store, run_id, quiet=not progress) == "failed":
        raise RunError(f"Run {run_id} failed. {result.run.reason}")
    if model is not None:
        result.export(model, kind, progress=progress)
    return result


def open_run(run_id: int, workspace: str | Path | None = None) -> "Result":
    """What came of an earlier run. Raises RunError when there is no such run."""
    store = Store(Workspace(Path(workspace)) if workspace is not None else None)
    store.runs.get(run_id)
    return Result(store, run_id)


def load(model: str | Path, *, trust_pickle: bool = False) -> "Model":
    """Open a `model.safetensors`, or with `trust_pickle` a `learner.pkl`, which can run any program hidden in it.

    Raises ModelError for a file that is not there, is damaged, or is no model of Thaw's.

    >>> from learner import load
    >>> model = load("pets.safetensors")
    >>> model.classes
    ['cat', 'dog']
    >>> answer = model.predict("photos/cat/cat_000.jpg")
    >>> answer.label in model.classes and 0 < answer.probability <= 1
    True
    """
    use_patient_threads()
    from learner.inference.predictor import Predictor, open_model

    return Model(Predictor(*open_model(Path(model), trust_pickle)))


class Rate(float):
    """A share, 0 to 1, with its 95 % interval: prints as `93.4 % (91.2–95.1)`."""

    low: float
    high: float

    def __new__(cls, value: float, low: float, high: float) -> "Rate":
        rate = super().__new__(cls, value)
        rate.low, rate.high = low, high
        return rate

    def __str__(self) -> str:
        return percent_with_interval(float(self), [self.low, self.high])

    def __repr__(self) -> str:
        return f"Rate({float(self)}, low={self.low}, high={self.high})"


@dataclass(frozen=True)
class Result:
    """What came of a run: its figures, predictions, and the model of its best epoch."""

    store: Store
    run_id: int

    @property
    def run(self) -> Run:
        """Its row in the store: status, recipe, times, facts."""
        return self.store.runs.get(self.run_id)

    @property
    def folder(self) -> Path:
        """Where its files lie."""
        return self.store.run_folder(self.run_id)

    @property
    def figures(self) -> dict[str, Any]:
        """Every figure of the validation images, as in `result.json`. Raises RunError where there is no result."""
        found = load_result(self.folder)
        if found is None:
            raise RunError(f"Run {self.run_id} ({self.run.status}) has no result: one is written when it ends.")
        return found

    @property
    def accuracy(self) -> Rate:
        """Of the validation images, with Wilson's interval. Raises RunError where there is no result."""
        figures = self.figures
        return Rate(figures["accuracy"], *figures["accuracy_interval"])

    @property
    def confusion(self) -> pd.DataFrame:
        """Validation images by their class (rows) and what they were taken for (columns)."""
        figures = self.figures
        classes = pd.Index(figures["classes"], name="class")
        return pd.DataFrame(figures["confusion"], index=classes, columns=classes.rename("taken for"))

    @property
    def per_class(self) -> pd.DataFrame:
        """Precision, recall and the other figures of each class."""
        return pd.DataFrame(self.figures["per_class"])

    @property
    def epochs(self) -> pd.DataFrame:
        """Losses, accuracy and seconds of every epoch."""
        columns = ["epoch", "phase", "train_loss", "valid_loss", "accuracy", "error_rate", "seconds"]
        rows = [[getattr(epoch, column) for column in columns] for epoch in self.store.runs.epochs(self.run_id)]
        return pd.DataFrame(rows, columns=columns)

    def predictions(self, split: SplitName = "valid") -> pd.DataFrame:
        """A row an image: path, label, what was predicted, probabilities."""
        return load_predictions(self.folder, split)

    @cached_property
    def learner(self) -> "Learner":
        """A fastai Learner with the model of the best epoch, as in `learner.pkl`."""
        from fastai.learner import load_learner

        self.store.checkpoint(self.run_id)  # and all that lies beside it
        return load_learner(self.folder / "learner.pkl")

    @cached_property
    def model(self) -> "Model":
        """The model of the best epoch. Raises ModelError where there is none yet."""
        return load(self.store.checkpoint(self.run_id))

    def export(
        self, to: str | Path, kind: str = "", coverage: float = USUAL_COVERAGE, progress: bool = False
    ) -> Export:
        """Write the model to a file or folder, once a fresh process without Thaw has opened it.

        `kind` is `learner`, `safetensors`, `onnx` or `web`; by default what the name's ending says. `coverage` (0 to 1)
        is the share of images like the validation images that is not called "none of these". Raises ModelError.
        """
        target = Path(to)
        return export_with_progress(
            self.store, self.run_id, kind or _kind_of(target), target, coverage, quiet=not progress
        )

    def _repr_html_(self) -> str:
        """In a notebook: accuracy, curves, confusion matrix, and the photos it was most wrong about."""
        from learner.report import make_summary

        return make_summary(self.store, self.run_id)

    def report(self, to: str | Path) -> Path:
        """Write the run's report, one HTML file that needs nothing else."""
        from learner.report import make_report

        Path(to).write_text(make_report(self.store, self.run_id), "utf-8")
        return Path(to)


class Model:
    """A trained model, ready to look at pictures."""

    def __init__(self, predictor: "Predictor"):
        self.predictor = predictor
        """For more than this: features, distances, heat maps."""

    @property
    def classes(self) -> list[str]:
        """In the order of the model's outputs."""
        return self.predictor.spec.classes

    @overload
    def predict(  # type: ignore[overload-overlap]  # a name, being text, is an iterable of texts too
        self, pictures: str | Path | BinaryIO, views: int = 0
    ) -> "Prediction": ...

    @overload
    def predict(self, pictures: Iterable[str | Path | BinaryIO], views: int = 0) -> "list[Prediction]": ...

    def predict(self, pictures: Any, views: int = 0) -> "Prediction | list[Prediction]":
        """Look at one picture, or at several, each a file's name or a binary stream.

        `views` (test-time augmentation) averages over so many changed copies of each. One picture that cannot be read
        raises ImageError; of several, each carries its own error. Raises ModelError for views of a model that was
        trained without augmentation.
        """
        from learner.errors import ImageError

        one = isinstance(pictures, str | Path) or hasattr(pictures, "read")
        sources = [pictures] if one else pictures
        files = (Path(source) if isinstance(source, str) else source for source in sources)
        answers = list(self.predictor.predict(files, views=views))
        if not one:
            return answers
        if answers[0].error:
            raise ImageError(answers[0].error)
        return answers[0]


# What the commands do too


def dataset_named(store: Store, data: str | Path, quiet: bool = False) -> str:
    """The data set of that name; else the folder or archive of that path, imported under its own name.

    Raises DatasetError.
    """
    if str(data) in store.datasets.names():
        return str(data)
    path = Path(data)
    if not path.exists():
        store.datasets.version(str(data))  # raises, naming the data sets that there are
    with showing_progress("Importing", quiet) as report:
        return add_dataset(store, path, suggested_name(path.resolve().name), report).name


def train_run(store: Store, run_id: int, quiet: bool = False) -> str:
    """Train a run that this process has claimed, with a bar; returns its status. Ctrl-C leaves it interrupted."""
    use_patient_threads()
    from learner.training.process import execute

    folder = store.run_folder(run_id)
    folder.mkdir(parents=True, exist_ok=True)
    log = logging.FileHandler(folder / "log.txt", encoding="utf-8")
    log.setFormatter(logging.Formatter("%(asctime)s %(name)s: %(message)s"))
    ours = logging.getLogger("learner")
    level = ours.level
    ours.addHandler(log)
    ours.setLevel(logging.INFO)

    def recipe_now() -> Recipe:
        return Recipe.from_dict(store.runs.get(run_id).recipe)

    try:
        if in_notebook() and not quiet:
            with NotebookBar(run_id, recipe_now) as cell:
                return execute(store, run_id, cell)
        with progress_bar(disabled=quiet) as bar:
            task = bar.add_task(f"Run {run_id}", total=1.0)
            return execute(store, run_id, None if quiet else RunBar(bar, task, recipe_now))
    finally:
        ours.removeHandler(log)
        ours.setLevel(level)
        log.close()


def export_with_progress(
    store: Store, run_id: int, kind: str, target: Path, coverage: float = USUAL_COVERAGE, quiet: bool = False
) -> Export:
    """Write and prove a model, and say meanwhile how far it is. Raises ModelError."""
    use_patient_threads()
    with telling("Loading", quiet) as tell:
        return export(store, run_id, kind, target, coverage, tell)


def _kind_of(target: Path) -> str:
    kind = KIND_OF_SUFFIX.get(target.suffix)
    if kind is None:
        raise ModelError(
            f"What {target} should be cannot be told from its name: let it end in {', '.join(KIND_OF_SUFFIX)}, or use "
            f"Result.export with a kind: {', '.join(FORMATS)}."
        )
    return kind
