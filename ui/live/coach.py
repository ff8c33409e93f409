"""What the coach has to say about the chosen run, each with a button that makes the changed recipe."""

from collections.abc import Sequence

import streamlit as st

from learner.coaching import Advice, advise, has_batch_norm, lost_phase, recalls_of
from learner.recipe import Recipe
from learner.results import load_result
from learner.store import Epoch, Run, Store
from ui.drafts import put_on_train


def show_coach(store: Store, run: Run, recipe: Recipe, epochs: Sequence[Epoch]) -> None:
    """Nothing where there is nothing to be said."""
    kept = [index for index in range(len(recipe.phases)) if store.workspace.phase_end(run.id, index).exists()]
    result = load_result(store.workspace.run_folder(run.id)) if run.status == "finished" else None
    found = advise(
        recipe,
        epochs,
        has_batch_norm(run.facts),
        recalls=recalls_of(result) if result else None,
        ended=run.status == "finished",
        lost_in=lost_phase(run.reason, phases_done=len(kept)) if run.status == "failed" else None,
        valid_images=run.facts.get("valid_images"),
    )
    if not found:
        return
    st.subheader("What the curves say")
    for advice in found:
        st.markdown(advice.text)
        if st.button(advice.button, key=f"advice-{advice.kind}", help="Opens the changed recipe on the Train page."):
            put_on_train(advice.recipe, parent=_parent(store, run, advice))
            st.switch_page("pages/train.py")


def _parent(store: Store, run: Run, advice: Advice) -> tuple[int, int] | None:
    """Where the changed recipe starts again, if the model of that moment was kept."""
    if advice.parent is None or not store.workspace.phase_end(run.id, advice.parent).exists():
        return None
    return run.id, advice.parent
