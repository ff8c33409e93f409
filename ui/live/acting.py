"""What a person does to a run by a button; the page that is drawn next shows what came of it."""

from collections.abc import Callable
from contextlib import suppress

import streamlit as st

from learner.errors import RunError
from ui import state

DELETED = "deleted-run"
"""The run that was deleted last, for as long as nothing else was done: the page offers to take that back."""


def act(change: Callable[..., object], *arguments: object) -> None:
    """Change a run; where it has moved on since the page was drawn, the page shows that instead."""
    st.session_state.pop(DELETED, None)
    with suppress(RunError):
        change(*arguments)


def delete(run_id: int) -> None:
    act(state.get_store().runs.delete, run_id)
    st.session_state[DELETED] = run_id


def bring_back(run_id: int) -> None:
    """Undo a deletion, and look at that run again."""
    act(state.get_store().runs.undelete, run_id)
    state.remember_run(run_id)


def show_undo() -> None:
    """The run that was just deleted, and the way back."""
    run_id = st.session_state.get(DELETED)
    if run_id is None:
        return
    with st.container(horizontal=True, vertical_alignment="center", key="undo"):
        st.markdown(f"Deleted run {run_id}.", width="content")
        st.button("Undo", on_click=bring_back, args=(run_id,), icon=":material/undo:")
