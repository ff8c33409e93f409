"""Whether new pictures lie further from the training images than the validation images did.

Each `WINDOW` pictures in turn are compared with the validation images by the test of Mann and Whitney, one-sided:
pictures that lie nearer are no trouble. Of windows like the validation images, the share `FALSE_ALARMS` is taken for
drift by chance. That holds on average over models: the validation images of one model are a sample, too, and where they
happen to lie near, its new pictures are suspected more often. Validation photos that were taken along with training
photos lie nearer than any new ones will; a split by groups avoids that.

Source: Mann and Whitney 1947, "On a Test of Whether one of Two Random Variables is Stochastically Larger than the
Other".
"""

from collections.abc import Sequence
from math import comb

import numpy as np
from scipy.stats import mannwhitneyu

WINDOW = 50
FALSE_ALARMS = 0.001
"""Of the windows without drift, this share is taken for drift."""


class Drift:
    """Takes distances as they come, and tells of each full window whether it drifted."""

    def __init__(self, quantiles: Sequence[float], images: int):
        """`quantiles` are those of the distances of so many validation `images`, evenly spaced and rising."""
        size = min(images, len(quantiles))  # no more values are known
        places = (np.arange(size) + 0.5) / max(size, 1)
        self._known = np.interp(places, np.linspace(0, 1, len(quantiles)), quantiles) if size else np.empty(0)
        self._window: list[float] = []

    @property
    def can_tell(self) -> bool:
        """Whether there are enough validation images that a whole window beyond them would be noticed."""
        return comb(WINDOW + len(self._known), WINDOW) * FALSE_ALARMS > 1

    def add(self, distance: float) -> float | None:
        """The p of the window that this picture fills; None where it fills none."""
        self._window.append(distance)
        if len(self._window) < WINDOW:
            return None
        window, self._window = self._window, []
        return float(mannwhitneyu(window, self._known, alternative="greater").pvalue)
