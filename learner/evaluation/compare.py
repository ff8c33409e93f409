"""Several runs beside each other, from their epochs alone. Pure: figures in, figures out. Needs no torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from statistics import mean, stdev

from learner.store import Epoch


@dataclass(frozen=True)
class Compared:
    """One run among those it is compared with."""

    run_id: int
    best_accuracy: float | None
    """None before its first epoch has ended, like all that follows it."""
    epochs: int
    seconds: float
    """Of its epochs, together."""
    epochs_until: int | None
    """Epochs until it had the accuracy that all of them reached."""
    seconds_until: float | None


@dataclass(frozen=True)
class PhaseGain:
    """What one phase brought."""

    phase: int
    """Its index."""
    accuracy: float
    """At its end, or where it stands."""
    gain: float | None
    """Since the end of the phase before; None for the first."""


@dataclass(frozen=True)
class Spread:
    """How far the runs of a series lie apart."""

    mean: float
    deviation: float | None
    """Of the sample; None for a single run."""
    runs: int


def common_accuracy(runs: Mapping[int, Sequence[Epoch]]) -> float | None:
    """The highest accuracy that each of the runs reached; None where one has no epoch yet."""
    if not runs or not all(runs.values()):
        return None
    return min(max(epoch.accuracy for epoch in epochs) for epochs in runs.values())


def compare(runs: Mapping[int, Sequence[Epoch]]) -> list[Compared]:
    """Each run, in the order given. What it took until `common_accuracy` says what pretraining or a setting saved."""
    goal = common_accuracy(runs)
    return [_compared(run_id, epochs, goal) for run_id, epochs in runs.items()]


def phase_gains(epochs: Sequence[Epoch]) -> list[PhaseGain]:
    """Every phase that has an epoch, in order."""
    ends = {epoch.phase: epoch.accuracy for epoch in epochs}  # the last epoch of a phase stays
    before = [None, *ends.values()]
    return [
        PhaseGain(phase, accuracy, None if start is None else accuracy - start)
        for (phase, accuracy), start in zip(ends.items(), before, strict=False)
    ]


def whole_gain(epochs: Sequence[Epoch]) -> float | None:
    """Accuracy at the newest epoch minus that at the end of the first phase; None before a second one has an epoch."""
    gains = phase_gains(epochs)
    return gains[-1].accuracy - gains[0].accuracy if len(gains) > 1 else None


def spread(accuracies: Sequence[float]) -> Spread | None:
    """Mean and standard deviation; None where there is nothing to take them of."""
    if not accuracies:
        return None
    return Spread(mean(accuracies), stdev(accuracies) if len(accuracies) > 1 else None, len(accuracies))


def _compared(run_id: int, epochs: Sequence[Epoch], goal: float | None) -> Compared:
    seconds = list(accumulate(epoch.seconds for epoch in epochs))
    there = next((at for at, epoch in enumerate(epochs) if goal is not None and epoch.accuracy >= goal), None)
    return Compared(
        run_id=run_id,
        best_accuracy=max((epoch.accuracy for epoch in epochs), default=None),
        epochs=len(epochs),
        seconds=seconds[-1] if seconds else 0.0,
        epochs_until=None if there is None else there + 1,
        seconds_until=None if there is None else seconds[there],
    )
