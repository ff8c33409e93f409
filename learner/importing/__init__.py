"""Models that other programs trained, as finished runs: looked at, compared, trained further, exported.

Needs no torch until one is read.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from learner.datasets.summary import summarize
from learner.errors import ModelError
from learner.jobs.process import Tell
from learner.questions.answers import keep_answer
from learner.store import Store
from learner.wording import count

if TYPE_CHECKING:
    from learner.importing.foreign import Foreign

KERAS_SUFFIXES = (".keras", ".h5", ".hdf5")
CHECKPOINT_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".tar")
PICKLE_SUFFIXES = (".pkl", ".pickle")
PHASE = "Trained elsewhere"


@dataclass(frozen=True)
class Asked:
    """What a person says of a file, where that does not say it itself."""

    dataset: str
    """The data set that it is checked on, whose classes it tells apart."""
    classes: list[str] | None = None
    """In the order of its outputs; None: the data set's, as the alphabet sorts them."""
    pixels: str | None = None
    """What it takes pixels for, of `learner.importing.pixels.PIXELS`."""
    arch: str | None = None
    """timm's name of the network, for checkpoints."""
    image_size: int | None = None
    """Side in pixels."""
    trusts_pickle: bool = False


def import_model(store: Store, file: Path, asked: Asked, tell: Tell = lambda text: None) -> int:
    """Make a finished run of the model in `file`, check it on the data set's validation images, return the run's id.

    Raises ModelError where the file cannot be read as a model, or does not fit the data set; and what
    `learner.evaluation.inspect.complete` raises. Then no run is left.
    """
    file = file.expanduser()
    if not file.is_file():
        raise ModelError(f"There is no model at {file}.")
    version = store.datasets.version(asked.dataset)
    store.datasets.require_trainable(version)
    tell(f"Reading {file.name}")
    try:
        foreign = read_foreign(file, asked, tell)
    except ModelError as error:
        raise ModelError(f"{file.name} was not imported. {error}") from error
    classes = summarize(store, version).classes
    foreign.classes = _classes(foreign, asked, classes)

    from learner.importing.as_run import write_run

    return write_run(store, file, foreign, asked.dataset, version, classes, tell)


def uploaded_file(answer: Path, name: str) -> Path:
    """Where what the page was given lies while it is imported, for the question whose answer that file is."""
    return answer.with_suffix(".model") / name


def import_uploaded(store: Store, path: str, said: str, tell: Tell = lambda text: None) -> None:
    """Import what the page was given: `said` is an `Asked` as JSON. The answer, beside it, has the run's id.

    Raises what `import_model` raises. The file goes in any case.
    """
    file = Path(path)
    try:
        run_id = import_model(store, file, Asked(**json.loads(said)), tell)
    finally:
        shutil.rmtree(file.parent, ignore_errors=True)
    keep_answer(file.parent.with_suffix(".json"), {"run": run_id})


def read_foreign(file: Path, asked: Asked, tell: Tell = lambda text: None) -> "Foreign":
    """What the file holds. Raises ModelError."""
    if file.suffix in KERAS_SUFFIXES:
        from learner.importing.keras_models import read_keras

        return read_keras(file, asked.pixels, asked.image_size)
    if file.suffix in PICKLE_SUFFIXES:
        if not asked.trusts_pickle:
            raise ModelError(
                "It is a pickle, which can run any program hidden in it. If you trust whoever made it, say so: "
                "--trust-pickle. It is then opened in a process without network that cannot write files, as far as "
                "this system can keep it from that."
            )
        from learner.importing.pickles import read_pickle

        return read_pickle(file, asked.arch, tell)
    if file.suffix in CHECKPOINT_SUFFIXES:
        from learner.importing.checkpoints import read_checkpoint

        return read_checkpoint(file, asked.arch, asked.pixels, asked.image_size)
    known = ", ".join((*KERAS_SUFFIXES, *CHECKPOINT_SUFFIXES, *PICKLE_SUFFIXES))
    raise ModelError(f"What it is cannot be told from its name, which must end in one of {known}.")


def _classes(foreign: "Foreign", asked: Asked, known: list[str]) -> list[str]:
    """The classes in the order of the model's outputs. Raises ModelError where they are not the data set's."""
    if not foreign.has_classifier:
        return known
    named = asked.classes or foreign.classes or sorted(known)
    if len(named) != foreign.outputs:
        whose = "" if asked.classes or foreign.classes else f" (those of {asked.dataset})"
        raise ModelError(
            f"The model tells {count(foreign.outputs, 'class', 'classes')} apart, and "
            f"{count(len(named), 'class', 'classes')} were named{whose}. Name them in the order of its outputs: "
            "--classes cat,dog"
        )
    if sorted(named) != sorted(known):
        odd = sorted(set(named) ^ set(known))[0]
        raise ModelError(
            f"The model's classes are not those of {asked.dataset}: {odd} is only in one of them. Name the model's in "
            "the order of its outputs with --classes, or take the data set that it was trained on."
        )
    return named
