"""Images of a data set as fastai DataLoaders."""

import os
from dataclasses import dataclass
from pathlib import Path

import torch
from fastai.data.core import DataLoaders, Datasets
from fastai.data.transforms import Categorize, IntToFloatTensor, Normalize, ToTensor
from fastai.vision.core import PILImage
from PIL import Image as PillowImage

from learner.images import read_image


@dataclass(frozen=True)
class LabelledFile:
    """An image file and its class. Not a tuple: fastai would transform each part of one by itself."""

    path: Path
    label: str


def read_squished(source, size: int) -> PillowImage.Image:
    """The whole image, upright, in RGB, resized to (size, size) pixels; the aspect ratio is not kept.

    Pillow's bilinear filter, as fastai's `Resize(size, method="squish")` applies it.
    Raises ImageError when the file cannot be read.
    """
    return read_image(source).resize((size, size), PillowImage.Resampling.BILINEAR)


def make_dataloaders(
    train: list[LabelledFile],
    valid: list[LabelledFile],
    classes: list[str],
    image_size: int,
    batch_size: int,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    device: torch.device,
    num_workers: int,
) -> DataLoaders:
    """Batches of images (batch, 3, image_size, image_size), normalised, and class indices (batch,)."""

    def open_item(item: LabelledFile) -> PILImage:
        return PILImage(read_squished(item.path, image_size))

    def label_of(item: LabelledFile) -> str:
        return item.label

    items = [*train, *valid]
    splits = (list(range(len(train))), list(range(len(train), len(items))))
    datasets = Datasets(items, tfms=[[open_item], [label_of, Categorize(vocab=classes, sort=False)]], splits=splits)
    batch_size = min(batch_size, len(train))
    return datasets.dataloaders(
        bs=batch_size,
        val_bs=batch_size,
        after_item=[ToTensor()],
        after_batch=[IntToFloatTensor(), Normalize.from_stats(mean, std, cuda=device.type == "cuda")],
        num_workers=num_workers,
        drop_last=len(train) % batch_size == 1,  # batch-norm cannot learn from a batch of one
        device=device,
    )


def workers_for(image_count: int, typical_side: int) -> int:
    """Processes that decode images while the network computes; tiny images are quicker without any."""
    if image_count * typical_side < 100_000:
        return 0
    return min(4, os.cpu_count() or 1)
