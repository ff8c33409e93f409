"""Which places of an image spoke for a class: Grad-CAM on any stage."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from fastcore.basics import chunked
from PIL import Image

from learner.datasets.images import read_within
from learner.errors import ModelError
from learner.evaluation.overlay import STRONGEST, overlay
from learner.inference.predictor import BATCH, Predictor

SHOWN_SIDE = 512
"""Pixels on the longest side of a picture with its heat map."""


def heat_maps(predictor: Predictor, pixels: np.ndarray, classes: Sequence[int], stage: str | None = None) -> np.ndarray:
    """Grad-CAM of one class for each image: (images, height, width) of 0 to 1, the size of the stage's output.

    `pixels` is (images, image_size, image_size, 3) of bytes; `classes` holds an index of `spec.classes` for each image.
    `stage` is one of `spec.stages`, by default the last. Each channel of the stage's output is weighted by the mean
    gradient of the class's logit; what of their sum speaks for the class is kept, divided by its greatest value. All
    zero where nothing does. Computed in fp32, whatever the model was trained in.
    Source: Selvaraju et al. 2017, "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization",
    arXiv:1610.02391.

    Raises ModelError when there is no such stage.
    """
    index = _index_of(predictor, stage)
    rest = zip(chunked(pixels, BATCH), chunked(classes, BATCH), strict=True)
    return np.concatenate([_heat_maps(predictor, np.stack(some), list(wanted), index) for some, wanted in rest])


def overlays(
    predictor: Predictor,
    files: Sequence[Path],
    classes: Sequence[int],
    stage: str | None = None,
    strength: float = STRONGEST,
) -> list[Image.Image]:
    """Each picture, at most `SHOWN_SIDE` pixels a side, under the heat map of its class (`evaluation.overlay`).

    Raises ModelError when there is no such stage, ImageError when a file cannot be read.
    """
    drawn = []
    for some, wanted in zip(chunked(files, BATCH), chunked(classes, BATCH), strict=True):
        maps = heat_maps(predictor, np.stack([predictor.read(file) for file in some]), list(wanted), stage)
        pictures = (read_within(file, SHOWN_SIDE) for file in some)
        drawn += [overlay(picture, weights, strength) for picture, weights in zip(pictures, maps, strict=True)]
    return drawn


def _index_of(predictor: Predictor, stage: str | None) -> int:
    stages = predictor.spec.stages
    if stage is None:
        return len(stages) - 1
    if stage not in stages:
        raise ModelError(f"This model has no stage {stage!r}. Its stages are {', '.join(stages)}.")
    return stages.index(stage)


def _heat_maps(predictor: Predictor, pixels: np.ndarray, classes: list[int], index: int) -> np.ndarray:
    network = predictor.exact
    with torch.no_grad():
        output = predictor.prepare(pixels)
        for number in range(index + 1):
            output = network.stage(number, output)
    output.requires_grad_()
    x = output.clone()  # the next layer may write into what it is given
    for number in range(index + 1, len(network.body)):
        x = network.stage(number, x)
    chosen = network[1](x)[range(len(classes)), classes]
    [gradients] = torch.autograd.grad(chosen.sum(), output)
    maps = (gradients.mean((2, 3), keepdim=True) * output.detach()).sum(1).relu()
    return (maps / maps.amax((1, 2), keepdim=True).clamp_min(1e-12)).cpu().numpy()
