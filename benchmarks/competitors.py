"""Who is judged by quality.py: each learns from the same folder with the same weights, and gives probabilities.

A competitor is a row in `roster`. It is given no label of what it is asked about, only numbered images. Nothing here
imports torch, so that the process that measures the others stays small.
"""

import hashlib
import json
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from benchmarks import environments
from benchmarks.home import Home
from benchmarks.processes import measured
from benchmarks.report import ROOT, BenchmarkError

PEERS = Path(__file__).parent / "peers"
BEFORE = Path(__file__).parent / "quality_recipes" / "before.yaml"
BACKBONE = "vgg16"
LEARNING_ROOMS = ("datasets", "features", "inference", "models", "planning", "recipe", "training")
"""Folders of `learner` whose code can change what Thaw learns."""


@dataclass(frozen=True)
class Task:
    """What a competitor is given."""

    learn: Path
    """A folder with one folder a class."""
    ask: Path
    """A folder of numbered images, which nothing is known of."""
    classes: Sequence[str]
    size: int
    """Pixels of the square that the network sees."""
    mirror: bool
    seed: int
    weights: Path | None


@dataclass(frozen=True)
class Answer:
    """What a competitor gives back."""

    classes: Sequence[str]
    probs: Mapping[str, Sequence[float]]
    """For each asked file's name, in the order of `classes`."""
    seconds: float
    """From the folder of images to the probabilities, starts of processes and all."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What else it says of itself, such as a rate that it chose."""


@dataclass(frozen=True)
class Competitor:
    """One way to get from labelled images to probabilities."""

    what: str
    """What a report calls it."""
    about: str
    """In a sentence, how it learns."""
    answer: Callable[[Task], Answer]
    settings: Mapping[str, Any]
    """What decides its answer beside the task; a kept answer counts only while this is the same."""
    code: str = ""
    """A checksum of the code that it runs, where that is Thaw's own, which changes often."""
    environment: str | None = None
    """The one of `environments` that it needs."""


def roster(recipe: str = "default") -> dict[str, Competitor]:
    """All competitors by name; `thaw` learns by `recipe` (a shipped one's name or a file)."""
    shown = f"recipe `{Path(recipe).stem}`"
    return {
        "thaw": _thaw(f"Thaw, {shown}", f"`python -m learner train`, {shown}.", recipe),
        "thaw_default_before": _thaw(
            "Thaw, default before",
            "the two phases that were Thaw's default: 2 epochs of the head, then 3 of everything.",
            str(BEFORE),
        ),
        "thaw_3m": _budget(3),
        "thaw_10m": _budget(10),
        "fastai": _peer(
            "plain fastai",
            "`vision_learner` on timm's VGG16, `aug_transforms`, `lr_find`, `fine_tune(10)`; a fifth for validation, "
            "the last epoch counts.",
            "fastai_fine_tune.py",
            ["fastai", "torch", "timm"],
        ),
        "keras": _peer(
            "Keras",
            "the classic script: 10 epochs of a dense head, then 5 of block5 by SGD; zooms and slants; a fifth for "
            "validation, the last epoch counts.",
            "keras_classes.py",
            environment="keras",
            beside=["keras_two_phase.py"],
        ),
        "logistic": _peer(
            "logistic regression",
            "on the frozen VGG16's features (average and maximum, standardised); `C` by log loss in 5 folds.",
            "logistic.py",
            ["scikit-learn", "torch", "timm"],
        ),
    }


def _budget(minutes: int) -> Competitor:
    about = f"`python -m learner train --budget {minutes}m`: one click; only network and image size are given."
    return _thaw(f"Thaw, {minutes} minutes", about, "auto", f"budget={minutes}m")


def _thaw(what: str, about: str, recipe: str, *changes: str) -> Competitor:
    file = Path(recipe) if Path(recipe).is_file() else ROOT / "recipes" / f"{recipe}.yaml"
    if not file.is_file():
        raise BenchmarkError(f"There is no recipe {recipe}: name one that ships with Thaw, or a YAML file.")
    settings = {"recipe": yaml.safe_load(file.read_text("utf-8"))} | _versions(["torch", "fastai", "timm"])
    settings |= {"changes": changes} if changes else {}
    return Competitor(what, about, lambda task: _thaw_answer(task, file.resolve(), changes), settings, _learner_code())


def _thaw_answer(task: Task, recipe: Path, changes: Sequence[str]) -> Answer:
    """Thaw's own commands, as a person would type them: add, train, predict."""
    with Home(task.weights) as home:
        added = home.add(task.learn, "learn")
        run, trained = home.train(
            "learn", str(recipe), f"backbone={BACKBONE}", f"image_size={task.size}", f"seed={task.seed}", *changes
        )
        options = ["--top-k", str(len(task.classes)), "--json"]
        asked = home.learner("predict", str(run["run"]), str(task.ask), *options)
    probs = {}
    for row in json.loads(asked.stdout)["predictions"]:
        if row["error"]:
            raise BenchmarkError(f"Thaw could not read {row['source']}: {row['error']}")
        by_class = dict(zip(row["classes"], row["probs"], strict=True))
        probs[Path(row["source"]).name] = [by_class.get(label, 0.0) for label in task.classes]
    facts = {"run_s": run["finished_at"] - run["started_at"], "valid_accuracy": run["best_accuracy"]}
    return Answer(task.classes, probs, added.seconds + trained.seconds + asked.seconds, facts)


def _peer(
    what: str,
    about: str,
    script: str,
    packages: Sequence[str] = (),
    environment: str | None = None,
    beside: Sequence[str] = (),
) -> Competitor:
    """A script in peers/; `packages` of Thaw's environment and the scripts `beside` it decide what it answers."""
    sources = [PEERS / name for name in (script, "task.py", *beside)]
    settings = {"script": _checksum(sources)} | _versions(packages)

    def answer(task: Task) -> Answer:
        python = environments.python_of(environment) if environment else Path(sys.executable)
        return _peer_answer(task, python, PEERS / script)

    return Competitor(what, about, answer, settings, environment=environment)


def _peer_answer(task: Task, python: Path, script: Path) -> Answer:
    with Home() as home:
        out = home.folder / "answer.json"
        command = [str(python), str(script), str(task.learn), str(task.ask), "--out", str(out)]
        command += ["--size", str(task.size), "--seed", str(task.seed)]
        command += ["--mirror"] if task.mirror else []
        command += ["--weights", str(task.weights)] if task.weights else []
        environment = {"TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow", "PYTHONWARNINGS": "ignore"}
        done = measured(command, environment | {"HF_HUB_OFFLINE": "1"})
        told = json.loads(out.read_text("utf-8"))
    return Answer(told["classes"], told["probs"], done.seconds, json.loads(done.stdout.splitlines()[-1]))


def _versions(packages: Sequence[str]) -> dict[str, Any]:
    return {"versions": {name: version(name) for name in packages} | {"python": platform.python_version()}}


@cache
def _learner_code() -> str:
    folders = [ROOT / "learner" / room for room in LEARNING_ROOMS]
    return _checksum([file for folder in folders for file in sorted(folder.rglob("*.py"))])


def _checksum(files: Sequence[Path]) -> str:
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()
