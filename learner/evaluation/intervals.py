"""How sure a rate and a difference of rates are. Plain arithmetic: pages can have it at once. Needs no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, sqrt

Z95 = 1.959963984540054
"""The normal quantile of a two-sided 95 % interval."""


def wilson(successes: float, trials: int) -> list[float]:
    """The 95 % interval of a proportion. Source: Wilson 1927, JASA 22."""
    rate, spread = successes / trials, Z95**2 / trials
    centre = (rate + spread / 2) / (1 + spread)
    half = Z95 / (1 + spread) * sqrt(rate * (1 - rate) / trials + Z95**2 / (4 * trials**2))
    low = 0.0 if successes == 0 else centre - half
    return [low, 1.0 if successes == trials else centre + half]


@dataclass(frozen=True)
class Discordance:
    """Two models on the same images, counted."""

    both: int
    """Images that both have right."""
    broken: int
    """Right by the first only."""
    fixed: int
    """Right by the second only."""
    neither: int

    @property
    def images(self) -> int:
        return self.both + self.broken + self.fixed + self.neither

    @property
    def difference(self) -> float:
        """Accuracy of the second less that of the first."""
        return (self.fixed - self.broken) / self.images

    @property
    def interval(self) -> list[float]:
        """Of the difference, 95 %. Source: Newcombe 1998, Statistics in Medicine 17, 2635–2650, method 10."""
        n, first, second = self.images, self.both + self.broken, self.both + self.fixed
        (low1, high1), (low2, high2) = wilson(first, n), wilson(second, n)
        p1, p2 = first / n, second / n
        phi = self._correlation()
        below = (p2 - low2) ** 2 - 2 * phi * (p2 - low2) * (high1 - p1) + (high1 - p1) ** 2
        above = (p1 - low1) ** 2 - 2 * phi * (p1 - low1) * (high2 - p2) + (high2 - p2) ** 2
        return [self.difference - sqrt(max(below, 0.0)), self.difference + sqrt(max(above, 0.0))]

    @property
    def p_value(self) -> float:
        """Of McNemar's exact test: how likely so uneven a count of fixed and broken images is by chance alone.

        Source: McNemar 1947, Psychometrika 12; exact by the binomial law.
        """
        changed = self.fixed + self.broken
        tail = sum(comb(changed, k) for k in range(min(self.fixed, self.broken) + 1))
        return min(1.0, 2 * tail / 2**changed)

    def _correlation(self) -> float:
        """Of being right, with Newcombe's correction for continuity."""
        a, b, c, d = self.both, self.broken, self.fixed, self.neither
        product = (a + b) * (c + d) * (a + c) * (b + d)
        if not product:
            return 0.0
        cross: float = a * d - b * c
        if cross > 0:
            cross = max(cross - self.images / 2, 0)
        return cross / sqrt(product)


def holm(p_values: Sequence[float]) -> list[float]:
    """The same p-values, raised for there being several. Source: Holm 1979, Scandinavian Journal of Statistics 6."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted
