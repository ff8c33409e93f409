"""One competitor on one split of one set: what it is given, what it answered, and how that is kept.

A benchmark over many sets takes hours; kept trials let it go on where it stopped, and a new competitor join them.
"""

import hashlib
import json
import random
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import sets
from benchmarks.competitors import Answer, Competitor, Task
from benchmarks.home import Home
from benchmarks.report import BenchmarkError
from benchmarks.scores import Scores, scores
from benchmarks.sets.splits import Split
from learner.atomic import write_json


@dataclass(frozen=True)
class Exercise:
    """A split of a set, and how it is used."""

    set_name: str
    photos: Sequence[sets.Photo]
    size: int
    """Pixels of the square that a network sees."""
    mirror: bool
    seed: int
    """Of the split, and of whatever a competitor draws."""
    inner: bool
    """Whether the held-back quarter is left alone, and the others are split again."""
    parts: Split
    """What of the photos is learnt from, and what is held back."""

    @property
    def classes(self) -> list[str]:
        return sorted({photo.label for photo in self.photos})


@dataclass(frozen=True)
class Trial:
    """What a competitor answered, image by image."""

    set_name: str
    seed: int
    competitor: str
    decided_by: Mapping[str, Any]
    """Everything that decides the answer, but for Thaw's code."""
    code: str
    """Thaw's code where it was that which learnt, as a checksum."""
    classes: Sequence[str]
    images: Sequence[str]
    groups: Sequence[str]
    truth: Sequence[str]
    probs: Sequence[Sequence[float]]
    """For each of the images, in the order of the classes."""
    learnt: int
    """How many images it was given to learn from."""
    seconds: float
    facts: Mapping[str, Any]

    @cached_property
    def truth_index(self) -> np.ndarray:
        return np.array([self.classes.index(label) for label in self.truth])

    @cached_property
    def prob_array(self) -> np.ndarray:
        return np.array(self.probs, dtype=float)

    @cached_property
    def scores(self) -> Scores:
        return scores(self.prob_array, self.truth_index)


def run(exercise: Exercise, name: str, competitor: Competitor, weights: Path | None) -> Trial:
    """Let it learn and ask it. Raises BenchmarkError when it fails or does not answer for every image."""
    parts = exercise.parts
    with Home() as home:
        learn = sets.copy_classes(parts.learn, home.folder / "learn")
        numbered = number(parts.held_back, home.folder / "ask", exercise.seed)
        task = Task(
            learn, home.folder / "ask", exercise.classes, exercise.size, exercise.mirror, exercise.seed, weights
        )
        answer = competitor.answer(task)
    return Trial(
        exercise.set_name,
        exercise.seed,
        name,
        decided_by(exercise, name, competitor, weights),
        competitor.code,
        exercise.classes,
        [photo.name for photo in parts.held_back],
        [photo.group for photo in parts.held_back],
        [photo.label for photo in parts.held_back],
        rows(answer, [numbered[photo.name] for photo in parts.held_back], exercise.classes),
        len(parts.learn),
        answer.seconds,
        answer.facts,
    )


def number(photos: Sequence[sets.Photo], folder: Path, seed: int) -> dict[str, str]:
    """Put the images into `folder` in an order and under names that tell nothing; returns these by the photo's name."""
    folder.mkdir(parents=True)
    shuffled = sorted(photos, key=lambda photo: photo.name)
    random.Random(seed).shuffle(shuffled)
    names = {photo.name: f"{index:05}{photo.file.suffix}" for index, photo in enumerate(shuffled)}
    for photo in shuffled:
        shutil.copyfile(photo.file, folder / names[photo.name])
    return names


def rows(answer: Answer, files: Sequence[str], classes: Sequence[str]) -> list[list[float]]:
    """The answer for `files` in the order of `classes`. Raises BenchmarkError when it is for others, or not numbers."""
    if sorted(answer.classes) != sorted(classes):
        raise BenchmarkError(f"It answered in the classes {', '.join(answer.classes)}, not {', '.join(classes)}.")
    if set(answer.probs) != set(files):
        raise BenchmarkError(
            f"It answered for {len(answer.probs):,} files, and not for the {len(files):,} asked about."
        )
    order = [list(answer.classes).index(label) for label in classes]
    found = np.array([answer.probs[file] for file in files], dtype=float)[:, order]
    if not np.isfinite(found).all():
        raise BenchmarkError("Some of its probabilities are not numbers.")
    return found.tolist()


def decided_by(exercise: Exercise, name: str, competitor: Competitor, weights: Path | None) -> dict[str, Any]:
    return {
        "set": exercise.set_name,
        "images": sets.digest(list(exercise.photos)),
        "size": exercise.size,
        "mirror": exercise.mirror,
        "seed": exercise.seed,
        "inner": exercise.inner,
        "competitor": name,
        "settings": competitor.settings,
        "weights": hashlib.sha256(weights.read_bytes()).hexdigest() if weights else "random",
    }


@dataclass(frozen=True)
class Keep:
    """A folder of trials, a JSON file each."""

    folder: Path
    any_code: bool = False
    """Whether a trial of Thaw counts even where Thaw's code has changed since."""

    def find(self, decided: Mapping[str, Any], code: str) -> Trial | None:
        """The trial that was decided by the same, if it is kept."""
        file = self._file(decided)
        if not file.exists():
            return None
        trial = Trial(**json.loads(file.read_text("utf-8")))
        return trial if self.any_code or trial.code == code else None

    def save(self, trial: Trial) -> None:
        """Written whole or not at all; replaces one of older code."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self._file(trial.decided_by), asdict(trial))

    def _file(self, decided: Mapping[str, Any]) -> Path:
        key = hashlib.sha256(json.dumps(decided, sort_keys=True).encode()).hexdigest()[:12]
        return self.folder / f"{decided['set']}-{decided['seed']}-{decided['competitor']}-{key}.json"
