"""A search: how far it is, its trials, and what to do with the best one."""

import streamlit as st

from learner.errors import ThawError
from learner.store import Store
from learner.studies.search import confirmed
from learner.studies.trials import SearchResult, trial_rows
from ui import drafts, state
from ui.drawing import show_chart
from ui.live.losses import losses
from ui.names import plain

HELP = (
    "The first trial trains the recipe as it was asked. Optuna suggests the others, where the last ones did best. All "
    "trials learn from and are judged by the same photos. One whose loss is worse than the median of the others at the "
    "same epoch is paused: it can be gone on with under Runs."
)


def show_search(store: Store, result: SearchResult) -> None:
    """What the trials say so far, and two ways to go on."""
    for index, sentence in enumerate(result.answer):
        st.markdown(f"**{plain(sentence)}**" if index == 0 else plain(sentence), help=None if index else HELP)
    if not result.answer:
        st.markdown("**No answer yet.** The first trial has to finish.", help=HELP)
    if len(result.finished) > 1:
        finished = [trial for trial in result.trials if trial.is_finished]
        show_chart(
            losses,
            tuple((trial.number + 1, trial.loss or 0.0) for trial in finished),
            state.is_dark(),
            alt="Validation loss of each finished trial, with the best so far. " + " ".join(result.answer),
        )
        st.caption("A dot is a trial that has finished; the line is the best so far. Lower is better.")
    rows = trial_rows(result)
    if rows:
        with st.container(key="figures"):
            st.table(
                [{plain(title): plain(text) for title, text in row.items()} for row in rows],
                border="horizontal",
                width="content",
                alt="Each trial with its run, loss, settings and status.",
            )
        st.caption("Loss: of the validation photos, at the trial's best epoch.")


def show_ways_on(store: Store, result: SearchResult) -> None:
    """Buttons for the best trial, once there is one that is better than what was asked."""
    if result.best is None or result.best is result.first:
        return
    if st.button(
        "Is it better, or was it chance?",
        key="confirm-search",
        help="Start a study of the recipe as it was asked and the best one, with folds that judge only once.",
    ):
        _confirm(store, result)
    if st.button("Open the best recipe in Train", key="open-best"):
        drafts.put_on_train(result.search.recipe_of(result.best.number))
        st.switch_page("pages/train.py")


def _confirm(store: Store, result: SearchResult) -> None:
    try:
        made = confirmed(store, result.study_id)
    except ThawError as error:
        st.toast(plain(str(error)))
        return
    st.session_state[state.STUDY] = made
    st.query_params[state.STUDY] = str(made)
    st.rerun()
