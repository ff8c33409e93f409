"""From pixels to what a backbone takes: augmented, scaled, normalised by channel."""

from dataclasses import dataclass

import torch
from torch import Tensor

from learner.features import augment


@dataclass(frozen=True)
class Preprocess:
    """How pixels become what a backbone takes: `mean` and `std` are of each channel (RGB), for values 0 to 1."""

    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, pixels: Tensor, draws: Tensor | None = None) -> Tensor:
        """`pixels` is (batch, height, width, 3) of bytes; returns (batch, 3, height, width) of floats, channels last.

        `draws` (batch, 8) are augmentations, as `learner.features.augment.draw` gives them.
        """
        x = pixels.permute(0, 3, 1, 2).float().div_(255)
        if draws is not None:
            x = augment.apply(x, draws)
        mean, std = (torch.tensor(values, device=x.device).view(1, 3, 1, 1) for values in (self.mean, self.std))
        return (x - mean) / std
