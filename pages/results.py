"""Results: how good a run's model is, what it gets wrong, and the model to take away."""

import streamlit as st

from learner.evaluation.results import has_result, is_complete
from learner.store import Run, Store
from learner.wording import count, percent_with_interval
from ui import state
from ui.frame import empty, next_step, page
from ui.results.compare import show_compare
from ui.results.documents import show_keeping
from ui.results.learning_curve import show_help
from ui.results.mapped import show_map
from ui.results.mistakes import show_mistakes
from ui.results.overview import show_overview
from ui.results.shown import Shown
from ui.results.takeaway import show_takeaway
from ui.results.test_images import look_button


def show_to_take(shown: Shown) -> None:
    show_keeping(shown)
    show_takeaway(shown.store, shown.run, shown.result())


VIEWS = {
    "overview": ("Overview", show_overview),
    "mistakes": ("Mistakes", show_mistakes),
    "map": ("Map", show_map),
    "compare": ("Compare", show_compare),
    "help": ("What would help", show_help),
    "takeaway": ("Take away", show_to_take),
}


def show_page() -> None:
    store = state.get_store()
    runs = [run for run in store.runs.all() if is_shown(store, run)]
    if not runs:
        empty("**No results yet.** They appear here when a run has finished or was stopped.", "train", "Plan a run")
        return
    run = state.choose_run(runs, "Run")
    shown = Shown(store, run)
    result = shown.result()
    with st.container(horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute"):
        st.metric(
            f"Accuracy on {count(result['images'], 'validation image')}",
            percent_with_interval(result["accuracy"], result["accuracy_interval"]),
            width="content",
        )
        next_step("predict", "Try it on new pictures", primary=False)
    if not is_complete(shown.folder):
        show_older(store, run)
    usual = "compare" if run.baseline else "overview"  # what a correction brought is what one comes to see
    view = state.choose_view({key: title for key, (title, _) in VIEWS.items()}, usual, state.RESULTS_VIEW)
    VIEWS[view][1](shown)


def is_shown(store: Store, run: Run) -> bool:
    return run.status in ("finished", "stopped") and has_result(store.run_folder(run.id))


def show_older(store: Store, run: Run) -> None:
    with st.container(border=True):
        st.markdown(
            "**This run was trained by an older Thaw.** Have its model look at the images once more for intervals, "
            "curves, calibration, and the answer “none of these”. Nothing is trained again."
        )
        look_button(store, run.id, "results", "Look at its images once more", primary=True)


with page("results", "How good the model is, what it gets wrong, and the files to take away."):
    show_page()
