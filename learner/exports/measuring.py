"""Measure the run's own model and an export on the same validation images: accuracy, agreement, speed."""

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from learner.atomic import written_whole
from learner.datasets import bring_images, dataset_folder, split_by
from learner.datasets.images import read_squished
from learner.evaluation.intervals import Discordance
from learner.exports.contents import Contents
from learner.exports.measured import Measured, Speed
from learner.features.loaders import ahead
from learner.inference.predictor import BATCH, Predictor
from learner.jobs.process import Tell
from learner.models.calibration import calibrated, distances
from learner.recipe import Recipe
from learner.store import Image, Store

MOST_IMAGES = 1000
"""Validation images that an export is measured on; which ones follows from their content."""
CALIBRATION_IMAGES = 200
"""Training images whose values say what an export in bytes rounds to."""
TIMED_ALONE = 30
"""Images that are timed one by one, for `LONGEST_TIMED_S` at most."""
LONGEST_TIMED_S = 10.0


@dataclass
class Answers:
    """What a model says of images, in their order."""

    probs: np.ndarray
    """(images, classes), calibrated."""
    distances: np.ndarray | None
    """(images,) from the training images; None where the model cannot tell."""


@dataclass
class RunImages:
    """Pixels of a run's images as its network takes them."""

    valid: np.ndarray
    """(images, image_size, image_size, 3) of bytes."""
    targets: np.ndarray
    """(images,) of class indices, of `valid`."""
    has_learnt: bool
    """Whether the run's model has learnt from `valid`, too."""
    kept_answers: Path
    """Where the answers of the run's own model are kept, so that each format need not ask for them again."""
    read_training: Callable[[], np.ndarray] = field(repr=False)
    """Reads up to `CALIBRATION_IMAGES` training images, of every class as many."""


def read_images(store: Store, run_id: int, contents: Contents, checkpoint_digest: str, tell: Tell) -> RunImages:
    """Raises DatasetError, ImageError."""
    run = store.runs.get(run_id)
    version = store.datasets.version_by_id(run.dataset_version_id)
    train, valid = split_by(Recipe.from_dict(run.recipe), store.datasets.images(version.id))
    chosen = sorted(valid, key=lambda image: image.sha256)[:MOST_IMAGES]
    read = partial(_read, store, version.name, contents.spec.image_size, tell)
    place = {name: index for index, name in enumerate(contents.spec.classes)}
    return RunImages(
        read(chosen, "validation"),
        np.array([place[image.label] for image in chosen]),
        store.workspace.checked_model(run_id).exists(),
        store.run_folder(run_id) / "exports" / f"answers-{checkpoint_digest[:16]}-{len(chosen)}.npz",
        partial(_read_training, read, train),
    )


def _read_training(read: Callable[[Sequence[Image], str], np.ndarray], train: list[Image]) -> np.ndarray:
    from learner.evaluation.inspect import reference_images

    images = reference_images(train)
    step = max(1, len(images) // CALIBRATION_IMAGES)  # they are in order of their classes
    return read(images[::step][:CALIBRATION_IMAGES], "training")


def _read(store: Store, dataset: str, side: int, tell: Tell, images: Sequence[Image], name: str) -> np.ndarray:
    bring_images(store, dataset, images, tell)
    base = dataset_folder(store.workspace, dataset)
    tell(f"Reading {len(images):,} {name} images")
    chunks = [list(images[start : start + BATCH]) for start in range(0, len(images), BATCH)]

    def read(chunk: list[Image]) -> np.ndarray:
        pixels = [np.asarray(read_squished(base / image.file, side)) for image in chunk]
        return np.stack(pixels)

    return np.concatenate(list(ahead(partial(read, chunk) for chunk in chunks)))


def measure(images: RunImages, contents: Contents, told: dict[str, Any], answers: Answers, tell: Tell) -> Measured:
    """Of an export whose prover said `told` and gave `answers` for `images.valid`."""
    predictor = Predictor(
        copy.deepcopy(contents.model), replace(contents.spec, precision="fp32"), contents.reference, torch.device("cpu")
    )
    theirs, original = _original(predictor, images, tell)
    before = theirs.probs.argmax(1) == images.targets
    now = answers.probs.argmax(1) == images.targets
    counts = [int(each.sum()) for each in (before & now, before & ~now, ~before & now, ~before & ~now)]
    same_none = None
    if contents.threshold is not None and theirs.distances is not None and answers.distances is not None:
        limit = contents.threshold
        same_none = int(((theirs.distances > limit) == (answers.distances > limit)).sum())
    return Measured(
        len(images.targets),
        Discordance(*counts),
        int((theirs.probs.argmax(1) == answers.probs.argmax(1)).sum()),
        same_none,
        float(np.abs(theirs.probs - answers.probs).max()),
        original,
        Speed(told["alone_ms"], told["batch_ms"]),
        BATCH,
        torch.get_num_threads(),
        images.has_learnt,
    )


def _original(predictor: Predictor, images: RunImages, tell: Tell) -> tuple[Answers, Speed]:
    """What the run's own model says, and how fast it is right now."""
    tell("Measuring the run's own model on the same photos")
    speed = _speed(predictor, images.valid)
    kept = images.kept_answers
    try:
        with np.load(kept) as arrays:
            return Answers(arrays["probs"], arrays.get("distances")), speed
    except (OSError, ValueError, KeyError):
        pass  # not kept yet, or not whole
    answers = _ask(predictor, images.valid, tell)
    kept.parent.mkdir(exist_ok=True)
    for older in kept.parent.glob("answers-*.npz"):
        older.unlink(missing_ok=True)
    with written_whole(kept) as temporary, temporary.open("wb") as file:
        if answers.distances is None:
            np.savez(file, probs=answers.probs)
        else:
            np.savez(file, probs=answers.probs, distances=answers.distances)
    return answers, speed


def _ask(predictor: Predictor, pixels: np.ndarray, tell: Tell) -> Answers:
    logits, features = [], []
    for start in range(0, len(pixels), BATCH):
        with torch.inference_mode():
            look = predictor.look(pixels[start : start + BATCH])
        logits.append(look.logits)
        features.append(look.features)
        tell(f"Asking the run's own model: {min(start + BATCH, len(pixels)):,} of {len(pixels):,} photos")
    far = None
    if predictor.reference is not None and predictor.spec.neighbours:
        far = distances(np.concatenate(features), predictor.reference, predictor.spec.neighbours)
    return Answers(calibrated(np.concatenate(logits), predictor.spec.temperature), far)


def _speed(predictor: Predictor, pixels: np.ndarray) -> Speed:
    """As `provers/timing.py` measures an export."""
    alone = [pixels[place : place + 1] for place in range(min(TIMED_ALONE, len(pixels)))]
    several = [np.resize(pixels[:BATCH], (BATCH, *pixels.shape[1:]))] * 3
    return Speed(_median_ms(predictor, alone), _median_ms(predictor, several) / BATCH)


def _median_ms(predictor: Predictor, batches: list[np.ndarray]) -> float:
    taken, begun = [], time.perf_counter()
    with torch.inference_mode():
        predictor.look(batches[0])  # whatever is slow only once
        for batch in batches:
            start = time.perf_counter()
            predictor.look(batch)
            taken.append(1000 * (time.perf_counter() - start))
            if time.perf_counter() - begun > LONGEST_TIMED_S:
                break
    return median(taken)
