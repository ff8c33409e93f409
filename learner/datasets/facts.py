"""What is measured of each picture once, on its way in; the checks compare these figures and open no file again."""

import imagehash
import numpy as np
from PIL import Image

from learner.datasets.images import Examined, fit_within

TINY_SIDE = 32
"""Pixels on each side of the small grey copy that tells near duplicates from look-alikes."""
MEASURED_SIDE = 512
"""Brightness, contrast and sharpness are measured at this size at most, so that they compare across cameras."""


def measure(examined: Examined, sha256: str, num_bytes: int) -> dict:
    """The columns of `store.Content` for a decoded picture.

    Sharpness is the standard deviation of the Laplacian (4 neighbours) of the grey levels, whose square is the focus
    measure of Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy", ICPR 2000.
    """
    grey = examined.image.convert("L") if max(examined.image.size) <= MEASURED_SIDE else _smaller(examined.image)
    levels = np.asarray(grey, np.float32)
    return {
        "sha256": sha256,
        "num_bytes": num_bytes,
        "phash": str(imagehash.phash(grey)),
        "tiny": grey.resize((TINY_SIDE, TINY_SIDE), Image.Resampling.BOX).tobytes(),
        "brightness": float(levels.mean()),
        "contrast": float(levels.std()),
        "sharpness": _sharpness(levels),
        "camera": examined.camera,
        "taken_at": examined.taken_at,
        "treatment": examined.treatment,
    }


def _smaller(image: Image.Image) -> Image.Image:
    return fit_within(image, MEASURED_SIDE).convert("L")


def _sharpness(levels: np.ndarray) -> float:
    if min(levels.shape) < 3:
        return 0.0
    inner = levels[1:-1, 1:-1]
    laplacian = levels[:-2, 1:-1] + levels[2:, 1:-1] + levels[1:-1, :-2] + levels[1:-1, 2:] - 4 * inner
    return float(laplacian.std())
