"""Images of a data set as batches: decoded once, prepared on the device, or replaced by outputs of frozen stages."""

import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from fastai.data.core import DataLoaders
from fastai.data.load import DataLoader
from fastcore.basics import chunked
from torch import Tensor

from learner.datasets.images import read_squished
from learner.features import augment
from learner.features.arrays import Rows
from learner.features.preprocess import Preprocess
from learner.features.targets import targets_of
from learner.recipe import Augment
from learner.store import Image

BATCHES_AHEAD = 2
_ORDER = 0x0DE7
"""Keeps the numbers that decide the order apart from those that decide the views."""

T = TypeVar("T")


@dataclass(frozen=True)
class LabelledFile:
    """An image file, its class, and what identifies its content."""

    path: Path
    label: str
    sha256: str
    weight: float = 1.0
    """How often it is shown beside others; see `Order`."""
    probabilities: Mapping[str, float] | None = field(default=None, compare=False)
    """Of classes, where it has some."""

    @classmethod
    def of(cls, path: Path, image: Image) -> "LabelledFile":
        """The image of a data set that lies at `path`."""
        weight = 1.0 if image.weight is None else image.weight
        return cls(path, image.label, image.sha256, weight, image.probabilities)


@dataclass(frozen=True)
class Order:
    """In which order training images come. It follows from seed and epoch alone, so that a run can go on anywhere."""

    seed: int
    chances: np.ndarray | None = None
    """(images,) that add up to 1: an epoch draws as many images as there are by these, with replacement. None: each
    comes once."""

    @classmethod
    def of(cls, files: list[LabelledFile], seed: int, oversample: bool) -> "Order":
        """Images by their weights and, with `oversample`, so that every class comes equally often."""
        counts = Counter(file.label for file in files)
        chances = np.array([file.weight / (counts[file.label] if oversample else 1) for file in files])
        alike = np.ptp(chances) == 0  # also where all weigh nothing
        return cls(seed, None if alike else chances / chances.sum())

    def of_epoch(self, epoch: int, images: int) -> np.ndarray:
        """(images,) indices for an epoch, counted from 0 over the whole run."""
        random = np.random.default_rng([self.seed, epoch, _ORDER])
        if self.chances is None:
            return random.permutation(images)
        return random.choice(images, images, p=self.chances)


@dataclass(frozen=True)
class Views:
    """The changed copies of images that a run trains on; see `Recipe.views`."""

    augment: Augment
    count: int
    """0: another one for every epoch, without end."""
    seed: int

    def of_epoch(self, epoch: int, indices: np.ndarray, images: int) -> np.ndarray:
        """Which view each of `indices` has in that epoch, counted from 0 over the whole run."""
        if self.count == 0:
            return np.full(len(indices), epoch)
        return np.random.default_rng([self.seed, epoch]).integers(self.count, size=images)[indices]

    def draw(self, files: list[LabelledFile], views: np.ndarray) -> np.ndarray:
        """(len(files), 8) augmentations."""
        pairs = zip(files, views.tolist(), strict=True)
        return np.stack([augment.draw(self.augment, self.seed, file.sha256, view) for file, view in pairs])


class Decoder:
    """Reads image files with as many threads as there are cores: Pillow decodes outside of Python's lock."""

    def __init__(self, image_size: int):
        self.image_size = image_size
        self._pool = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="decode")

    def __call__(self, files: Iterable[LabelledFile]) -> np.ndarray:
        """(len(files), image_size, image_size, 3) of bytes. Raises ImageError."""
        return np.stack(list(self._pool.map(self._read, files)))

    def _read(self, file: LabelledFile) -> np.ndarray:
        return np.asarray(read_squished(file.path, self.image_size))


class Pixels:
    """Decoded images by their position: from their store, or from the files each time where it has no room."""

    def __init__(self, files: list[LabelledFile], decoder: Decoder, rows: Rows | None):
        self.files, self._decoder, self._rows = files, decoder, rows

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        """(len(indices), height, width, 3) of bytes."""
        if self._rows is not None:
            return self._rows[indices]
        return self._decoder([self.files[index] for index in indices])


