"""Core ML: a `model.mlpackage`, written on any system, but only a Mac can run it."""

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from learner.errors import ModelError
from learner.exports.contents import Contents
from learner.exports.network import INPUT, OUTPUTS, WithoutSorting


class _OneImage(WithoutSorting):
    """Takes an image as Core ML hands it over: (1, 3, height, width), values 0 to 255."""

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return super().forward(pixels.permute(0, 2, 3, 1))


def write_coreml(contents: Contents, target: Path) -> None:
    """Write the folder `target`, an ML program in fp32 for iOS 15, macOS 12 and newer.

    It takes an image of the model's size, and gives what the ONNX file gives, for this one. What `Contents.about` tells
    stands in its metadata, each value as JSON. Raises ModelError where coremltools does not know a layer.
    """
    side = contents.spec.image_size
    with _quietly():
        import coremltools

        with torch.no_grad():
            program = torch.export.export(_OneImage(contents).eval(), (torch.zeros(1, 3, side, side),))
        program = _without_aliases(program.run_decompositions({}))
        try:
            model = coremltools.convert(
                program,
                convert_to="mlprogram",
                compute_precision=coremltools.precision.FLOAT32,
                minimum_deployment_target=coremltools.target.iOS15,
                inputs=[coremltools.ImageType(name=INPUT, shape=(1, 3, side, side))],
                outputs=[coremltools.TensorType(name=name) for name in OUTPUTS],
                skip_model_load=True,
            )
        except (NotImplementedError, ValueError, RuntimeError) as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise ModelError(
                f"coremltools {coremltools.__version__} cannot convert {contents.spec.arch} ({reason}). Take another "
                "format, such as onnx."
            ) from error
        for name, value in contents.about().items():
            model.user_defined_metadata[name] = json.dumps(value)
        model.save(str(target))


def _without_aliases(program: torch.export.ExportedProgram) -> torch.export.ExportedProgram:
    """Without copies of a tensor under another name, which torch writes and coremltools does not know."""
    for node in list(program.graph.nodes):
        if node.target is torch.ops.aten.alias.default:
            node.replace_all_uses_with(node.args[0])
            program.graph.erase_node(node)
    program.graph_module.recompile()
    return program


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep what coremltools says of other versions, of missing parts of macOS and of its progress to itself."""
    disabled = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
