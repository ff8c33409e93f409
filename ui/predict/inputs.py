"""The ways in for pictures to predict, and those that came before."""

import time

import streamlit as st

from learner.datasets import bring_files
from learner.datasets.names import natural_key
from learner.datasets.rows import rows_of
from learner.inference import batches
from learner.inference.batches import KEPT_DAYS, Batch
from learner.store import Run, Store
from learner.wording import count, duration
from ui import state
from ui.components import pager
from ui.frame import telling_errors
from ui.names import plain
from ui.predict.unknown import coverage_box
from ui.web.elements import Tile, drop_zone, live_camera, picture_picker
from ui.web.pictures import preview_url, thumbnail_url

COMPUTER, CAMERA, LIVE = "From this computer", "Camera", "Live camera"
ADDRESS, DATASET = "Web address", "From a data set"
PICTURES_A_PAGE = 48
USUAL_SIDE = 224
"""Pixels of a frame's side, for a run that does not say what its model takes."""
SPLITS = {"": "All splits", "train": "train", "valid": "valid", "test": "test"}
ANY = "All classes"


def show_ways(store: Store, run: Run) -> None:
    """One of the ways in; what arrives opens as a batch, but for a live camera, which the run's model looks through."""
    ways = {COMPUTER: drop, CAMERA: from_camera, ADDRESS: from_address, DATASET: from_dataset}
    every = [COMPUTER, CAMERA, LIVE, ADDRESS, DATASET]
    way = st.segmented_control("Where are the pictures?", every, default=COMPUTER, key="predict-way") or COMPUTER
    if way == LIVE:
        look_through(run)
    else:
        ways[way](store)


def open_batch(batch_id: str | None) -> None:
    """Show that batch, or the ways in."""
    for key in (state.BATCH, state.PICTURE):
        st.query_params.pop(key, None)
    if batch_id is not None:
        st.query_params[state.BATCH] = batch_id
    st.rerun()


def drop(_store: Store) -> None:
    arrived, _busy = drop_zone("drop-predict", predict=True)
    if arrived:
        open_batch(arrived)


def from_camera(store: Store) -> None:
    taken = st.camera_input("Take a picture", key="predict-camera")
    if taken is None:
        st.caption("The picture is taken by your browser, which will ask whether it may use the camera.")
        return
    batch = batches.begin(store.workspace, "Camera", "camera")
    batch.add("camera 1.jpg", taken.getvalue())
    open_batch(batch.id)


def look_through(run: Run) -> None:
    """The camera's film with the model's answers beside it, as fast as the model is."""
    coverage = coverage_box()
    live_camera(run.id, run.facts.get("image_size", USUAL_SIDE), coverage)
    st.caption("Each picture is looked at and forgotten. To keep one, or to see why the model says so, use Camera.")


def one_more_shot(batch: Batch) -> None:
    """The camera again, for a batch that it began."""
    shots = len(batch.pictures())
    taken = st.camera_input("Take another picture", key=f"predict-camera-{batch.id}-{shots}")
    if taken is not None:
        batch.add(f"camera {shots + 1}.jpg", taken.getvalue())
        st.query_params[state.PICTURE] = str(shots)
        st.rerun()


def from_address(store: Store) -> None:
    with st.form("predict-address", border=False):
        url = st.text_input("Address of a picture or an archive", placeholder="https://example.org/photo.jpg")
        if st.form_submit_button("Fetch it") and url.strip():
            title = url.strip().split("?")[0].rstrip("/").rpartition("/")[2] or "Web address"
            open_batch(batches.begin(store.workspace, title, "address", url.strip()).id)
    st.caption("http or https. Addresses on this computer or in a private network are refused.")


def from_dataset(store: Store) -> None:
    """Some pictures of a data set, or all of a class or split."""
    names = store.datasets.names()
    if not names:
        st.caption("There is no data set yet.")
        return
    with st.container(horizontal=True):
        usual = names.index(state.current_dataset(names) or names[0])
        name = st.selectbox("Data set", names, index=usual, key="predict-dataset", width=240)
        rows = [row for row in rows_of(store, store.datasets.version(name)) if not row.excluded]
        labels = sorted({row.label for row in rows}, key=natural_key)
        label = st.selectbox("Class", [ANY, *labels], key=f"predict-class-{name}", width=240)
        splits = ["", *(split for split in ("train", "valid", "test") if any(row.split == split for row in rows))]
        split = st.selectbox("Split", splits, format_func=SPLITS.__getitem__, key=f"predict-split-{name}", width=160)
    rows = [row for row in rows if label in (ANY, row.label) and split in ("", row.split)]
    if not rows:
        st.caption("There are no such pictures.")
        return
    actions = st.container(horizontal=True, vertical_alignment="center")
    place = f"predict-page-{name}-{label}-{split}"
    first = pager(len(rows), PICTURES_A_PAGE, place)
    tiles = [
        Tile(row.path, thumbnail_url(name, row.sha256), preview_url(name, row.sha256), row.label, row.path)
        for row in rows[first : first + PICTURES_A_PAGE]
    ]
    chosen = set(picture_picker(tiles, key=f"{place}-{first}"))
    some = [row for row in rows if row.path in chosen]
    with actions, telling_errors():
        chosen_button = f"Ask about the {len(some):,} chosen" if some else "Ask about the chosen"
        for taken, button in ((some, chosen_button), (rows, f"Ask about all {len(rows):,}")):
            if st.button(button, disabled=not taken, key=f"{place}-{taken is rows}"):
                title = f"{count(len(taken), 'picture')} of {name}"
                folder = bring_files(store, name, (row.file for row in taken))
                pictures = [(row.path, folder / row.file, row.label) for row in taken]
                open_batch(batches.begin_with(store.workspace, title, pictures).id)


def show_recent(store: Store) -> None:
    """Batches that came before; each can be opened or deleted."""
    batches.clear_old(store.workspace)
    every = batches.recent(store.workspace)
    if not every:
        return
    st.subheader("Pictures you asked about")
    for batch in every[:20]:
        with st.container(horizontal=True, vertical_alignment="center", key=f"batch-{batch.id}"):
            if st.button(plain(batch.title), key=f"open-{batch.id}", type="tertiary"):
                open_batch(batch.id)
            about = f"{count(len(batch.pictures()), 'picture')}, " if batch.is_ingested else ""
            st.caption(f"{about}{duration(time.time() - batch.created_at)} ago")
            with st.popover("Delete"):
                st.markdown(
                    "The pictures here, the answers and your marks are deleted. Data sets keep what joined them."
                )
                if st.button(f"Delete {plain(batch.title)}", key=f"delete-{batch.id}"):
                    batches.remove(batch)
                    st.rerun()
    st.caption(f"They are kept for {KEPT_DAYS} days, with their answers, then cleared away.")
