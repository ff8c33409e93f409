"""The same photos several times over, as augmentation changes them."""

import subprocess

import streamlit as st

from learner.planning.estimate import settle
from learner.questions.previews import preview_folder, rows_of_pictures, start_preview
from learner.recipe import Recipe
from learner.store import Store
from ui.components import Picture, picture_grid
from ui.names import plain

LIMIT_S = 60


def show_preview(store: Store, recipe: Recipe) -> None:
    """A switch, and beneath it the pictures of a recipe that can be read; made anew when its augmentation changes."""
    if not recipe.augment.changes_anything:
        return
    if not st.toggle("Show what the network will see", key="preview", help="Some photos as random changes leave them."):
        return
    settled = settle(store, recipe)
    folder = preview_folder(store.workspace, settled)
    if not folder.is_dir():
        with st.spinner("Changing some photos, about 3 s"):
            why = _make(store, settled)
        if why:
            st.error(f"The preview could not be made. {plain(why)}")
            return
    for row in rows_of_pictures(folder):
        pictures = [Picture(row[0], "as it is", "The photo as it is")]
        pictures += [Picture(file, f"view {view}", f"View {view} of it") for view, file in enumerate(row[1:], start=1)]
        picture_grid(pictures)
    side = f"{settled.image_size} × {settled.image_size} pixels"
    st.caption(f"At {side}, as the network gets them; training draws the same views.")


def _make(store: Store, recipe: Recipe) -> str:
    """Wait for the process that makes the pictures; returns why there are none, empty where there are."""
    process = start_preview(store, recipe)
    try:
        _, errors = process.communicate(timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return f"It took longer than {LIMIT_S} s."
    lines = errors.strip().splitlines()
    return "" if process.returncode == 0 else lines[-1] if process.returncode == 2 and lines else "The log has details."
