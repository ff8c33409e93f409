"""What a model can be carried away as. Needs no torch."""

from dataclasses import dataclass
from pathlib import Path

PROVERS = Path(__file__).with_name("provers")
"""Programs that open each of them without Thaw."""


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
        ),
        Format(
            "safetensors",
            "model.safetensors",
            "model.safetensors",
            "model.zip",
            "model.safetensors",
            "The safe form: it cannot run a program. With its description and the lines of Python that load it.",
            "torch and timm",
        ),
        Format(
            "onnx",
            "model.onnx",
            "model.onnx",
            "model.onnx",
            "model.onnx",
            "One file for other programs and languages: pixels in, probabilities out, without PyTorch.",
            "onnxruntime",
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
        ),
    )
}
"""By kind, in the order that the page shows them."""
