"""Looks at images by a process beside the page: an older run is completed, or the test images are asked."""

from functools import partial
from typing import Literal

from learner.evaluation.results import split_folder
from learner.questions.process import ask
from learner.store import Store
from ui.questions import show_question


def look_button(store: Store, run_id: int, what: Literal["results", "test"], label: str, primary: bool = False) -> None:
    """A button that has a run's model look at images.

    `results` makes what a run's end makes, `test` asks the test images.
    """
    folder = store.run_folder(run_id)
    file = split_folder(folder, "test" if what == "test" else "valid") / "result.json"
    asking = partial(ask, store, what, file, run_id)
    begins = "Loading the model, about 10 s"
    show_question(file, asking, label, key=f"look-{what}-{run_id}", begins=begins, primary=primary)
