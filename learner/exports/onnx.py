"""`model.onnx`: one file that takes pixels and gives calibrated probabilities, "none of these" and heat maps."""

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from learner.exports.contents import Contents
from learner.exports.explained import explained_head

INPUT, OUTPUTS = "pixels", ["probabilities", "distance", "none_of_these", "heat_map"]


class ExportedNetwork(nn.Module):
    """Everything from pixels to answers.

    Takes `pixels` (images, image_size, image_size, 3) of bytes, RGB, squished; gives `probabilities` (images, classes),
    `distance` (images,) from the training images, `none_of_these` (images,) of booleans, and `heat_map` (images,
    height, width) of 0 to 1, which says what spoke for the most probable class (`learner.exports.explained`). Where
    the model cannot tell, the distance is 0 and none of these is false.
    """

    mean: Tensor
    std: Tensor
    reference: Tensor

    def __init__(self, contents: Contents):
        super().__init__()
        self.body, head = contents.model
        side = contents.spec.image_size
        self.head = explained_head(head, self.body(torch.zeros(2, 3, side, side)))
        self.temperature, self.neighbours = contents.spec.temperature, contents.spec.neighbours
        self.threshold = contents.threshold
        self.register_buffer("mean", torch.tensor(contents.spec.mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(contents.spec.std).view(1, 3, 1, 1))
        self.register_buffer("reference", contents.reference)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        x = (pixels.permute(0, 3, 1, 2).float() / 255 - self.mean) / self.std
        maps = self.body(x).contiguous()  # the head was written out for maps that lie so
        logits, heat_map = self.head(maps)
        probs = (logits / self.temperature).softmax(1)
        if self.threshold is None:
            distance = probs[:, 0] * 0
            return probs, distance, distance > 1, heat_map
        features = nn.functional.normalize(maps.mean((2, 3)))
        distance = 1 - (features @ self.reference.T).topk(self.neighbours).values[:, -1]
        return probs, distance, distance > self.threshold, heat_map


def write_onnx(contents: Contents, target: Path) -> None:
    """Write the file `target`, weights and all. Its `metadata_props` have what `Contents.about` tells, as JSON each."""
    side = contents.spec.image_size
    with _quietly(), torch.no_grad():
        program = torch.onnx.export(
            ExportedNetwork(contents).eval(),
            (torch.zeros(2, side, side, 3, dtype=torch.uint8),),
            dynamo=True,
            external_data=False,
            input_names=[INPUT],
            output_names=OUTPUTS,
            dynamic_shapes={INPUT: {0: torch.export.Dim("images")}},
            verbose=False,
        )
    about = {name: json.dumps(value, ensure_ascii=False) for name, value in contents.about().items()}
    assert program is not None  # as always with `dynamo`
    program.model.metadata_props.update(about)
    program.save(target)


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep what torch's exporter says of its own workings to itself."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
