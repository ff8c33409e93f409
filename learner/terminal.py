"""Progress bars on a terminal, on stderr: of a run, of an import, of any other work."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.text import Text

from learner.datasets.importing import ImportProgress
from learner.jobs.process import Tell
from learner.recipe import Recipe
from learner.training.progress import Listener
from learner.training.progress import Progress as RunProgress
from learner.wording import duration, file_size, percent

err = Console(stderr=True, highlight=False, soft_wrap=True)


class TimeLeft(ProgressColumn):
    """What the run itself expects, which knows that later phases are slower."""

    def render(self, task: Task) -> Text:
        left = task.fields.get("seconds_left")
        return Text(f"{duration(left)} left" if left is not None else "", style="cyan")


def progress_bar(transient: bool = False, disabled: bool = False) -> Progress:
    """A bar on stderr, with per cent and the time left; none where stderr is no terminal.

    `transient`: it is gone once all is done.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"), TimeLeft())
    return Progress(*columns, console=err, transient=transient, disable=disabled or not err.is_terminal)


@contextmanager
def showing_progress(doing: str, quiet: bool = False) -> Iterator[Callable[[ImportProgress], None]]:
    """A bar for work on a data set; what is yielded shows how far it is."""
    with progress_bar(transient=True, disabled=quiet) as bar:
        task = bar.add_task(doing, total=None)

        def show(progress: ImportProgress) -> None:
            bytes_done = f" {file_size(progress.done)}" if progress.unit == "bytes" and progress.done else ""
            bar.tasks[0].total = progress.total or None
            bar.update(
                task,
                description=progress.what + bytes_done,
                completed=progress.done,
                seconds_left=progress.seconds_left,
            )

        yield show


class RunBar(Listener):
    """Shows a run that trains here: a bar with time left, and a line an epoch."""

    def __init__(self, bar: Progress, task: TaskID, recipe: Callable[[], Recipe]):
        """`recipe` gives the run's as it is then: a search decides it while the run is under way."""
        self._bar, self._task, self._recipe = bar, task, recipe

    def on_progress(self, progress: RunProgress) -> None:
        self._bar.update(
            self._task, description=progress.message, completed=progress.done, seconds_left=progress.seconds_left
        )

    def on_epoch(self, figures: dict[str, Any], is_best: bool) -> None:
        line = epoch_line(figures, self._recipe().phases[figures["phase"]].name)
        self._bar.console.print(line + (" best so far" if is_best else ""), markup=False)


@contextmanager
def telling(doing: str, quiet: bool = False) -> Iterator[Tell]:
    """A bar for work that says in sentences how far it is."""
    with progress_bar(transient=True, disabled=quiet) as bar:
        task = bar.add_task(doing, total=None)
        yield lambda text: bar.update(task, description=text)


def epoch_line(figures: dict[str, Any], phase: str) -> str:
    """The figures of an epoch (columns of `store.Epoch`) in one line."""
    losses = (f"{figures[key]:.4f}" if figures[key] is not None else "none" for key in ("train_loss", "valid_loss"))
    return (
        f"Epoch {figures['epoch']:>3}  {phase}  train loss {next(losses)}  valid loss {next(losses)}  "
        f"accuracy {percent(figures['accuracy'])}  {duration(figures['seconds'])}"
    )