class ImageLoader(DataLoader):
    """A fastai DataLoader that fetches whole batches, a few ahead of the network.

    It gives images (batch, 3, size, size) and their targets, as `learner.features.targets` makes them. While `features`
    is set it gives those rows in place of images: (batch, channels, height, width), as the frozen stages would.
    """

    def __init__(
        self,
        pixels: Pixels,
        targets: np.ndarray,
        preprocess: Preprocess,
        batch_size: int,
        device: torch.device,
        views: Views | None = None,
        order: Order | None = None,
    ):
        drop_last = order is not None and len(targets) % batch_size == 1  # batch-norm cannot learn from a batch of one
        super().__init__(pixels.files, bs=batch_size, drop_last=drop_last, device=device)
        self.pixels, self.targets, self.preprocess, self.views, self.order = pixels, targets, preprocess, views, order
        self.epoch = 0
        """Of the whole run, from 0; decides the order and which view of an image comes."""
        self.first_batch = 0
        """Batches of the epoch that are left out, as a run that was killed has seen them already."""
        self.features: Rows | None = None
        self.feature_dtype = torch.float32

    def get_idxs(self) -> list[int]:
        if self.order is None:
            return list(range(self.n))
        return self.order.of_epoch(self.epoch, self.n)[self.first_batch * self.bs :].tolist()

    def create_batches(self, samples: Iterable[int]) -> Iterator[tuple]:
        chunks = chunked(samples, self.bs, self.drop_last)
        yield from ahead(partial(self._fetch, np.array(chunk)) for chunk in chunks)

    def after_batch(self, batch: tuple[Tensor, Tensor | None, Tensor]) -> tuple[Tensor, Tensor]:
        rows, draws, targets = batch
        x = rows.permute(0, 3, 1, 2) if self.features is not None else self.preprocess(rows, draws)
        return x, targets

    def _fetch(self, indices: np.ndarray) -> tuple[Tensor, Tensor | None, Tensor]:
        targets = torch.from_numpy(self.targets[indices])
        views = self.views.of_epoch(self.epoch, indices, len(self.targets)) if self.views else None
        draws = None
        if self.features is not None:
            places = indices if views is None or self.views is None else indices * self.views.count + views
            rows = torch.from_numpy(self.features[places]).view(self.feature_dtype)
        else:
            rows = torch.from_numpy(self.pixels[indices])
            if views is not None and self.views is not None:
                draws = torch.from_numpy(self.views.draw([self.pixels.files[index] for index in indices], views))
        if self.device.type == "cuda":
            rows = rows.pin_memory()
        return rows, draws, targets


def make_dataloaders(
    train: list[LabelledFile],
    valid: list[LabelledFile],
    classes: list[str],
    decoder: Decoder,
    preprocess: Preprocess,
    views: Views | None,
    batch_size: int,
    device: torch.device,
    order: Order,
) -> DataLoaders:
    """Loaders for training, in `order` and `views`, and for validation, one after the other and as the images are."""
    batch_size = min(batch_size, len(train))

    def loader(files: list[LabelledFile], **how) -> ImageLoader:
        targets = targets_of(files, classes)
        return ImageLoader(Pixels(files, decoder, None), targets, preprocess, batch_size, device, **how)

    return DataLoaders(loader(train, views=views, order=order), loader(valid), device=device)


def ahead(jobs: Iterable[Callable[[], T]]) -> Iterator[T]:
    """The results of `jobs` in their order, each worked on in another thread while the caller uses those before it."""
    pool = ThreadPoolExecutor(1, thread_name_prefix="ahead")
    waiting: deque = deque()
    try:
        for job in jobs:
            waiting.append(pool.submit(job))
            if len(waiting) > BATCHES_AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
