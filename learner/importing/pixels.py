"""What networks take pixels for, as mean and spread of channels. Needs no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from learner.errors import ModelError

if TYPE_CHECKING:
    from learner.importing.keras_files import Layer  # brings h5py


@dataclass(frozen=True)
class Pixels:
    """A network takes (value − mean) / std of each channel (RGB), for values in 0 to 1."""

    mean: list[float]
    std: list[float]
    is_bgr: bool = False
    """Whether it takes blue first, which goes into the first convolution."""
    label: str = ""
    """For a person."""


PIXELS = {
    "caffe": Pixels(
        [123.68 / 255, 116.779 / 255, 103.939 / 255],
        [1 / 255] * 3,
        True,
        "0 to 255 less ImageNet's mean, blue first (preprocess_input of VGG and ResNet)",
    ),
    "0-1": Pixels([0.0] * 3, [1.0] * 3, label="0 to 1 (rescale=1./255)"),
    "-1-1": Pixels([0.5] * 3, [0.5] * 3, label="-1 to 1 (preprocess_input of MobileNet and Inception)"),
    "0-255": Pixels([0.0] * 3, [1 / 255] * 3, label="0 to 255, as they are"),
    "imagenet": Pixels(
        [0.485, 0.456, 0.406], [0.229, 0.224, 0.225], label="0 to 1, less ImageNet's mean, by its spread"
    ),
}
"""By the names that a person gives them. Source: keras.applications.imagenet_utils.preprocess_input."""


def pixels_of_rescaling(layers: "Sequence[Layer]") -> Pixels:
    """What layers `Rescaling` make of values 0 to 255, one after the other. Raises ModelError."""
    scale, offset = 1.0, 0.0
    for layer in layers:
        own_scale, own_offset = layer.config.get("scale"), layer.config.get("offset", 0.0)
        if not isinstance(own_scale, int | float) or not isinstance(own_offset, int | float) or not own_scale:
            raise ModelError(f"Its layer {layer.name} rescales channels each in its own way, which is not known here.")
        scale, offset = scale * own_scale, offset * own_scale + own_offset
    return Pixels([-offset / (255 * scale)] * 3, [1 / (255 * scale)] * 3)
