"""OpenVINO: `model.xml` with its weights in `model.bin`, converted from the ONNX file."""

import json
import tempfile
from pathlib import Path

from learner.exports.contents import Contents
from learner.exports.onnx import write_onnx


def write_openvino(contents: Contents, target: Path) -> None:
    """Write the file `target` and beside it the `.bin`, in fp32.

    Input and outputs are those of the ONNX file. What `Contents.about` tells stands in its runtime information, each
    under `thaw` and its name, as JSON.
    """
    import openvino

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        write_onnx(contents, file, explains=False)
        model = openvino.convert_model(file)
    for name, value in contents.about().items():
        model.set_rt_info(json.dumps(value), ["thaw", name])
    openvino.save_model(model, target, compress_to_fp16=False)
