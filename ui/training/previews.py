"""The same photos several times over, as augmentation changes them."""

from functools import partial

import streamlit as st

from learner.planning.estimate import resolve_recipe
from learner.questions.previews import preview_folder, rows_of_pictures
from learner.questions.process import ask
from learner.recipe import Recipe
from learner.store import Store
from ui.components import Picture, picture_grid
from ui.questions import show_at_once


def show_preview(store: Store, recipe: Recipe) -> None:
    """A switch, and beneath it the pictures of a recipe that can be read; made anew when its augmentation changes."""
    if not recipe.augment.changes_anything:
        return
    if not st.toggle("Show what the network will see", key="preview", help="Some photos as random changes leave them."):
        return
    settled = resolve_recipe(store, recipe)
    folder = preview_folder(store.workspace, settled)
    if not folder.is_dir():
        begins, failed = "Changing some photos, about 5 s", "The preview could not be made."
        asking = partial(ask, store, "previews", folder, settled)
        show_at_once(folder, asking, key="preview again", begins=begins, failed=failed)
        return
    for row in rows_of_pictures(folder):
        pictures = [Picture(row[0], "as it is", "The photo as it is")]
        pictures += [Picture(file, f"view {view}", f"View {view} of it") for view, file in enumerate(row[1:], start=1)]
        picture_grid(pictures)
    side = f"{settled.image_size} × {settled.image_size} pixels"
    st.caption(f"At {side}, as the network gets them; training draws the same views.")
