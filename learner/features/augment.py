"""Random changes to training images, fixed by seed, image and view: the same three always give the same picture."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from learner.recipe import Augment

DRAW_SIZE = 8
"""Numbers in a draw: a 2 × 3 affine matrix from output to input coordinates (-1 to 1), then contrast and brightness."""


def draw(augment: Augment, seed: int, sha256: str, view: int) -> np.ndarray:
    """What happens to one image in one view, as (8,) floats; see `DRAW_SIZE`.

    A picture is slanted first, then turned, enlarged about a random point, mirrored and moved. Factors between two are
    drawn evenly in ratio. What a setting draws does not depend on which others there are.
    """
    random = np.random.default_rng([seed, int(sha256[:16], 16), view])
    chances = random.random(8)  # always as many, so that one setting does not change what another draws
    turn = math.radians((2 * chances[0] - 1) * augment.rotate)
    turn += math.pi / 2 * math.floor(4 * chances[1]) if augment.quarter_turns else 0.0
    mirror = np.array(
        [
            -1.0 if augment.flip_horizontal and chances[2] < 0.5 else 1.0,
            -1.0 if augment.flip_vertical and chances[3] < 0.5 else 1.0,
        ]
    )
    low, high = augment.zoom_range
    zoom = low * (high / low) ** chances[4]
    cos, sin = math.cos(turn) / zoom, math.sin(turn) / zoom
    room = 1 - 1 / zoom
    centre = room * (2 * random.random(2) - 1)
    more = 2 * random.random(3) - 1
    slant = np.array([[1.0, augment.shear * more[0]], [0.0, 1.0]])
    matrix = slant @ np.array([[cos, -sin], [sin, cos]]) * mirror
    centre -= matrix @ (2 * augment.shift * more[1:])  # coordinates run from -1 to 1, so a picture is 2 wide
    contrast = 1 + augment.lighting * (2 * chances[5] - 1)
    brightness = augment.lighting * (2 * chances[6] - 1) / 2
    return np.concatenate([np.column_stack([matrix, centre]).ravel(), [contrast, brightness]]).astype(np.float32)


def apply(images: Tensor, draws: Tensor) -> Tensor:
    """`images` (batch, 3, height, width) have values 0 to 1, `draws` are (batch, 8). Reflection continues the edges."""
    matrices, light = draws[:, :6].view(-1, 2, 3), draws[:, 6:]
    if bool((matrices != torch.eye(2, 3, device=draws.device)).any()):
        grid = F.affine_grid(matrices, list(images.shape), align_corners=False)
        images = F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    if bool((light != torch.tensor([1.0, 0.0], device=draws.device)).any()):
        contrast, brightness = light[:, 0].view(-1, 1, 1, 1), light[:, 1].view(-1, 1, 1, 1)
        images = ((images - 0.5) * contrast + 0.5 + brightness).clamp(0, 1)
    return images.contiguous(memory_format=torch.channels_last)
