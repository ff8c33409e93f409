"""How an export does on the validation images beside the run's own model. Needs no torch."""

from dataclasses import asdict, dataclass
from typing import Any

from learner.evaluation.intervals import Discordance
from learner.exports.formats import WARN_ACCURACY_LOST
from learner.wording import count, percent


@dataclass(frozen=True)
class Speed:
    """Milliseconds an image, the median of several; decoding is no part of it."""

    alone_ms: float
    batch_ms: float | None
    """In batches of `Measured.batch`; None where it takes one image at a time."""


@dataclass(frozen=True)
class Measured:
    """Both on the same validation images, in fresh memory on this machine's processor, one after the other."""

    images: int
    discordance: Discordance
    """Of the run's own model in PyTorch and fp32 (first), and of the export (second)."""
    same_class: int
    """Images of which both name the same class."""
    same_none: int | None
    """Images of which both say, or do not say, "none of these"; None where the model cannot tell."""
    largest: float
    """Difference of a probability, 0 to 1."""
    original: Speed
    export: Speed
    batch: int
    threads: int
    """Of this machine's processor, which both were free to use."""
    has_learnt: bool
    """Whether the run's model has learnt from these images since, in its refit."""

    @property
    def accuracies(self) -> tuple[float, float]:
        """Of the run's model and of the export, 0 to 1."""
        of, n = self.discordance, self.images
        return (of.both + of.broken) / n, (of.both + of.fixed) / n

    @property
    def sentence(self) -> str:
        """Accuracy, agreement and speed, for a person."""
        low, high = self.discordance.interval
        before, now = self.accuracies
        text = (
            f"On {count(self.images, 'validation photo')}: accuracy {percent(now)}, the run's model {percent(before)} "
            f"(difference {points(self.discordance.difference)} points, {points(low)} to {points(high)}); "
            f"the same class on {percent(self.same_class / self.images)}; a probability differs by at most "
            f"{self.largest:.3f}."
        )
        if self.same_none is not None:
            text += f' The same on "none of these" for {percent(self.same_none / self.images)}.'
        return text + (
            " The run's model has learnt from these photos since, so that both accuracies flatter; their difference "
            "flatters less."
            if self.has_learnt
            else ""
        )

    @property
    def speed_sentence(self) -> str:
        """`5.5 ms a photo one by one (the run's model 42 ms) …`."""
        alone = milliseconds(self.original.alone_ms)
        text = f"{milliseconds(self.export.alone_ms)} a photo one by one (the run's model {alone})"
        if self.export.batch_ms is not None and self.original.batch_ms is not None:
            text += (
                f", {milliseconds(self.export.batch_ms)} in batches of {self.batch} (the run's model "
                f"{milliseconds(self.original.batch_ms)})"
            )
        return f"{text}; on this machine's processor, {count(self.threads, 'thread')}, without reading the files."

    @property
    def warning(self) -> str:
        """Where accuracy fell by more than `WARN_ACCURACY_LOST`; else empty."""
        if self.discordance.difference >= -WARN_ACCURACY_LOST:
            return ""
        return (
            f"It is less accurate than the run's model by {points(-self.discordance.difference)[1:]} points on the "
            "validation photos. Take one that rounds less, unless size or speed count more."
        )

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Measured":
        """Out of `to_dict`."""
        nested = {
            "discordance": Discordance(**values["discordance"]),
            "original": Speed(**values["original"]),
            "export": Speed(**values["export"]),
        }
        return cls(**values | nested)


def points(share: float) -> str:
    """`+0.7`, `-1.5`: percentage points of a difference of shares."""
    return f"{100 * share:+.1f}".replace("-0.0", "+0.0")


def milliseconds(value: float) -> str:
    """`5.5 ms`, `42 ms`."""
    return f"{value:.1f} ms" if value < 10 else f"{value:.0f} ms"
