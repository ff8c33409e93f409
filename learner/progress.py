"""Where a run stands: what it tells the store, and through it pages and commands, while it trains. Needs no torch."""

import time
from dataclasses import asdict, dataclass
from typing import Any

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
    """Epoch of this phase, from 1."""
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


class Progression:
    """A run's progress over all phases, written to the store; remembers whether a stop was asked for."""

    def __init__(self, store: Store, run_id: int, listener: Listener | None = None):
        self.store = store
        self.run_id = run_id
        self.stop_requested = False
        self.latest = Progress("")
        self.listener = listener or Listener()
        self._costs: list[tuple[float, float]] = []
        self._epochs: list[int] = []
        self._work_done = 0.0
        self._last_report = 0.0
        self._began = 0.0

    def say(self, message: str, done: float | None = None) -> None:
        """Report a sentence outside the phases."""
        self._write(Progress(message, done=self.latest.done if done is None else done))

    def expect(self, costs: list[tuple[float, float]], epochs: list[int]) -> None:
        """`costs`: for each phase the expected seconds of a training and of a validation batch; only ratios matter."""
        self._costs, self._epochs = costs, epochs
        self._began = time.monotonic()

    def count(self, phase: int, training: bool) -> None:
        """One more batch was done."""
        self._work_done += self._costs[phase][0 if training else 1]

    def report(self, phase: int, name: str, epoch: int, batch: int, batches: tuple[int, int], training: bool) -> None:
        """Write where training stands, at most every `REPORT_EVERY_S`; `batches`: for training, for validation."""
        due = time.monotonic() - self._last_report >= REPORT_EVERY_S
        if not due:
            return
        total = sum(
            epochs * (batches[0] * train_s + batches[1] * valid_s)
            for epochs, (train_s, valid_s) in zip(self._epochs, self._costs, strict=True)
        )
        share = min(self._work_done / total, 1.0)
        elapsed = time.monotonic() - self._began
        verb = "Stopping after checking what was learnt" if self.stop_requested else name
        part = "learning" if training else "checking on the validation images"
        self._write(
            Progress(
                f"{verb}: {part}",
                done=share,
                seconds_left=elapsed * (1 - share) / share if share > 0.01 else None,
                phase=phase,
                epoch=epoch,
                epochs=self._epochs[phase],
                batch=batch,
                batches=batches[0] if training else batches[1],
            )
        )

    def _write(self, progress: Progress) -> None:
        self._last_report = time.monotonic()
        self.latest = progress
        self.stop_requested = self.store.runs.report(self.run_id, asdict(progress)) or self.stop_requested
        self.listener.on_progress(progress)
