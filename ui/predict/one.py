"""One picture: what the model says of it, what spoke for that, and which training photos are most like it."""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st
from PIL import Image

from learner.datasets.images import reading
from learner.errors import ThawError
from learner.evaluation.overlay import STRONGEST, is_uniform, overlay
from learner.evaluation.results import load_predictions, sha256_of
from learner.inference.batches import Picture
from learner.store import Run, Store
from learner.wording import percent
from ui import state
from ui.components import probability_bars
from ui.names import plain
from ui.predict.answered import Answered
from ui.predict.answering import get_asker
from ui.predict.marking import mark_buttons
from ui.web.pictures import thumbnail_url

if TYPE_CHECKING:
    from learner.inference.predictor import Predictor

SHOWN_PX = 480
GRAD_CAM, ATTENTION = "What spoke for a class", "Where its attention lay"


def show_one(answered: Answered, picture: Picture) -> None:
    """The picture, its heat map and the answer side by side, then what is like it."""
    st.markdown(f"**{plain(picture.name)}**")
    answer = answered.answer(picture)
    if answer.error:
        st.error(plain(answer.error))
        return
    file = answered.batch.path(picture)
    shown = upright(file)
    left, middle, right = st.columns([1, 1.4, 1], vertical_alignment="top")
    left.image(shown, alt=f"The picture {picture.name}", width="stretch")
    with middle:
        show_answer(answered, picture)
        mark_buttons(answered, [picture], f"one-{picture.number}")
    with right:
        show_heat_map(answered, picture, file, shown)
    show_nearest(answered.store, answered.run, answer.nearest)
    show_untouched(answered.store, file)


def show_answer(answered: Answered, picture: Picture) -> None:
    answer, mark = answered.answer(picture), answered.marks.get(picture.number)
    says = f"**{plain(answer.classes[0])}**, {percent(answer.probs[0])}"
    if answered.is_none(picture):
        st.markdown("**None of these**")
        st.caption(
            f"It lies farther from the training photos than {100 * answered.coverage:.0f} % of the validation images. "
            f"If it had to be one of the classes, the model would say {says}."
        )
    else:
        st.markdown(says)
    is_right = answered.is_right(picture)
    if is_right is not None:
        truth = mark.label if mark else picture.label
        who = "you said" if mark else "the data set says"
        told = ":material/check_circle: Right" if is_right else ":material/warning: Wrong"
        st.markdown(f"{told}: {who} {plain(truth)}." if truth else f"{told}, {who}.")
    elif mark and mark.label:
        st.caption(f"You said {plain(mark.label)}.")
    probability_bars(answer.classes, answer.probs)


def show_heat_map(answered: Answered, picture: Picture, file: Path, shown: Image.Image) -> None:
    """`shown` is the picture in `file`, to be drawn over."""
    answer, asked, model = answered.answer(picture), answered.asked, answered.model
    if not st.toggle("Show what the answer came from", value=True, key="heat"):
        return
    place = st.container()
    with st.spinner("Loading the model; the first time takes some seconds"):
        predictor = get_asker().predictor(answered.store, answered.run.id, model)
    kind = GRAD_CAM
    if predictor.shows_attention:
        kind = st.segmented_control("Map", [ATTENTION, GRAD_CAM], default=ATTENTION, key="heat-kind") or ATTENTION
    wanted, stage = answer.classes[0], asked.stages[-1]
    if kind == GRAD_CAM:
        with st.container(horizontal=True):
            wanted = st.selectbox("Class", answer.classes, key=f"heat-class-{picture.number}-{model}", width=150)
            stage = st.selectbox(
                "Stage",
                asked.stages,
                index=len(asked.stages) - 1,
                key=f"heat-stage-{model}",
                width=130,
                help="Late stages see things, early ones edges and colours.",
            )
    strength = st.slider("Strength", 0, 100, round(100 * STRONGEST), format="%d %%", key="heat-strength")
    if kind == ATTENTION:
        weights = attention(predictor, file, model, picture.sha256)
    else:
        weights = heat_map(predictor, file, model, picture.sha256, asked.classes.index(wanted), stage)
    if kind == ATTENTION and is_uniform(weights):
        place.caption("The model looked at all of the picture alike.")
    elif not np.any(weights):
        place.caption(f"Nothing in {stage} spoke for {plain(wanted)}. Try another stage.")
    else:
        spoke = f"spoke for {wanted} in {stage}" if kind == GRAD_CAM else "counted"
        place.image(
            overlay(shown, weights, strength / 100),
            caption=plain(f"The more amber, the more a place {spoke}."),
            alt=f"{picture.name} with amber where it {spoke}",
            width="stretch",
        )


