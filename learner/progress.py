"""Where a run stands: what it tells the store, and through it pages and commands, while it trains. Needs no torch."""

import time
from dataclasses import asdict, dataclass
from typing import Any

from learner.speed import PhasePlan, RunPlan
from learner.store import Store

REPORT_EVERY_S = 0.3


@dataclass
class Progress:
    """Where a run stands."""

    message: str
    """A sentence for a person."""
    done: float = 0.0
    """Share of the whole run, 0 to 1."""
    seconds_left: float | None = None
    """None while it cannot be told."""
    phase: int | None = None
    """Index of the present phase; None before the first and after the last."""
    epoch: int = 0
    """Epoch of this phase, from 1; 0 before the first."""
    epochs: int = 0
    """Epochs of this phase."""
    batch: int = 0
    """Batches done of this epoch."""
    batches: int = 0


class Listener:
    """Hears what a run reports to the store, for a command that trains in the foreground. Does nothing itself."""

    def on_progress(self, progress: Progress) -> None:
        """Training has moved on."""

    def on_epoch(self, figures: dict[str, Any], is_best: bool) -> None:
        """An epoch has ended; `figures` are the columns of `store.Epoch`."""


class StopAsked(Exception):
    """Somebody asked the run to stop, while it was getting ready for an epoch."""


class Progression:
    """A run's progress over all phases, written to the store; remembers whether a stop was asked for."""

    def __init__(self, store: Store, run_id: int, listener: Listener | None = None):
        self.store = store
        self.run_id = run_id
        self.stop_requested = False
        self.latest = Progress("")
        self.listener = listener or Listener()
        self._expected_s = 0.0
        self._spent_s = 0.0
        self._last_report = 0.0
        self._began = 0.0

    def say(self, message: str, done: float | None = None) -> None:
        """Report a sentence outside the phases."""
        self._write(Progress(message, done=self.latest.done if done is None else done))

    def expect(self, plan: RunPlan) -> None:
        """What the run will cost; of it only the ratios matter here, the measured speed so far scales them."""
        self._expected_s = plan.expected_s
        self._spent_s = 0.0
        self._began = time.monotonic()

    def prepare(self, what: str, images: int, total: int, expected_s: float, phase: int | None = None) -> None:
        """So many more of `total` images are read or computed, which as a whole should take `expected_s`.

        Raises StopAsked when somebody asked for that.
        """
        self._spent_s += expected_s * images / total
        self._report(what, phase=phase)
        if self.stop_requested:
            raise StopAsked

    def batch(
        self, index: int, plan: PhasePlan, epochs: int, epoch: int, batch: int, batches: int, training: bool
    ) -> None:
        """One more batch of that phase is done: `batch` of `batches`, in its epoch `epoch` (from 1)."""
        self._spent_s += (plan.train_s if training else plan.valid_s) / batches
        verb = "Stopping after checking what was learnt" if self.stop_requested else plan.name
        part = "learning" if training else "checking on the validation images"
        self._report(f"{verb}: {part}", phase=index, epoch=epoch, epochs=epochs, batch=batch, batches=batches)

    def _report(self, message: str, **where: Any) -> None:
        """Write where the run stands, at most every `REPORT_EVERY_S`."""
        if time.monotonic() - self._last_report < REPORT_EVERY_S:
            return
        share = min(self._spent_s / self._expected_s, 1.0) if self._expected_s else 0.0
        elapsed = time.monotonic() - self._began
        left = elapsed * (1 - share) / share if share > 0.01 else None
        self._write(Progress(message, done=share, seconds_left=left, **where))

    def _write(self, progress: Progress) -> None:
        self._last_report = time.monotonic()
        self.latest = progress
        self.stop_requested = self.store.runs.report(self.run_id, asdict(progress)) or self.stop_requested
        self.listener.on_progress(progress)
