"""What a run's model saw in pictures: logits and features, kept by content in the feature cache.

The map of a run's photos and a pool's order both come from it. A picture is looked at once for a model; work that is
stopped goes on where it was left.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from fastcore.basics import chunked

from learner.errors import ImageError, ImportCancelled, ModelError
from learner.features.arrays import Budget, DiskError, RowStore
from learner.features.loaders import ahead
from learner.inference.predictor import BATCH, Predictor
from learner.models.calibration import calibrated
from learner.store import Store
from learner.wording import duration

Tell = Callable[[str], None]


@dataclass
class Seen:
    """Of the pictures that could be read, in the order asked for."""

    sha256s: list[str]
    logits: np.ndarray
    """(pictures, classes), before the temperature."""
    features: np.ndarray
    """(pictures, num_features): what left the body, averaged over its area, each picture's of length 1."""
    temperature: float
    unreadable: dict[str, str]
    """sha256 → why it could not be read."""

    @property
    def probs(self) -> np.ndarray:
        """(pictures, classes)."""
        return calibrated(self.logits, self.temperature)


def see(
    store: Store,
    predictor: Predictor,
    model: str,
    pictures: Iterable[tuple[str, Path]],
    tell: Tell = lambda text: None,
    stopped: Callable[[], bool] = lambda: False,
) -> Seen:
    """Look at (sha256, file) of pictures with a model; `model` is its `learner.inference.batches.model_key`.

    Raises ImportCancelled when `stopped` says so, ModelError where there is no disk space for what it sees.
    """
    files = dict(pictures)
    width = predictor.spec.num_features
    folder = store.workspace.features / f"seen-{model}"
    kept = RowStore(folder, (width + len(predictor.spec.classes),), np.dtype(np.float32))
    new = kept.missing(files)
    if not Budget.of(store.workspace).make_room(len(new) * kept.row_bytes, keep=[folder]):
        raise ModelError("There is no disk space for what the model sees. Free some, or raise THAW_CACHE_GB.")
    unreadable = _look(predictor, kept, [(sha256, files[sha256]) for sha256 in new], len(files), tell, stopped)
    read = [sha256 for sha256 in files if sha256 not in unreadable]
    rows = kept.reader(read)[np.arange(len(read))] if read else np.empty((0, *kept.shape), np.float32)
    return Seen(read, rows[:, width:], rows[:, :width], predictor.spec.temperature, unreadable)


def _look(
    predictor: Predictor,
    kept: RowStore,
    new: list[tuple[str, Path]],
    total: int,
    tell: Tell,
    stopped: Callable[[], bool],
) -> dict[str, str]:
    """Keep what the model sees in `new`, a batch at a time; returns what could not be read, and why."""
    unreadable: dict[str, str] = {}
    known, began, done = total - len(new), time.monotonic(), 0

    def read(chunk: list[tuple[str, Path]]) -> tuple[int, list[str], list[np.ndarray]]:
        names, pixels = [], []
        for sha256, file in chunk:
            try:
                pixels.append(predictor.read(file))
                names.append(sha256)
            except ImageError as error:
                unreadable[sha256] = str(error)
        return len(chunk), names, pixels

    try:
        with kept.writer() as writer:
            for looked, names, pixels in ahead(partial(read, chunk) for chunk in chunked(new, BATCH)):
                if pixels:
                    outputs = predictor.look(np.stack(pixels))
                    writer.add(names, np.concatenate([outputs.features, outputs.logits], axis=1).astype(np.float32))
                done += looked
                left = (time.monotonic() - began) / done * (len(new) - done)
                tell(f"Looking at the photos: {known + done:,} of {total:,}, {duration(left)} left")
                if stopped() and done < len(new):
                    raise ImportCancelled("It was stopped. What was seen is kept for the next time.")
    except DiskError as error:
        raise ModelError(f"The disk is full: {error}. Free some space, and begin again.") from error
    return unreadable
