"""Where a run stands: what it tells the store, and through it pages and commands, while it trains. Needs no torch."""

import os
import time
from dataclasses import asdict, dataclass
from typing import Any

import psutil

from learner.errors import RunTakenOver
from learner.jobs.memory import total_memory
from learner.planning.cost import PhasePlan, RunPlan
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
    """Index of the present phase; those of the refit follow the recipe's. None before the first and after the last."""
    epoch: int = 0
    """Epoch of this phase, from 1; 0 before the first."""
    epochs: int = 0
    """Epochs of this phase."""
    batch: int = 0
    """Batches done of this epoch."""
    batches: int = 0
    phase_done: float | None = None
    """Share of the present phase, 0 to 1."""
    phase_seconds_left: float | None = None
    images_per_s: float | None = None
    """Of training, over the last few seconds."""
    cpu: float | None = None
    """Per cent of all cores that the run's process has used since the last report."""
    memory: int | None = None
    """Bytes that the run's process holds."""
    memory_total: int | None = None
    """Bytes of this machine."""
    gpu_memory: int | None = None
    """Bytes that are taken on the GPU; None without one."""


class Listener:
    """Hears what a run reports to the store, for a command that trains in the foreground. Does nothing itself."""

    def on_progress(self, progress: Progress) -> None:
        """Training has moved on."""

    def on_epoch(self, figures: dict[str, Any], is_best: bool) -> None:
        """An epoch has ended; `figures` are the columns of `store.Epoch`."""


class StopAsked(Exception):
    """Somebody asked the run to stop or pause, while it was getting ready for an epoch."""


class _Pace:
    """True seconds for each expected one, since a moment."""

    def __init__(self, spent_s: float):
        self._began, self._from_s = time.monotonic(), spent_s

    def skip(self, expected_s: float) -> None:
        """So much was not done, but left out."""
        self._from_s += expected_s

    def pace(self, spent_s: float, whole_s: float) -> float | None:
        """None before a hundredth of `whole_s` is done: too little to tell."""
        done = spent_s - self._from_s
        return (time.monotonic() - self._began) / done if done > 0.01 * whole_s else None


class ProgressReporter:
    """A run's progress over all phases, written to the store; remembers what a person asked for."""

    def __init__(self, store: Store, run_id: int, listener: Listener | None = None):
        self.store = store
        self.run_id = run_id
        self.asked = ""
        """One of `learner.store.runs.REQUESTS`, or nothing."""
        self.latest = Progress("")
        self.listener = listener or Listener()
        self.images_per_s: float | None = None
        self.gpu_memory: int | None = None
        self._plan: RunPlan | None = None
        self._spent_s = 0.0
        """Of the plan's expected seconds, what is done."""
        self._run = self._part_pace = _Pace(0.0)
        self._part: tuple[int | None, bool] | None = None
        self._last_report = 0.0
        self._process = psutil.Process()
        self._process.cpu_percent()

    @property
    def stops_now(self) -> bool:
        return self.asked == "stop"

    @property
    def is_ending(self) -> bool:
        """Whether the run is to end before its time, and not to go on later as a paused one does."""
        return self.asked in ("stop", "stop_after_epoch")

    def say(self, message: str, done: float | None = None, seconds_left: float | None = None) -> None:
        """Report a sentence outside the phases."""
        self._write(Progress(message, done=self.latest.done if done is None else done, seconds_left=seconds_left))

    def expect(self, plan: RunPlan, phase: int = 0, epochs: float = 0.0) -> None:
        """What the run will cost; of it only the ratios matter here, the measured pace so far scales them.

        A run that goes on has done all before `phase` already, and so many epochs of that.
        """
        self._plan = plan
        self._spent_s = sum(part.expected_s for part in plan.stretches[:phase])
        self._spent_s += plan.decode_s if phase or epochs else 0.0
        if epochs:
            now = plan.stretches[phase]
            self._spent_s += now.features_s * now.cached + epochs * (now.train_s + now.valid_s)
        self._run = _Pace(self._spent_s)
        self._part, self._part_pace = None, self._run

    def prepare(self, what: str, images: int, total: int, expected_s: float, phase: int | None = None) -> None:
        """So many more of `total` images are read or computed, which as a whole should take `expected_s`.

        Raises StopAsked when somebody asked for a stop or a pause.
        """
        self._spent_s += expected_s * images / total
        self._report(what, phase=phase)
        if self.asked:
            raise StopAsked

    def batch(
        self, index: int, plan: PhasePlan, epochs: int, epoch: int, batch: int, batches: int, training: bool
    ) -> None:
        """One more batch of that phase is done: `batch` of `batches`, in its epoch `epoch` (from 1)."""
        self._spent_s += (plan.train_s if training else plan.valid_s) / batches
        verb = "Stopping after checking what was learnt" if self.stops_now else plan.name
        part = "learning" if training else "checking on the validation images"
        self._report(f"{verb}: {part}", phase=index, epoch=epoch, epochs=epochs, batch=batch, batches=batches)

    def skip(self, index: int, epochs: int) -> None:
        """So many epochs of that phase will not be run, as it ended early."""
        assert self._plan is not None
        plan = self._plan.stretches[index]
        skipped = epochs * (plan.train_s + plan.valid_s)
        self._spent_s += skipped
        self._run.skip(skipped)

    def _report(self, message: str, **where: Any) -> None:
        """Write where the run stands, at most every `REPORT_EVERY_S`."""
        index = where.get("phase")
        part = (index, bool(where.get("epoch")))
        if part != self._part:
            self._part, self._part_pace = part, _Pace(self._spent_s)
        if time.monotonic() - self._last_report < REPORT_EVERY_S:
            return
        assert self._plan is not None  # `expect` was called
        expected = self._plan.expected_s
        share = min(self._spent_s / expected, 1.0) if expected else 0.0
        left = max(expected - self._spent_s, 0.0)
        if index is None:
            here, phase_done = left, None
        else:
            total = self._plan.stretches[index].expected_s
            before = self._plan.decode_s + sum(part.expected_s for part in self._plan.stretches[:index])
            spent = min(max(self._spent_s - before, 0.0), total)
            here, phase_done = total - spent, spent / total if total else 0.0
        seconds_left = phase_seconds_left = None
        pace = self._run.pace(self._spent_s, expected)
        if pace is not None:
            # What is under way goes on as it has gone; of what comes later, only the plan and the whole run tell.
            own = self._part_pace.pace(self._spent_s, here) or pace
            seconds_left = own * here + pace * (left - here)
            phase_seconds_left = own * here if index is not None else None
        self._write(
            Progress(
                message,
                done=share,
                seconds_left=seconds_left,
                phase_done=phase_done,
                phase_seconds_left=phase_seconds_left,
                **where,
            )
        )

    def _write(self, progress: Progress) -> None:
        self._last_report = time.monotonic()
        progress.images_per_s, progress.gpu_memory = self.images_per_s, self.gpu_memory
        progress.cpu = self._process.cpu_percent() / (os.cpu_count() or 1)
        progress.memory, progress.memory_total = self._process.memory_info().rss, total_memory()
        self.latest = progress
        asked = self.store.runs.report(self.run_id, asdict(progress))
        if asked is None:
            raise RunTakenOver(f"Run {self.run_id} is not this process's any more: it was silent for too long.")
        self.asked = asked
        self.listener.on_progress(progress)
