"""The first choice on the Train page: say how long it may take, and Thaw chooses the recipe."""

import streamlit as st

from learner.recipe import AUTO, read_recipe
from learner.store import Store
from learner.wording import duration
from ui import state
from ui.frame import telling_errors
from ui.names import plain

BUDGETS = {"3m": 180, "10m": 600, "30m": 1800, "2h": 7200}
"""As a recipe has them, and in seconds."""
USUAL = "10m"


def show_choosing(store: Store, dataset: str) -> None:
    """How long, and the button that starts it."""
    with st.container(border=True, key="choosing"):
        st.markdown(f"**Let Thaw choose** for {plain(dataset)}. It tries what suits these photos, and trains that.")
        left, right = st.columns([3, 1], vertical_alignment="bottom")
        budget = left.segmented_control(
            "Time it may take",
            list(BUDGETS),
            default=USUAL,
            required=True,
            format_func=lambda text: duration(BUDGETS[text]),
            key="budget",
            help="It ends sooner when nothing more is expected to help. You see each trial, and why it chose what it "
            "did; the recipe is yours to change after that.",
        )
        if right.button("Choose and train", type="primary", width="stretch", key="choose_and_train"):
            with telling_errors():
                recipe = read_recipe(AUTO, dataset, [f"budget={budget or USUAL}"])
                st.session_state[state.RUN] = run_id = store.submit(recipe)
                st.switch_page("pages/runs.py", query_params={state.RUN: str(run_id)})
    st.caption("Or set everything yourself, from here on:")
