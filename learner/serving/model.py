"""An ONNX export, ready to answer. Knows nothing of HTTP."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import onnxruntime

from learner.datasets.images import read_squished
from learner.errors import ModelError
from learner.wording import count, percent

INPUT = "pixels"
OUTPUTS = ["probabilities", "distance", "none_of_these"]
HEAT_MAP = "heat_map"
_NEEDED = ("classes", "image_size", "coverage", "threshold")
_NEWER = ("distances", "validation_images")
"""What exports of an older Thaw do not tell."""


@dataclass(frozen=True)
class Outputs:
    """What the model said of some images."""

    probs: np.ndarray
    """(images, classes), calibrated."""
    distances: np.ndarray
    """(images,): how far each lies from the training images."""
    heat_maps: np.ndarray | None
    """(images, height, width) of 0 to 1; None where they were not asked for."""


@dataclass(frozen=True)
class Answer:
    """What is said of one image."""

    labels: list[str]
    """Most probable first."""
    probs: list[float]
    distance: float | None
    """None where the model cannot tell how far an image lies from the training images."""
    none_of_these: bool | None
    heat_map: list[list[float]] | None


class ServedModel:
    """A `model.onnx` that Thaw exported, opened with onnxruntime on the processor."""

    def __init__(self, path: Path, threads: int = 0):
        """`threads` is how many cores one answer may use; 0 takes all. Raises ModelError."""
        if not path.is_file():
            raise ModelError(f"There is no model at {path}.")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3  # errors; what it warns of is no concern of whoever serves
        try:
            self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has no base class for its errors
            raise ModelError(f"{path} is not a whole ONNX file ({_first_line(error)}). Export it once more.") from None
        self.path = path
        about = self._session.get_modelmeta().custom_metadata_map
        outputs = {output.name for output in self._session.get_outputs()}
        if not set(OUTPUTS) <= outputs or any(name not in about for name in _NEEDED):
            raise ModelError(
                f"{path} was not exported by Thaw: it does not say which classes it knows. Export a run with "
                "python -m learner export RUN --format onnx --to model.onnx"
            )
        told = {name: json.loads(value) for name, value in about.items() if name in (*_NEEDED, *_NEWER)}
        self.classes: list[str] = told["classes"]
        self.image_size: int = told["image_size"]
        self.coverage: float = told["coverage"]
        """Share of images like the validation images that is answered, unless a caller asks for another."""
        self._threshold: float | None = told["threshold"]
        self.distances: list[float] = told.get("distances", [])
        """Of the validation images from the training images: 101 quantiles; empty in exports of an older Thaw."""
        self.validation_images: int = told.get("validation_images", 0)
        """How many these quantiles are of; 0 in exports of an older Thaw."""
        self.has_heat_maps = HEAT_MAP in outputs

    @property
    def supports_none_of_these(self) -> bool:
        """Whether it can say "none of these"."""
        return self._threshold is not None

    @property
    def sha256(self) -> str:
        """Of the file, in hexadecimal digits."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def threshold(self, coverage: float | None = None) -> float | None:
        """The distance beyond which an image is none of the classes; None where the model cannot tell.

        `coverage` (0 to 1), by default the file's own. Raises ModelError where the file knows only its own.
        """
        if coverage is None or coverage == self.coverage or self._threshold is None:
            return self._threshold
        if not self.distances:
            raise ModelError(
                f"This file answers {percent(self.coverage)} of images only, as an older Thaw made it. Export it again "
                "to choose the coverage with each question."
            )
        return float(np.interp(coverage, np.linspace(0, 1, len(self.distances)), self.distances))

    def read(self, source: Path | BinaryIO) -> np.ndarray:
        """(image_size, image_size, 3) of bytes. Raises ImageError."""
        return np.asarray(read_squished(source, self.image_size))

    def look(self, pixels: np.ndarray, heat_maps: bool = False) -> Outputs:
        """`pixels` is (images, image_size, image_size, 3) of bytes. Raises ModelError where there are no heat maps."""
        if heat_maps and not self.has_heat_maps:
            raise ModelError("This file has no heat maps. A whole ONNX export of this Thaw has them (--format onnx).")
        wanted = [*OUTPUTS[:2], HEAT_MAP] if heat_maps else OUTPUTS[:2]
        probs, distances, *maps = self._session.run(wanted, {INPUT: pixels})
        return Outputs(probs, distances, maps[0] if maps else None)

    def answers(self, outputs: Outputs, top_k: int, threshold: float | None) -> list[Answer]:
        """One for each image, with the `top_k` most probable classes."""
        answers = []
        for place, (row, distance) in enumerate(zip(outputs.probs, outputs.distances, strict=True)):
            order = row.argsort()[::-1][:top_k]
            answers.append(
                Answer(
                    [self.classes[index] for index in order],
                    row[order].tolist(),
                    None if threshold is None else float(distance),
                    None if threshold is None else bool(distance > threshold),
                    None if outputs.heat_maps is None else outputs.heat_maps[place].tolist(),
                )
            )
        return answers

    def about(self) -> dict[str, Any]:
        """What a caller needs to know, as plain values."""
        return {
            "classes": self.classes,
            "image_size": self.image_size,
            "coverage": self.coverage,
            "none_of_these": self.supports_none_of_these,
            "heat_maps": self.has_heat_maps,
            "sha256": self.sha256,
        }

    def sentence(self) -> str:
        """For a person."""
        return f"{count(len(self.classes), 'class', 'classes')}, images of {self.image_size} pixels a side"


def joined(outputs: Sequence[Outputs]) -> Outputs:
    """Several outputs as one, in order."""
    maps = [one.heat_maps for one in outputs if one.heat_maps is not None]
    return Outputs(
        np.concatenate([one.probs for one in outputs]),
        np.concatenate([one.distances for one in outputs]),
        np.concatenate(maps) if len(maps) == len(outputs) else None,
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
