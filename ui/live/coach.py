"""What the coach has to say about the chosen run, each with a button that makes the changed recipe."""

from collections.abc import Sequence

import streamlit as st

from learner.advice.coach import Advice, advice_about
from learner.recipe import Recipe
from learner.store import Epoch, Run, Store
from ui.drafts import put_on_train
from ui.names import plain


def show_coach(store: Store, run: Run, recipe: Recipe, epochs: Sequence[Epoch]) -> None:
    """Nothing where there is nothing to be said."""
    found = advice_about(store, run, recipe, epochs)
    if not found:
        return
    st.subheader("What the curves say")
    for advice in found:
        st.markdown(plain(advice.text))
        if st.button(
            plain(advice.button), key=f"advice-{advice.kind}", help="Opens the changed recipe on the Train page."
        ):
            put_on_train(advice.recipe, parent=_parent(store, run, advice))
            st.switch_page("pages/train.py")


def _parent(store: Store, run: Run, advice: Advice) -> tuple[int, int] | None:
    """Where the changed recipe starts again, if the model of that moment was kept."""
    if advice.parent is None or not store.files.has(store.workspace.phase_end(run.id, advice.parent)):
        return None
    return run.id, advice.parent
