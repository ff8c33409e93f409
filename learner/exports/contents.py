"""What every export of a run is made of: its model, its calibration, and the photos that prove it."""

import base64
import copy
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from learner.evaluation.results import load_result
from learner.models.checkpoint import USUAL_COVERAGE, ModelSpec, load_model, load_reference


@dataclass(frozen=True)
class GoldenPhoto:
    """A validation photo with what the model says of it, in fp32 on a CPU."""

    file: str
    label: str
    png: bytes
    """Upright, RGB, not squished yet."""
    probs: list[float]
    """Calibrated, in the order of the classes."""
    distance: float | None
    """From the training images; None where the model cannot tell."""


@dataclass
class Contents:
    """One model, ready to be written in any format."""

    model: nn.Sequential
    """`Sequential(body, head)` in evaluation mode, fp32, on the CPU."""
    spec: ModelSpec
    reference: Tensor | None
    """(images, num_features), of length 1 each."""
    golden: list[GoldenPhoto]
    coverage: float = USUAL_COVERAGE
    """Share of images like the validation images that are still answered."""
    validation_images: int = 0
    """How many there were; 0 where the run has no result."""

    @classmethod
    def read(cls, checkpoint: Path, coverage: float = USUAL_COVERAGE) -> "Contents":
        """Out of a run's folder, the golden photos where there are some. Raises ModelError."""
        model, spec = load_model(checkpoint)
        folder = checkpoint.parent
        images = (load_result(folder) or {}).get("images", 0)
        return cls(model.float(), spec, load_reference(checkpoint), read_golden(folder / "golden"), coverage, images)

    @property
    def supports_none_of_these(self) -> bool:
        """Whether it can say "none of these"."""
        return self.reference is not None and self.spec.neighbours > 0

    @property
    def threshold(self) -> float | None:
        """The distance beyond which an image is none of the classes; None where the model cannot tell."""
        return self.spec.threshold(self.coverage) if self.supports_none_of_these else None

    def about(self, pictures: bool = True) -> dict[str, Any]:
        """What a reader of any format needs to know, as plain values that fit into JSON.

        `golden` holds for each photo its `file`, `label`, `probs`, `distance` and, with `pictures`, `png` (base64).
        """
        return {
            "classes": self.spec.classes,
            "image_size": self.spec.image_size,
            "temperature": self.spec.temperature,
            "neighbours": self.spec.neighbours if self.supports_none_of_these else 0,
            "coverage": self.coverage,
            "threshold": self.threshold,
            "validation_images": self.validation_images,
            "distances": self.spec.distances if self.supports_none_of_these else [],
            "golden": [
                {"file": photo.file, "label": photo.label, "probs": photo.probs, "distance": photo.distance}
                | ({"png": base64.b64encode(photo.png).decode()} if pictures else {})
                for photo in self.golden
            ],
        }


def read_golden(folder: Path) -> list[GoldenPhoto]:
    """The photos that `learner.evaluation.inspect` chose; none where the run is of an older Thaw."""
    file = folder / "golden.json"
    if not file.exists():
        return []
    return [
        GoldenPhoto(row["file"], row["label"], (folder / row["file"]).read_bytes(), row["probs"], row.get("distance"))
        for row in json.loads(file.read_text("utf-8"))["photos"]
    ]


@torch.no_grad()
def with_temperature(head: nn.Sequential, temperature: float) -> nn.Sequential:
    """A copy of a head whose logits are already divided by `temperature`, in its last linear layer."""
    head = copy.deepcopy(head)
    last = [module for module in head.modules() if isinstance(module, nn.Linear)][-1]
    last.weight.div_(temperature)
    if last.bias is not None:
        last.bias.div_(temperature)
    return head
