"""Where a network looked, drawn over the picture it looked at. Needs no torch."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    import numpy as np

    Weights = np.ndarray | Sequence[Sequence[float]]

AMBER = (242, 169, 59)
STRONGEST = 0.72
"""How much of the picture the colour covers where the network looked most."""
EVEN = 0.05
"""Where the weights differ by no more than this share of the highest, the network looked everywhere alike."""


def is_uniform(attention: "Weights") -> bool:
    """Whether there is nothing to see in the weights (rows of 0 to 1)."""
    import numpy as np

    weights = np.asarray(attention)
    return float(weights.max() - weights.min()) <= EVEN * float(weights.max())


def overlay(picture: Image.Image, attention: "Weights", strength: float = STRONGEST) -> Image.Image:
    """`picture` under amber: the more of it, the more a place weighed; from the lowest weight to the highest.

    `strength` (0 to 1) is how much of the picture the colour covers where the weight is highest. Weights that are all
    alike leave the picture as it is. The network saw the picture squished to a square, so the weights are stretched to
    its true shape.
    """
    import numpy as np

    weights = np.asarray(attention, dtype=np.float32)
    spread = float(weights.max() - weights.min())
    if is_uniform(attention):
        return picture.convert("RGB")
    shown = Image.fromarray((weights - weights.min()) / spread).resize(picture.size, Image.Resampling.BICUBIC)
    alpha = np.clip(np.asarray(shown), 0, 1)[..., None] * strength
    mixed = np.asarray(picture.convert("RGB"), dtype=np.float32) * (1 - alpha) + np.array(AMBER, np.float32) * alpha
    return Image.fromarray(mixed.round().astype(np.uint8))
