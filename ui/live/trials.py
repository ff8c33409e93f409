"""What a run with a time budget has tried so far, and why it chose what it did."""

import streamlit as st

from learner.evaluation.findings import search_summary, trial_rows
from learner.store import Run
from ui.names import plain

HELP = (
    "Trials on frozen features solve a head and judge it on training photos that were left out of the fit. Trials of "
    "thawing say what training some stages changed, on photos that the trial had not learnt from. No validation photo "
    "is looked at. In brackets and after ±: 95 % intervals."
)


def show_trials(run: Run) -> None:
    """A row a trial, and the reasons; nothing for a run that did not search."""
    rows = trial_rows(run.facts)
    if not rows:
        return
    st.subheader("What Thaw tried", help=HELP)
    st.caption(search_summary(run.facts))
    with st.container(key="trials"):
        st.table(
            [{name: plain(text) for name, text in row.items()} for row in rows],
            border="horizontal",
            width="content",
            alt="Each trial with its log loss, accuracy, number of images, time and outcome.",
        )
    for reason in run.facts["search"]["reasons"]:
        st.markdown(f"- {plain(reason)}")
