"""From a wrong photo to a corrected data set, and on to the proof that it helped."""

import streamlit as st

from learner.advice.corrections import correct, reapply, retrain, revert
from learner.datasets.editing import Edit, summary_of
from learner.evaluation.results import SplitName
from learner.store import Run
from learner.wording import count
from ui import state
from ui.components import class_box
from ui.data.working import Working
from ui.frame import telling_errors
from ui.names import plain
from ui.results.shown import Shown


def show_corrections(shown: Shown, working: Working) -> None:
    """What was corrected and not yet trained on, with the way on; and runs that came of earlier corrections."""
    for run in corrected_runs(shown):
        st.button(
            f"Run {run.id} learnt from what you corrected here: see what it fixed",
            icon=":material/arrow_forward:",
            on_click=state.show_run,
            args=(run.id, "compare"),
            key=f"proof-{run.id}",
        )
    if not working.edits:
        show_undone(shown, working)
        return
    with st.container(border=True, key="corrections"):
        st.markdown(f"**Corrections that wait.** {plain(summary_of(working.edits))}.")
        if working.trouble:
            st.error(f"{plain(working.trouble)} Undo what stands in the way on the Data page.")
        with st.container(horizontal=True):
            if st.button(
                "Save and train again",
                type="primary",
                disabled=bool(working.trouble),
                help="Makes a new version of the data set and trains with the same recipe and seed. The old version "
                "and this run stay.",
            ):
                with telling_errors():
                    run_id = retrain(shown.store, shown.run.id)
                    state.remember_run(run_id)
                    st.switch_page("pages/runs.py")
            if st.button("Undo", icon=":material/undo:", key="undo-correction"):
                revert(shown.store, shown.dataset)
                st.rerun()
            if working.undone:
                redo_button(shown)
        st.caption(
            "The validation photos stay the same, but for those that you correct: so the two runs can be compared "
            "photo by photo."
        )


def show_undone(shown: Shown, working: Working) -> None:
    """The way back to corrections all of which were undone."""
    if working.undone:
        with st.container(horizontal=True, vertical_alignment="center", key="undone"):
            st.markdown(f"{count(len(working.undone), 'correction')} undone.", width="content")
            redo_button(shown)


def redo_button(shown: Shown) -> None:
    if st.button("Redo", icon=":material/redo:", key="redo-correction"):
        reapply(shown.store, shown.dataset)
        st.rerun()


MOVES = {
    "train": ("Move to training", "So that the model learns from it; it is no longer checked on it."),
    "valid": ("Move to validation", "So that the model is checked on it; it no longer learns from it."),
}


def show_fixes(shown: Shown, working: Working, paths: list[str], classes: list[str], split: SplitName | None) -> None:
    """What can be done with the chosen photos; `split` is theirs, or None where they are of several."""
    none, some = not paths, tuple(paths)
    key = f"{working.key}-{split}"
    with st.container(horizontal=True, vertical_alignment="bottom", key="fixes"):
        st.markdown(f"**{count(len(paths), 'photo')}** chosen" if paths else "Choose photos below:", width=170)
        label = class_box(classes, key=f"fix-label-{key}", disabled=none, width=220)
        if st.button("Relabel", disabled=none or not label, key=f"fix-relabel-{key}") and label:
            _correct(shown, Edit("relabel", some, to=label))
        if st.button(
            "Set aside", disabled=none, key=f"fix-aside-{key}", help="Kept, but used for nothing: blurred, twice, odd."
        ):
            _correct(shown, Edit("exclude", some, to=f"Set aside after run {shown.run.id}."))
        ways = {"valid": ["train"], "train": ["valid"], None: ["train", "valid"]}.get(split, [])
        for to in ways:
            title, what_for = MOVES[to]
            if st.button(title, disabled=none, key=f"fix-move-{to}-{key}", help=what_for):
                _correct(shown, Edit("move", some, to=to))


def corrected_runs(shown: Shown) -> list[Run]:
    """Runs that trained on what was corrected after this one, and have ended."""
    return [
        run for run in shown.store.runs.all() if run.baseline == shown.run.id and run.status in ("finished", "stopped")
    ]


def _correct(shown: Shown, *edits: Edit) -> None:
    with telling_errors():
        correct(shown.store, shown.run.id, *edits)
        st.rerun()
