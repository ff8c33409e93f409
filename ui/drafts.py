"""The recipe that the Train page shows: as it was left there, or as another page or a file has put it there."""

from dataclasses import replace
from typing import Any

import streamlit as st

from learner.recipe import Recipe
from ui import state


def put_on_train(recipe: Recipe, parent: tuple[int, int] | None = None) -> None:
    """Make the Train page show `recipe` and its data set.

    `parent` is a run and the index of its phase from whose end the new run is to begin; the phases until then are that
    run's and stay. Where none come after, the last one is repeated, to be changed. The caller then switches the page.
    """
    if parent and len(recipe.phases) <= parent[1] + 1:
        recipe = replace(recipe, phases=[*recipe.phases, replace(recipe.phases[-1], name="Further training")])
    st.session_state[state.DRAFT] = recipe.to_dict()
    st.session_state[state.DATASET] = recipe.dataset
    st.session_state[state.PARENT] = parent
    st.session_state[state.DRAFT_NUMBER] = st.session_state.get(state.DRAFT_NUMBER, 0) + 1


def draft(dataset: str) -> dict[str, Any]:
    """The recipe that the page's fields begin with; a plain new one before any was put or left there."""
    return Recipe(dataset=dataset).to_dict() | (st.session_state.get(state.DRAFT) or {}) | {"dataset": dataset}


def keep(recipe: Recipe) -> None:
    """Remember what the page shows now, for when it is left and opened again."""
    st.session_state[state.DRAFT] = recipe.to_dict()


def parent() -> tuple[int, int] | None:
    """The run, and the index of its phase, from whose end the shown recipe goes on."""
    return st.session_state.get(state.PARENT)


def drop_parent() -> None:
    """Begin from the pretrained weights again; the phases that were the parent's are this recipe's own now."""
    put_on_train(Recipe.from_dict(st.session_state[state.DRAFT]))


def key(name: str) -> str:
    """The key of the field `name`.

    A recipe that is put on the page gets new ones, as a browser's field keeps what it shows for as long as its key
    stays the same.
    """
    number = st.session_state.get(state.DRAFT_NUMBER, 0)
    return f"{name} {number}" if number else name
