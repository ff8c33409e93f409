"""What the Runs page calls things."""

import time
from collections.abc import Sequence

from learner.store import Run
from learner.wording import duration, percent

STATUS = {
    "queued": "Waiting",
    "running": "Training",
    "paused": "Paused",
    "finished": "Finished",
    "stopped": "Stopped",
    "interrupted": "Interrupted",
    "failed": "Failed",
}


def took(run: Run) -> str:
    if run.started_at is None:
        return "–"
    return duration((run.finished_at or time.time()) - run.started_at)


def ordinal(number: int) -> str:
    """`1st`, `2nd`, `11th`."""
    ending = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def status_text(run: Run, waiting: Sequence[int]) -> str:
    """The status, with the place in the queue of a run that waits."""
    place = f", {ordinal(waiting.index(run.id) + 1)}" if run.id in waiting else ""
    return STATUS[run.status] + place


def points(gain: float) -> str:
    """`+3.1 points` for 0.031: a difference of two rates."""
    return f"{'+' if gain >= 0 else '−'}{abs(100 * gain):.1f} points"


def dataset_text(run: Run) -> str:
    """Data set and version, as they stand in its recipe since it was submitted."""
    return f"{run.recipe['dataset']} (version {run.recipe['version']})"


def accuracy_text(run: Run) -> str:
    return "–" if run.best_accuracy is None else percent(run.best_accuracy)
