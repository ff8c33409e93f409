"""Measuring this machine for the Train page, as soon as nothing is in the way of it."""

import subprocess
from functools import partial
from pathlib import Path

import streamlit as st

from learner.planning.speeds import load_speeds
from learner.questions.process import ask
from learner.recipe import Recipe
from learner.store import Store
from ui.frame import telling_errors
from ui.names import plain
from ui.questions import LOOK_AGAIN_S, get_questions

USUAL_S = 15
LIMIT_S = 180
"""A measurement that takes longer never ends by itself."""
WITHOUT = "The training can start without it: only the forecast is missing."


def start_measuring(store: Store, settled: Recipe) -> subprocess.Popen:
    """Measure this machine for a settled recipe in another process: about 15 s, most of it to load torch."""
    return ask(store, "speed", _place(store, settled), settled)


def show_measuring(store: Store, settled: Recipe) -> None:
    """What stands in the way of a plan: a measurement that is under way, or one that failed."""
    place = _place(store, settled)
    failure = get_questions().failure(place)
    if not failure:
        st.fragment(_watch, run_every=LOOK_AGAIN_S)(store, settled)
        return
    st.warning(plain(failure))
    st.button("Measure again", on_click=get_questions().forget, args=(place,))


def _watch(store: Store, settled: Recipe) -> None:
    with telling_errors():
        stands = _advance(store, settled)
        if not stands:
            st.rerun()
        st.caption(plain(stands))


def _advance(store: Store, settled: Recipe) -> str:
    """Start measuring when nothing is in its way; returns where it stands, empty when it is over."""
    questions, place = get_questions(), _place(store, settled)
    if load_speeds(store.workspace, settled) or questions.failure(place):
        return ""
    seconds = questions.seconds(place)
    if seconds is None:
        store.runs.requeue_silent()
        if any(run.status == "running" for run in store.runs.all()):
            return "A run is training. This machine is measured once that has ended, as the two would slow each other."
        if questions.is_busy:
            return "This machine is measured once what is being measured or prepared now is done."
        otherwise = f"This machine could not be measured with these settings. {WITHOUT}"
        questions.start(
            place,
            partial(start_measuring, store, settled),
            limit_s=LIMIT_S,
            otherwise=otherwise,
            is_answered=partial(load_speeds, store.workspace, settled),
        )
        seconds = 0.0
    left = USUAL_S - round(seconds)
    how_long = f"about {left} s" if left > 0 else "longer than usual: it is busy"
    return f"Measuring this machine, {how_long}"


def _place(store: Store, recipe: Recipe) -> Path:
    """What decides a measurement, as the name that it goes by; the figures stand in the workspace's one file."""
    name = f"{recipe.backbone} {recipe.image_size} {recipe.batch_size} {recipe.precision}"
    return store.workspace.speeds.with_name(name)