@state.cached(st.cache_data, max_entries=128, show_spinner=False)
def heat_map(_predictor: "Predictor", _file: Path, model: str, sha256: str, index: int, stage: str) -> np.ndarray:
    """Grad-CAM of a class; kept by model and content."""
    from learner.evaluation.grad_cam import heat_maps

    return heat_maps(_predictor, _predictor.read(_file)[None], [index], stage)[0]


@state.cached(st.cache_data, max_entries=128, show_spinner=False)
def attention(_predictor: "Predictor", _file: Path, model: str, sha256: str) -> np.ndarray:
    looked = _predictor.look(np.stack([_predictor.read(_file)])).attention
    assert looked is not None  # asked only of models that show it
    return np.array(looked[0])


def show_nearest(store: Store, run: Run, nearest: Sequence[int]) -> None:
    """The most similar training photos with their classes, where the run kept which those are."""
    folder = store.run_folder(run.id)
    table = folder / "train" / "predictions.csv"
    if not nearest or not table.exists():
        return
    rows = training_rows(str(folder), table.stat().st_mtime_ns)
    dataset, _ = store.runs.dataset_of(run)
    near = [rows[place] for place in nearest if place < len(rows)]
    st.markdown("Most similar training photos")
    figures = (
        f'<figure><img src="{thumbnail_url(dataset, sha256_of(file))}" alt="{escape(label)}: {escape(path)}">'
        f"<figcaption>{escape(label)}</figcaption></figure>"
        for path, file, label in near
    )
    st.html(f'<div class="thaw-grid">{"".join(figures)}</div>')


@state.cached(st.cache_data, max_entries=4, show_spinner=False)
def training_rows(folder: str, _written_ns: int) -> list[tuple[str, str, str]]:
    """(path, file, label) of the images that distances are measured from, in their order."""
    table = load_predictions(Path(folder), "train")
    return list(zip(table["path"], table["file"], table["label"], strict=True))


def show_untouched(store: Store, file: Path) -> None:
    """What the untouched ImageNet network says of the same picture, where its classifier can be had."""
    asks = st.toggle(
        "Ask the untouched ImageNet model too",
        key="imagenet",
        help="What a network says that has learnt nothing from your photos: one of ImageNet's 1,000 classes. It shows "
        "what fine-tuning has changed.",
    )
    if not asks:
        return
    with st.spinner("Loading the untouched model; the first time takes some seconds"):
        model = load_untouched()
    if isinstance(model, str):
        st.warning(plain(model))
        return
    [said] = model.predict([file])
    st.markdown(f"The untouched ImageNet model: **{plain(said.classes[0])}**, {percent(said.probs[0])}")
    probability_bars(said.classes, said.probs)
    st.caption(f"Untouched: {model.arch}. {plain(model.source.reason)}")


@state.cached(st.cache_resource, show_spinner=False)
def load_untouched():
    """The ImageNet network with its own classifier; or why it cannot be had."""
    from learner.inference.imagenet import ImageNetModel

    try:
        return ImageNetModel.open("auto", state.get_store().workspace)
    except ThawError as error:
        return str(error)


def upright(file: Path) -> Image.Image:
    """The picture, upright and small enough for the page. Raises ImageError."""
    with reading(file, at_least=SHOWN_PX) as image:
        image.thumbnail((SHOWN_PX, SHOWN_PX))
        return image.copy()
