"""The data card: class balance, sizes, light and sharpness, and the mean image of each class."""

import streamlit as st

from learner.datasets.card import Card, card_of
from learner.wording import count
from ui import state
from ui.components import Picture, picture_grid
from ui.data.working import Working
from ui.drawing import show_chart

CLASSES_AT_ONCE = 20


def show_card(working: Working) -> None:
    """Everything is computed once for a version and its edits, then kept by the server."""
    with st.spinner("Adding up the images"):
        card = _card(working.state, working)
    from ui import charts  # a second of loading, which the other views need not wait for

    counts, dark = working.counts(), state.is_dark()
    if not counts:
        st.caption("No image is in use, so there is nothing to add up.")
        return
    st.subheader("Images in each class")
    with st.container(height="content" if len(counts) <= CLASSES_AT_ONCE else 420):
        show_chart(
            charts.class_counts,
            counts,
            list(counts),
            alt="Bar chart of the number of images in each class and split.",
        )
    left, right = st.columns(2)
    with left:
        st.subheader("Sizes")
        show_chart(charts.sizes, card.sizes, dark, alt="Widths and heights of the images, in pixels.")
        st.caption(
            f"Typically {card.median_width:,} × {card.median_height:,} px; {count(len(card.sizes), 'size')} in all."
        )
    with right:
        st.subheader("Light")
        show_chart(charts.brightness, card.brightness, dark, alt="How many images have which mean brightness.")
        st.caption("Mean grey level of each image, from 0 (black) to 255 (white).")
    if card.treated:
        st.caption(f"{count(card.treated, 'image')} came in with more than 8 bits. The first: {card.treatment}")
    st.subheader("Mean image of each class")
    st.caption(
        "All images of a class laid over each other, in grey, 32 × 32 pixels. Sharp outlines mean that they are much "
        "alike; where two classes differ only in the background, so may what the network learns."
    )
    picture_grid(
        [
            Picture(card.means[label], f"{label}\n{count(sum(splits.values()), 'image')}", f"Mean image of {label}")
            for label, splits in counts.items()
            if label in card.means
        ]
    )


@state.cached(st.cache_resource, max_entries=4, show_spinner=False)
def _card(state: str, _working: Working) -> Card:
    return card_of(_working.store, _working.version, _working.rows)
