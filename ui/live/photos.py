"""A sample of validation photos, and how the answers to them change while the network learns."""

from collections.abc import Sequence
from html import escape

import streamlit as st

from learner.store import Epoch, Run, Store
from ui import state
from ui.components import trail, verdict
from ui.web.pictures import thumbnail_url

NEWEST = 0
"""Stands among the epochs for whichever is the newest."""


def show_photos(store: Store, run: Run, epochs: Sequence[Epoch]) -> None:
    """Each photo with the answer as of an epoch, and the probability of its own class over all of them."""
    seen = [epoch for epoch in epochs if epoch.samples]
    ids = run.facts.get("sample_images", [])
    if not seen or not ids:
        return
    st.subheader("How the answers change")
    st.caption(
        "Validation photos, which it does not learn from. The line is the probability of the photo's own class, from "
        "the first epoch to the last; dashed: one half."
    )
    shown = _choose_epoch(run, seen)
    photos = _photos(str(store.workspace.root), tuple(ids))
    classes = run.facts["classes"]
    figures = [
        _figure(photo, [epoch.samples[place] for epoch in seen], seen.index(shown), classes, run.recipe["dataset"])
        for place, photo in enumerate(photos)
        if photo is not None and all(place < len(epoch.samples) for epoch in seen)
    ]
    grid = f'<div class="thaw-grid thaw-samples">{"".join(figures)}</div>'
    st.markdown(grid, unsafe_allow_html=True)  # st.html takes drawings out; all text in it is escaped


def _choose_epoch(run: Run, seen: Sequence[Epoch]) -> Epoch:
    """The newest epoch, or the one that a person went back to."""
    if len(seen) < 2:
        return seen[-1]
    by_number = {epoch.epoch: epoch for epoch in seen[:-1]} | {NEWEST: seen[-1]}
    number = st.select_slider(
        "As of epoch",
        list(by_number),
        value=NEWEST,
        format_func=lambda number: f"{seen[-1].epoch}, the newest" if number == NEWEST else str(number),
        key=f"as-of-{run.id}",
    )
    return by_number.get(number, seen[-1])


@state.cached(st.cache_data, max_entries=20, show_spinner=False)
def _photos(_root: str, ids: tuple[int, ...]) -> list[tuple[str, str] | None]:
    """SHA-256 and class of every image; None for one that is gone."""
    rows = state.get_store().datasets.images_by_id(list(ids))
    return [(rows[image_id].sha256, rows[image_id].label) if image_id in rows else None for image_id in ids]


def _figure(
    photo: tuple[str, str], answers: Sequence[Sequence[float]], shown: int, classes: Sequence[str], dataset: str
) -> str:
    sha256, label = photo
    predicted, prob, _ = answers[shown]
    answer = classes[int(predicted)]
    right = answer == label
    told = f"{answer} {100 * prob:.0f} %"
    truth = "" if right else f"<br>is {escape(label)}"
    alt = f"A photo of {label}, taken for {answer}"
    return (
        f'<figure><img src="{escape(thumbnail_url(dataset, sha256))}" alt="{escape(alt)}"><figcaption>{verdict(right)} '
        f"{escape(told)}{truth}{trail([answer[2] for answer in answers], shown)}</figcaption></figure>"
    )
