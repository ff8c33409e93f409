"""What suits a data set: measured when a person asks, told in a few sentences, used with one button."""

from functools import partial

import streamlit as st

from learner.planning.estimate import resolve_recipe
from learner.questions.process import ask
from learner.questions.strategy import (
    Recommendation,
    read_recommendation,
    recommendation_file,
    recommended_recipe,
)
from learner.recipe import Recipe
from learner.store import Store
from ui import drafts
from ui.frame import telling_errors
from ui.names import plain
from ui.questions import show_question
from ui.training.weights import AUTO, find_backbone


def show_recommendation(store: Store, dataset: str) -> None:
    """An expander; what suits `dataset` is measured when it is opened for the first time."""
    box = st.expander("What suits this data set?", on_change="rerun", key="recommend")
    if not box.open:
        return
    with box, telling_errors():
        found = find_backbone(AUTO, AUTO, str(store.workspace.root))
        if isinstance(found, str):
            st.warning(plain(found))
            return
        recipe = resolve_recipe(store, Recipe(dataset, backbone=found[0]))
        recommendation = read_recommendation(store.workspace, recipe)
        if recommendation is not None:
            _show(recommendation)
            return
        st.caption(
            "Looks at up to 1,000 images with the frozen network and at how many there are, and recommends to train "
            "the head, some stages, or everything."
        )
        file = recommendation_file(store.workspace, recipe)
        show_question(
            file,
            partial(ask, store, "strategy", file, recipe),
            f"Measure {plain(dataset)}",
            key="measure_dataset",
            help="From half a minute to some minutes, most of it spent by the network looking at the images. What it "
            "sees is kept for the training.",
        )


def _show(found: Recommendation) -> None:
    advice, *reasons = map(plain, found.sentences)
    st.markdown(f"**{advice}** {' '.join(reasons)}")
    st.button(
        f"Use {plain(found.recipe)}",
        on_click=drafts.put_on_train,
        args=(recommended_recipe(found),),
        key="use_recommended",
    )
