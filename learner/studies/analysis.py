"""The answer of a study: paired differences, with intervals that know that folds share training images.

Plain arithmetic: figures in, figures out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, sqrt
from statistics import mean, median, variance

from scipy.special import stdtr, stdtrit

from learner.evaluation.intervals import Discordance, holm

CONFIDENCE, POWER = 0.95, 0.8
SIGNIFICANT = 1 - CONFIDENCE
MOST_MORE_SEEDS = 100
"""If so many more would not show a difference, more seeds are no way to show it."""

Place = tuple[int, int]
"""Seed and fold."""


@dataclass(frozen=True)
class Outcome:
    """How one run did on its held-back fold."""

    run_id: int
    accuracy: float
    log_loss: float
    """Nats."""
    right: Mapping[str, bool]
    """By the images' content, whether the model had its class right."""
    learnt: int
    """Images that it was trained and chosen by: all but the fold."""


@dataclass(frozen=True)
class Difference:
    """A figure of one variant less that of another, over pairs of runs with the same seed and fold."""

    each: tuple[float, ...]
    """One a pair."""
    ratio: float
    """Images that judge, for each one that is learnt from: by so much pairs depend on each other."""

    @property
    def mean(self) -> float:
        return mean(self.each)

    @property
    def error(self) -> float:
        """Standard error, corrected for training images that runs share; infinite for a single pair.

        Source: Nadeau & Bengio 2003, Machine Learning 52; with repeated folds: Bouckaert & Frank 2004, PAKDD.
        """
        if len(self.each) < 2:
            return float("inf")
        return sqrt((1 / len(self.each) + self.ratio) * variance(self.each))

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 %, by the corrected resampled t-test; None for a single pair."""
        if len(self.each) < 2:
            return None
        half = float(stdtrit(len(self.each) - 1, (1 + CONFIDENCE) / 2)) * self.error
        return self.mean - half, self.mean + half

    @property
    def p_value(self) -> float:
        """Two-sided: how likely so large a difference would be if there were none."""
        if not isfinite(self.error):
            return 1.0
        if not self.error:
            return 0.0 if self.mean else 1.0
        return float(2 * stdtr(len(self.each) - 1, -abs(self.mean) / self.error))

    def more_seeds(self, folds: int) -> int | None:
        """How many more would show a difference as large as the one seen, four times in five.

        None where not even `MOST_MORE_SEEDS` would: what is left is that all runs learn from much the same images.
        """
        if len(self.each) < 2 or not self.mean:
            return None
        spread = variance(self.each)
        for more in range(1, MOST_MORE_SEEDS + 1):
            pairs = len(self.each) + more * folds
            needed = sum(float(stdtrit(pairs - 1, level)) for level in ((1 + CONFIDENCE) / 2, POWER))
            if needed * sqrt((1 / pairs + self.ratio) * spread) <= abs(self.mean):
                return more
        return None


@dataclass(frozen=True)
class Compared:
    """A variant against the first one."""

    name: str
    against: str
    accuracy: Difference
    log_loss: Difference
    p_value: float
    """Of the difference in accuracy, raised for there being several variants (Holm)."""
    mcnemar: float
    """p-value of McNemar's exact test on the answers for held-back images: twice the median of the seeds'.

    Source: Meinshausen, Meier & Bühlmann 2009, JASA 104, for the median of p-values that depend on each other.
    """
    places: tuple[Place, ...]
    """Of the pairs, in the order of their differences."""
    folds: int

    @property
    def is_proven(self) -> bool:
        return self.p_value < SIGNIFICANT

    @property
    def sentence(self) -> str:
        """What two pairs of runs or more show, and what they do not."""
        gain, interval = self.accuracy.mean, self.accuracy.interval
        assert interval is not None  # there are pairs enough
        if not any(self.accuracy.each):
            return f"{self.name} and {self.against} had the same accuracy in each of {len(self.places)} pairs of runs."
        low, high = interval
        between = f"{_points(low)} to {_points(high)}"
        if self.is_proven:
            better = "better" if gain > 0 else "worse"
            return (
                f"{self.name} is {better} than {self.against}: {_points(gain)} points of accuracy ({between}), which "
                f"is hardly chance ({p_text(self.p_value)})."
            )
        said = (
            f"Between {self.name} and {self.against} no difference is proven: {_points(gain)} points of accuracy, and "
            f"anything from {between} would fit ({p_text(self.p_value)})."
        )
        more = self.accuracy.more_seeds(self.folds)
        if more is None:
            return f"{said} More seeds would hardly show so small a difference; more images may."
        return f"{said} If it is as large as it looks, about {more} more seed{'s' * (more > 1)} would show it."


def compare_variants(names: Sequence[str], outcomes: Sequence[Mapping[Place, Outcome]], folds: int) -> list[Compared]:
    """Each variant against the first, over the seeds and folds that both have; those without a pair are left out."""
    found = []
    for name, own in zip(names[1:], outcomes[1:], strict=True):
        places = sorted(set(own) & set(outcomes[0]))
        if not places:
            continue
        pairs = [(outcomes[0][place], own[place]) for place in places]
        judging = sum(len(second.right) for _, second in pairs)
        ratio = judging / sum(second.learnt for _, second in pairs)
        found.append(
            Compared(
                name,
                names[0],
                Difference(tuple(second.accuracy - first.accuracy for first, second in pairs), ratio),
                Difference(tuple(second.log_loss - first.log_loss for first, second in pairs), ratio),
                p_value=1.0,
                mcnemar=_mcnemar(places, pairs),
                places=tuple(places),
                folds=folds,
            )
        )
    raised = holm([one.accuracy.p_value for one in found])
    return [Compared(**{**vars(one), "p_value": p_value}) for one, p_value in zip(found, raised, strict=True)]


def discordance(pairs: Sequence[tuple[Outcome, Outcome]]) -> Discordance:
    """How often each of two variants was right, image by image; every image once."""
    counts = {(before, now): 0 for before in (True, False) for now in (True, False)}
    for first, second in pairs:
        for image, right in second.right.items():
            counts[first.right[image], right] += 1
    return Discordance(counts[True, True], counts[True, False], counts[False, True], counts[False, False])


def p_text(p_value: float) -> str:
    """`p = 0.012`, or `p < 0.001`."""
    return f"p = {p_value:.3f}" if p_value >= 0.001 else "p < 0.001"


def _mcnemar(places: Sequence[Place], pairs: Sequence[tuple[Outcome, Outcome]]) -> float:
    by_seed: dict[int, list[tuple[Outcome, Outcome]]] = {}
    for (seed, _), pair in zip(places, pairs, strict=True):
        by_seed.setdefault(seed, []).append(pair)
    p_values = [discordance(some).p_value for some in by_seed.values()]
    return p_values[0] if len(p_values) == 1 else min(1.0, 2 * median(p_values))


def _points(share: float) -> str:
    return f"{100 * share:+.1f}".replace("-", "−")
