"""`model.onnx`: one file that takes pixels and gives calibrated probabilities, "none of these" and heat maps."""

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from learner.exports.contents import Contents
from learner.exports.explained import ExplainedNetwork
from learner.exports.network import INPUT, ExportedNetwork


def write_onnx(contents: Contents, target: Path, explains: bool = True) -> None:
    """Write the file `target`, weights and all. Its `metadata_props` have what `Contents.about` tells, as JSON each.

    Unless it `explains`, it has no heat maps.
    """
    side = contents.spec.image_size
    with _quietly(), torch.no_grad():
        network = (ExplainedNetwork if explains else ExportedNetwork)(contents).eval()
        program = torch.onnx.export(
            network,
            (torch.zeros(2, side, side, 3, dtype=torch.uint8),),
            dynamo=True,
            external_data=False,
            input_names=[INPUT],
            output_names=network.outputs,
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
