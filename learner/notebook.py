"""How a run shows itself in a Jupyter notebook while it trains: a bar with the time left, and a table of its epochs."""

import sys
import time
from collections.abc import Callable
from html import escape
from typing import Any

from learner.recipe import Recipe
from learner.training.progress import Listener, Progress
from learner.wording import duration, percent

EVERY_S = 0.5
_HEADINGS = ("Epoch", "Phase", "Training loss", "Validation loss", "Accuracy", "Time")


def in_notebook() -> bool:
    """Whether this process is a notebook's kernel."""
    shell = sys.modules.get("IPython")
    running = shell.get_ipython() if shell else None
    return running is not None and hasattr(running, "kernel")


class NotebookBar(Listener):
    """One output cell that is drawn again as the run moves on; used with `with`."""

    def __init__(self, run_id: int, recipe: Callable[[], Recipe]):
        """`recipe` gives the run's as it is then: a search decides it while the run is under way."""
        from IPython.display import HTML, display

        self._html, self._title, self._recipe = HTML, f"Run {run_id}", recipe
        self._rows: list[tuple[str, ...]] = []
        self._progress = Progress("Beginning")
        self._drawn = time.monotonic()
        self._cell = display(HTML(self._text()), display_id=True)

    def __enter__(self) -> "NotebookBar":
        return self

    def __exit__(self, *_: object) -> None:
        self._draw()

    def on_progress(self, progress: Progress) -> None:
        self._progress = progress
        if time.monotonic() - self._drawn > EVERY_S:
            self._draw()

    def on_epoch(self, figures: dict[str, Any], is_best: bool) -> None:
        losses = [f"{figures[key]:.4f}" if figures[key] is not None else "" for key in ("train_loss", "valid_loss")]
        phase = self._recipe().phases[figures["phase"]].name
        best = " (best so far)" if is_best else ""
        row = (f"{figures['epoch']}", phase, *losses, percent(figures["accuracy"]) + best, duration(figures["seconds"]))
        self._rows.append(row)
        self._draw()

    def _draw(self) -> None:
        self._drawn = time.monotonic()
        self._cell.update(self._html(self._text()))

    def _text(self) -> str:
        progress = self._progress
        left = f", {duration(progress.seconds_left)} left" if progress.seconds_left is not None else ""
        said = escape(f"{self._title}: {progress.message}{left}")
        bar = f'<progress value="{progress.done:.4f}" max="1" style="width:100%" aria-label="{said}"></progress>'
        rows = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in self._rows)
        head = "".join(f"<th>{heading}</th>" for heading in _HEADINGS)
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>" if rows else ""
        return f"<div><p>{said}</p>{bar}{table}</div>"
