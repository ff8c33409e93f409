"""Predict: ask a model about new pictures, see why it answers so, and give the marked ones to the data set."""

import streamlit as st

from learner.errors import DatasetError
from learner.inference import batches
from learner.store import Run, Store
from ui import state
from ui.frame import empty, page
from ui.names import plain
from ui.predict.answers import show_batch
from ui.predict.inputs import open_batch, show_recent, show_ways

CLASSES_SHOWN = 12


def show_page() -> None:
    store = state.get_store()
    runs = [run for run in store.runs.all() if has_model(store, run)]
    if not runs:
        empty("**No model yet.** Once a run has finished, try it here on new pictures.", "train", "Plan a run")
        return
    run = state.choose_run(runs, "Model")
    batch_id = st.query_params.get(state.BATCH)
    if batch_id is None:
        show_classes(run)
        show_ways(store, run)
        show_recent(store)
        return
    try:
        batch = batches.find(store.workspace, batch_id)
    except DatasetError as error:
        st.warning(plain(str(error)))
        if st.button("Ask about other pictures", type="primary"):
            open_batch(None)
        return
    show_batch(store, run, batch)


def show_classes(run: Run) -> None:
    classes = run.facts["classes"]
    more = f" and {len(classes) - CLASSES_SHOWN} more" if len(classes) > CLASSES_SHOWN else ""
    st.caption(f"This model knows {plain(', '.join(classes[:CLASSES_SHOWN]))}{more}.")


def has_model(store: Store, run: Run) -> bool:
    return run.status in ("finished", "stopped") and store.files.has(store.workspace.checkpoint(run.id))


with page("predict", "Ask a model about pictures it has never seen."):
    show_page()
