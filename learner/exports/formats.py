"""What a model can be carried away as. Needs no torch."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

PROVERS = Path(__file__).with_name("provers")
"""Programs that open each of them without Thaw."""

TOLERANCE = 1e-3
"""Most that a probability (0 to 1) or a distance may differ where nothing is rounded."""
MOST_ACCURACY_LOST = 0.05
"""An export whose accuracy on the validation images falls by more than this (0 to 1) is not written."""
WARN_ACCURACY_LOST = 0.01
"""One whose accuracy falls by more than this comes with a warning."""


@dataclass(frozen=True)
class Format:
    """One kind of export."""

    kind: str
    """As commands and folders name it."""
    name: str
    """What a person calls it."""
    file: str
    """Its file's name where only a folder was named; the web demo is a folder."""
    download: str
    """Its file's name on the page, where several files are packed into one."""
    sealed: str
    """The file that the sha256 is of, unless all is packed into a zip."""
    purpose: str
    """In a sentence, for the page."""
    needs: str
    """What opens it."""
    prover: str
    """The program in `PROVERS` that opens it."""
    holds: Literal["file", "files", "folder"] = "file"
    """`files` lie side by side under one stem."""
    is_measured: bool = False
    """Whether its accuracy and speed on the validation images are measured beside the run's own model's."""
    tolerance: float = TOLERANCE
    """Most that a probability (0 to 1) of a golden photo may differ. The class must be the run's, too, unless the run's
    own first two classes lie closer together than this."""
    module: str = ""
    """What must be installed to write it, besides what Thaw needs anyway; empty for nothing."""
    install: str = ""
    """What pip calls that."""

    @property
    def is_reduced(self) -> bool:
        """Whether it computes in smaller numbers, and so answers a little differently."""
        return self.tolerance > TOLERANCE

    @property
    def missing(self) -> str:
        """What to do before it can be written, a sentence; empty where nothing is missing."""
        if not self.module or importlib.util.find_spec(self.module) is not None:
            return ""
        return f"It needs {self.install}, which is not installed here. Install it with: pip install {self.install}"


FORMATS = {
    format_.kind: format_
    for format_ in (
        Format(
            "learner",
            "learner.pkl",
            "learner.pkl",
            "learner.pkl",
            "learner.pkl",
            "To go on in Python with fastai, or to hand the model to somebody who works with it.",
            "fastai and timm",
            "learner",
        ),
        Format(
            "safetensors",
            "model.safetensors",
            "model.safetensors",
            "model.zip",
            "model.safetensors",
            "The safe form: it cannot run a program. With its description and the lines of Python that load it.",
            "torch and timm",
            "safetensors",
            "files",
        ),
        Format(
            "onnx",
            "model.onnx",
            "model.onnx",
            "model.onnx",
            "model.onnx",
            "One file for other programs and languages: pixels in, probabilities out, without PyTorch.",
            "onnxruntime",
            "onnx",
            is_measured=True,
        ),
        Format(
            "onnx-fp16",
            "model.onnx in fp16",
            "model-fp16.onnx",
            "model-fp16.onnx",
            "model-fp16.onnx",
            "The same with numbers of 16 bits: half the size, and hardly another answer.",
            "onnxruntime",
            "onnx",
            is_measured=True,
            tolerance=0.02,
        ),
        Format(
            "onnx-int8",
            "model.onnx in int8",
            "model-int8.onnx",
            "model-int8.onnx",
            "model-int8.onnx",
            "The same with numbers of 8 bits, for small devices: a quarter of the size, and quick on most processors. "
            "Training photos decide how each value is rounded.",
            "onnxruntime",
            "onnx",
            is_measured=True,
            tolerance=0.35,
        ),
        Format(
            "openvino",
            "OpenVINO",
            "model.xml",
            "openvino.zip",
            "model.bin",
            "For processors, graphics and accelerators of Intel, and quick on other processors, too.",
            "openvino",
            "openvino",
            "files",
            is_measured=True,
            module="openvino",
            install="openvino",
        ),
        Format(
            "litert",
            "LiteRT (TFLite)",
            "model.tflite",
            "litert.zip",
            "model.tflite",
            "For Android and small devices, one picture at a time.",
            "LiteRT, which was called TensorFlow Lite",
            "litert",
            "files",
            is_measured=True,
        ),
        Format(
            "coreml",
            "Core ML",
            "model.mlpackage",
            "coreml.zip",
            "Data/com.apple.CoreML/weights/weight.bin",
            "For apps on iPhone, iPad and Mac, one picture at a time.",
            "Xcode, or coremltools on a Mac",
            "coreml",
            "folder",
            is_measured=True,
            module="coremltools",
            install="coremltools",
        ),
        Format(
            "hf",
            "Hugging Face",
            "huggingface",
            "huggingface.zip",
            "model.safetensors",
            "A folder for the Hugging Face hub, which timm and Transformers open by its name there.",
            "timm, or Transformers",
            "hf",
            "folder",
        ),
        Format(
            "web",
            "Web demo",
            "web-demo",
            "web-demo.zip",
            "model.js",
            "A page that anybody can open: it looks at pictures and through the camera. No picture leaves the "
            "computer.",
            "a browser",
            "web",
            "folder",
        ),
    )
}
"""By kind, in the order that the page shows them."""
