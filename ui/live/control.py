"""The buttons of a run: stop, pause, resume, more epochs, once more from a phase's end, delete."""

from collections.abc import Callable

import streamlit as st

from learner.advice.coach import has_batch_norm, with_more_epochs
from learner.recipe import Recipe
from learner.store import Run, Store
from ui.drafts import put_on_train
from ui.frame import next_step, telling_errors
from ui.live.acting import act, delete

ASKED = {
    "stop": "Stopping: what it has learnt so far is checked on the validation images and kept.",
    "stop_after_epoch": "It stops when this epoch is done.",
    "pause": "It pauses when this epoch is done.",
}


def show_control(store: Store, run: Run, recipe: Recipe) -> None:
    """What can be done with a run as it stands."""
    if run.status == "running":
        _control_running(store, run)
        return
    with st.container(horizontal=True, vertical_alignment="center", key="control"):
        if run.status == "queued":
            _ask(store, run, "Take it out of the queue", "stop")
            _ask(store, run, "Pause", "pause", "It keeps its place in the list and waits until you resume it.")
            return
        if run.status in ("finished", "stopped") and run.best_accuracy is not None:
            next_step("results", "See what it gets right and wrong")
        if run.status == "paused":
            _resume(store, run, "Resume", primary=True)
            _ask(store, run, "Stop and keep what it has learnt", "stop")
        elif run.status != "finished" and store.files.has(store.workspace.resume_point(run.id)):
            _resume(store, run, "Resume where it stopped", primary=run.best_accuracy is None or run.status != "stopped")
        elif run.status != "finished" and run.best_accuracy is None:
            _resume(store, run, "Start it again", primary=run.status != "failed")
        fails_again = run.status == "failed" and run.best_accuracy is None
        if st.button(
            "Change the recipe",
            type="primary" if fails_again else "secondary",
            help="Opens it on the Train page; this run stays as it is.",
        ):
            put_on_train(recipe)
            st.switch_page("pages/train.py")
        st.button(
            "Delete run",
            icon=":material/delete:",
            type="tertiary",
            on_click=delete,
            args=(run.id,),
            help="You can take that back.",
        )
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium", key="further"):
        if run.status == "finished":
            _show_more_epochs(store, run, recipe)
        _show_again_from(store, run, recipe)


def _control_running(store: Store, run: Run) -> None:
    learning = run.best_accuracy is not None or run.progress.get("epoch")
    if run.asked:
        nothing = run.asked == "stop" and not learning
        st.info("Stopping. Nothing was learnt yet." if nothing else ASKED[run.asked])
    with st.container(horizontal=True, key="control"):
        if run.asked:
            if run.asked != "stop":
                _ask(store, run, "Stop now", "stop")
            st.button("Take that back and go on", on_click=act, args=(store.runs.withdraw, run.id))
        elif learning:
            _ask(store, run, "Stop and keep what it has learnt", "stop", primary=True)
            _ask(store, run, "Stop after this epoch", "stop_after_epoch")
            meanwhile = "Another run can train meanwhile; this one resumes later."
            _ask(store, run, "Pause after this epoch", "pause", meanwhile)
        else:
            _ask(store, run, "Stop this run", "stop", primary=True)


def _ask(store: Store, run: Run, label: str, request: str, help_: str | None = None, primary: bool = False) -> None:
    _button(label, primary, help_, store.runs.ask, run.id, request)


def _resume(store: Store, run: Run, label: str, primary: bool) -> None:
    _button(label, primary, "A worker goes on with it from the last checkpoint.", store.runs.resume, run.id)


def _button(label: str, primary: bool, help_: str | None, change: Callable[..., object], *arguments: object) -> None:
    st.button(label, type="primary" if primary else "secondary", help=help_, on_click=act, args=(change, *arguments))


def _show_more_epochs(store: Store, run: Run, recipe: Recipe) -> None:
    """Give a finished run more epochs: one more phase like its last, with gentler rates."""
    with st.container(horizontal=True, vertical_alignment="bottom", key="more", width="content"):
        number = st.number_input(
            "More epochs",
            1,
            1000,
            3,
            width=140,
            help="Trains what the last phase trained, at a tenth of its rates, from where the run ended.",
        )
        if st.button(f"Train {int(number)} more"):
            with telling_errors():
                longer = with_more_epochs(recipe, int(number), has_batch_norm(run.facts))
                act(store.runs.extend, run.id, longer.to_dict())
                st.rerun()


def _show_again_from(store: Store, run: Run, recipe: Recipe) -> None:
    """Start another run from the end of one of its phases, where the model of that moment was kept."""
    kept = [index for index in range(len(recipe.phases)) if store.files.has(store.workspace.phase_end(run.id, index))]
    if not kept:
        return
    with st.container(horizontal=True, vertical_alignment="bottom", key="again", width="content"):
        index = st.selectbox(
            "Start again from the end of",
            kept,
            format_func=lambda index: f"{recipe.phases[index].name} (phase {index + 1})",
            index=max(0, len(kept) - 2),
            width=260,
            help="What was learnt until then is taken over, and the phases after it can be changed.",
        )
        if st.button("Plan a run from there"):
            put_on_train(recipe, parent=(run.id, index))
            st.switch_page("pages/train.py")
