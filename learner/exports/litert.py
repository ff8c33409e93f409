"""LiteRT, once TensorFlow Lite: `model.tflite`, with its description in `model.json`."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from torch import Tensor, nn

from learner.errors import ModelError
from learner.exports.contents import Contents
from learner.exports.formats import PROVERS
from learner.exports.litert_converter import require_converter
from learner.exports.network import INPUT, OUTPUTS, WithoutSorting
from learner.jobs.process import PATIENT_THREADS

CONVERT = PROVERS / "to_litert.py"
LONGEST_S = 1800


class _Named(nn.Module):
    """The network with named outputs, as a signature of LiteRT has them."""

    def __init__(self, contents: Contents):
        super().__init__()
        self.network = WithoutSorting(contents)

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        return dict(zip(OUTPUTS, self.network(pixels), strict=True))


def write_litert(contents: Contents, target: Path) -> None:
    """Write the file `target`, in fp32, and beside it the `.json` with what `Contents.about` tells.

    Input and outputs are those of the ONNX file, for one image. torch writes the network down, and a process with the
    converter, whose packages Thaw's do not go with, turns that into the file. Raises ModelError where the converter
    cannot be had, or does not know a layer.
    """
    side = contents.spec.image_size
    folder = require_converter()
    with tempfile.TemporaryDirectory() as temporary:
        program = Path(temporary) / "network.pt2"
        with torch.no_grad():
            sample = {INPUT: torch.zeros(1, side, side, 3, dtype=torch.uint8)}
            torch.export.save(torch.export.export(_Named(contents).eval(), (), sample), program)
        done = subprocess.run(
            [sys.executable, "-I", str(CONVERT), str(folder), str(program), str(side), str(target.resolve())],
            cwd=temporary,
            env={**PATIENT_THREADS, **os.environ},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LONGEST_S,
            check=False,
        )
    if done.returncode or not target.is_file():
        said = [line for line in done.stderr.splitlines() if "Error" in line] or ["no reason given"]
        raise ModelError(
            f"litert-torch cannot convert {contents.spec.arch} ({said[-1].strip()}). Take another format, such as onnx."
        )
    target.with_suffix(".json").write_text(json.dumps(contents.about(), ensure_ascii=False), "utf-8")
