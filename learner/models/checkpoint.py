"""Trained models as files: one safetensors file holds the weights and all that is needed to use them."""

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from learner.atomic import written_whole
from learner.errors import ModelError
from learner.models.backbones import build
from learner.models.heads import build_head
from learner.recipe import Augment, Head

FORMAT = 2
"""What this Thaw writes. Files of format 1 lack the calibration."""
REFERENCE = "reference"
"""Name of the tensor that holds the reference features."""
USUAL_COVERAGE = 0.95


@dataclass
class ModelSpec:
    """What is needed, beside the weights, to build a model and feed it."""

    arch: str
    """timm's name of the backbone."""
    stages: list[str]
    classes: list[str]
    """In the order of the logits."""
    image_size: int
    """Side in pixels; images are squished to a square."""
    mean: list[float]
    """Of each channel (RGB), for values in 0 to 1; like `std`."""
    std: list[float]
    num_features: int
    """Channels between body and head."""
    precision: str = "fp32"
    """What it was trained and validated in."""
    head: dict[str, Any] = field(default_factory=lambda: asdict(Head()))
    """Fields of a `learner.recipe.Head`."""
    map_size: list[int] = field(default_factory=lambda: [1, 1])
    """Height and width of the feature map between body and head."""
    temperature: float = 1.0
    """The logits are divided by it before the softmax, so that probabilities mean what they say; fitted on the
    validation images."""
    neighbours: int = 0
    """How far an image lies from the training images is its distance to the so-manieth nearest of the reference
    features; 0: the model cannot say "none of these"."""
    distances: list[float] = field(default_factory=list)
    """Of the validation images from the training images: 101 quantiles, from the least to the greatest."""
    augment: dict[str, Any] = field(default_factory=lambda: asdict(Augment()))
    """Fields of the `learner.recipe.Augment` it was trained with."""
    format: int = FORMAT

    def threshold(self, coverage: float = USUAL_COVERAGE) -> float:
        """The distance beyond which an image is none of the classes.

        The share `coverage` (0 to 1) of images like the validation images is still answered. Infinite where the model
        cannot say "none of these".
        """
        if not self.neighbours:
            return float("inf")
        return float(np.interp(coverage, np.linspace(0, 1, len(self.distances)), self.distances))


def save_model(model: nn.Sequential, spec: ModelSpec, path: Path, reference: Tensor | None = None) -> None:
    """Write weights and `spec` as one safetensors file, by a temporary name, so that a reader sees all or nothing.

    `reference` (images, num_features) are the features of training images that distances are measured from.
    """
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    if reference is not None:
        state[REFERENCE] = reference.cpu().contiguous()
    described = json.dumps(asdict(replace(spec, format=FORMAT)), ensure_ascii=False)
    with written_whole(path) as temporary:
        save_file(state, temporary, metadata={"thaw": described})


def load_model(path: Path) -> tuple[nn.Sequential, ModelSpec]:
    """`Sequential(body, head)` in evaluation mode on the CPU, and its spec. Raises ModelError."""
    spec = read_spec(path)
    model = build_model(spec)
    try:
        model.load_state_dict(load_weights(path))
    except RuntimeError as error:
        raise ModelError(f"The weights in {path} do not fit the {spec.arch} that it names: {error}") from None
    return model.eval(), spec


def load_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of the network alone, by the names of its `state_dict`."""
    return {name: tensor for name, tensor in load_file(path).items() if name != REFERENCE}


def load_reference(path: Path) -> Tensor | None:
    """The reference features, (images, num_features) of length 1 each; None of a model that has none."""
    with safe_open(path, framework="pt") as file:
        return file.get_tensor(REFERENCE).float() if REFERENCE in file.keys() else None  # noqa: SIM118 (no mapping)


def read_spec(path: Path) -> ModelSpec:
    """Raises ModelError when the file is missing, damaged, or not written by Thaw."""
    if not path.is_file():
        raise ModelError(f"There is no model at {path}.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except SafetensorError as error:
        raise ModelError(f"{path} is not a whole safetensors file ({error}). Export it once more.") from None
    if "thaw" not in metadata:
        raise ModelError(f"{path} was not written by Thaw: it does not say which classes it knows.")
    try:
        values = json.loads(metadata["thaw"])
        if values["format"] <= FORMAT:
            return ModelSpec(**values)
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path} is damaged: its description cannot be read ({error}). Export it once more.") from None
    raise ModelError(f"{path} has format {values['format']}; this Thaw reads formats up to {FORMAT}. Update Thaw.")


def build_model(spec: ModelSpec) -> nn.Sequential:
    """The architecture that `spec` names, its weights not loaded."""
    head = Head(**spec.head)
    body = build(spec.arch, weights="random", two_scales=head.two_scales).body
    height, width = spec.map_size
    layers = build_head(head, spec.num_features, len(spec.classes), (height, width))
    return nn.Sequential(body, layers)
