"""Data: bring photos in, look at them, check, clean and split them."""

import streamlit as st

from learner.advice.pool import pool_of
from learner.store import Store
from learner.wording import count
from ui import state
from ui.data.adding import add_sample_button, show_ways
from ui.data.bar import show_bar
from ui.data.card import show_card
from ui.data.checking import show_checks
from ui.data.imports import show_arrivals
from ui.data.pictures import show_pictures
from ui.data.pooling import show_pool
from ui.data.splitting import show_split
from ui.data.versions import show_versions
from ui.data.working import Working, working_on
from ui.frame import next_step, page
from ui.names import plain

VIEWS = {
    "pictures": ("Images", show_pictures),
    "checks": ("Checks", show_checks),
    "pool": ("To label", show_pool),
    "split": ("Split", show_split),
    "card": ("Data card", show_card),
    "versions": ("Versions", show_versions),
}


def show_page() -> None:
    store = state.get_store()
    waiting = show_arrivals(store) if state.entered().may_change else False
    names = store.datasets.names()
    if not names:
        show_empty(store, bool(waiting))
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = state.choose_dataset(names)
        may_add = state.entered().may_change
        adding = may_add and st.session_state.get(state.ADDING, state.CAMERA in st.query_params)
        st.button(
            "Done adding" if adding else "Add photos",
            icon=":material/add_a_photo:",
            on_click=st.session_state.update,
            args=({state.ADDING: not adding},),
            key="add-photos",
            disabled=not may_add,
        )
    if adding:
        show_ways(store)
        return
    working = working_on(store, name)
    show_summary(working)
    labelling = st.session_state.get(state.DATA_VIEW, st.query_params.get(state.VIEW)) == "pool"
    show_bar(working, primary=not waiting and not labelling)
    if not working.edits and not waiting and len(working.counts()) > 1:
        next_step("train", f"Plan the training on {plain(name)}", primary=not labelling)
    show_view(working)


def show_empty(store: Store, waiting: bool) -> None:
    if waiting:
        return
    if not state.entered().may_change:
        st.markdown("**No data sets yet** in this space. Its trainers bring them in.")
        return
    st.markdown(
        "**No data sets yet.** A data set is a pile of photos of which you say what they show, such as cats and dogs. "
        "From those the model learns to tell them apart."
    )
    add_sample_button(store, primary=True)
    st.subheader("Or bring your own photos")
    show_ways(store)


def show_summary(working: Working) -> None:
    """One line about what is there, as it is with the edits."""
    used = [row for row in working.rows if not row.excluded]
    unlabelled = sum(not row.label for row in working.rows)
    aside = len(working.rows) - len(used) - unlabelled
    classes = len({row.label for row in used})
    said = f"**{count(len(used), 'image')}** in **{count(classes, 'class', 'classes')}**"
    said += f", {unlabelled:,} without a class" if unlabelled else ""
    said += f", {aside:,} set aside" if aside else ""
    st.markdown(f"{said}. Version {working.version.number}{' with unsaved edits' if working.edits else ''}.")


def show_view(working: Working) -> None:
    findings = working.findings()
    serious = sum(finding.serious for finding in findings)
    titles = {key: title for key, (title, _) in VIEWS.items()}
    if findings:
        titles["checks"] = f"Checks ({len(findings):,}{', ' + count(serious, 'serious', 'serious') if serious else ''})"
    if waiting := len(pool_of(working.rows)):
        titles["pool"] = f"To label ({waiting:,})"
    VIEWS[state.choose_view(titles, "pictures", state.DATA_VIEW)][1](working)


with page("data", "Bring labelled photos; see what is doubtful about them, clean them, and keep every version."):
    show_page()
