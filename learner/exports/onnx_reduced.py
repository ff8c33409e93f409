"""`model.onnx` with smaller numbers: halves (fp16), or bytes (int8) whose ranges training images decided.

Input, outputs and metadata are those of the whole one. Only the network computes in the smaller numbers; normalisation,
softmax and the distance from the training images stay in fp32.
"""

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.transformers.float16 import convert_float_to_float16

from learner.exports.contents import Contents
from learner.exports.network import INPUT
from learner.exports.onnx import write_onnx

IN_BYTES = ["Conv", "Gemm", "MatMul", "MaxPool", "Relu", "Clip", "Add", "Mul", "Concat", "AveragePool"]
"""Operations that compute in bytes where their input has them."""


def write_fp16(contents: Contents, target: Path) -> None:
    """Write the file `target`, whose weights take half the space."""
    whole = _whole(contents)
    outside = [node.name for node in whole.graph.node if not _is_of_network(node)]
    _save(convert_float_to_float16(whole, keep_io_types=True, node_block_list=outside), whole, target)


def write_int8(contents: Contents, target: Path, pixels: np.ndarray) -> None:
    """Write the file `target`; `pixels` (images, image_size, image_size, 3) of bytes say which ranges values take.

    Static quantisation, a scale for each channel of the weights and each place of the network. The last layer, which
    is small and decides most, stays in fp32. Source: https://onnxruntime.ai/docs/performance/model-optimizations
    """
    whole = _whole(contents)
    network = [node for node in whole.graph.node if _is_of_network(node) and node.op_type in IN_BYTES]
    last = [node.name for node in network if node.op_type in ("Gemm", "MatMul")][-1:]
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "int8.onnx"
        with _without_advice():
            quantize_static(
                whole,
                made,
                _Images(pixels),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod.MinMax,
                op_types_to_quantize=IN_BYTES,
                nodes_to_quantize=[node.name for node in network if node.name not in last],
            )
        _save(onnx.load(made), whole, target)


class _Images(CalibrationDataReader):
    """One image after the other, as the quantiser asks for them."""

    def __init__(self, pixels: np.ndarray):
        self.left = iter(pixels)

    def get_next(self) -> dict[str, np.ndarray] | None:
        image = next(self.left, None)
        return None if image is None else {INPUT: image[None]}


@contextmanager
def _without_advice() -> Iterator[None]:
    """Keep the quantiser's hint to itself, to fold layers first: torch's exporter has folded them."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(disabled)


def _whole(contents: Contents) -> onnx.ModelProto:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        write_onnx(contents, file, explains=False)
        return onnx.load(file)


def _is_of_network(node: onnx.NodeProto) -> bool:
    """Whether the exporter made it of a layer of body or head, which it notes at each node."""
    place = next((entry.value for entry in node.metadata_props if entry.key == "namespace"), "")
    return "/body:" in place or "/head:" in place


def _save(model: onnx.ModelProto, whole: onnx.ModelProto, target: Path) -> None:
    del model.metadata_props[:]
    model.metadata_props.extend(whole.metadata_props)
    onnx.save(model, target)
