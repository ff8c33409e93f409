"""Predict: drop pictures, see what the model says."""

from typing import TYPE_CHECKING

import streamlit as st
from PIL import Image

from learner.errors import ThawError
from learner.images import read_image
from learner.overlays import looks_everywhere, overlay
from learner.store import Run, Store
from learner.words import percent
from ui import state
from ui.components import probability_bars
from ui.frame import empty, page

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

    from learner.inference import Prediction
    from learner.untouched import ImageNetModel

BARS = 5
SHOWN_PX = 480


def show_page() -> None:
    store = state.get_store()
    runs = [run for run in store.runs.all() if has_model(store, run)]
    if not runs:
        empty("**No model yet.** Once a run has finished, try it here on new pictures.", "train", "Plan a run")
        return
    run = state.choose_run(runs, "Model")
    files = st.file_uploader("Choose or drop pictures", accept_multiple_files=True, key="pictures")
    if not files:
        classes = run.facts["classes"]
        shown = ", ".join(classes[:12]) + (f" and {len(classes) - 12} more" if len(classes) > 12 else "")
        st.caption(f"This model knows {shown}. It answers with one of these whatever the picture shows.")
        return
    compares = st.toggle(
        "Ask the untouched ImageNet model too",
        key="imagenet",
        help="What a network says that has learnt nothing from your photos: one of ImageNet's 1,000 classes. It shows "
        "what fine-tuning has changed.",
    )
    with st.spinner("Loading the model; the first time takes some seconds"):
        predictor = load_predictor(run.id, run.finished_at)
        untouched = load_untouched() if compares else None
    if isinstance(untouched, str):
        st.warning(untouched)
    elif untouched is not None:
        st.caption(f"Untouched: {untouched.arch}. {untouched.source.reason}")
    for file, prediction in zip(files, predictor.predict(files), strict=True):
        bars = show_answer(file, prediction)
        if bars is not None and untouched is not None and not isinstance(untouched, str):
            with bars:
                show_untouched(file, untouched)


def show_answer(file, prediction: "Prediction") -> "DeltaGenerator | None":
    """The picture, where the model looked if it can tell, and what it says; returns the column of that.

    None for a file that is no picture.
    """
    if prediction.error:
        st.error(f"{file.name}: {prediction.error}")
        return None
    file.seek(0)
    shown = upright(file)
    answer = prediction.classes[0]
    if prediction.attention is None:
        picture, bars = st.columns([1, 2], vertical_alignment="top")
        picture.image(shown, caption=file.name, alt=f"The picture {file.name}")
    else:
        picture, looked, bars = st.columns([1, 1, 2], vertical_alignment="top")
        picture.image(shown, caption=file.name, alt=f"The picture {file.name}", width="stretch")
        if looks_everywhere(prediction.attention):
            looked.caption("The model looked at all of the picture alike.")
        else:
            looked.image(
                overlay(shown, prediction.attention),
                caption="Where it looked: the more amber, the more a place counted.",
                alt=f"{file.name} with amber where the model looked before it said {answer}",
                width="stretch",
            )
    with bars:
        st.markdown(f"**{answer}**, {percent(prediction.probs[0])}")
        probability_bars(prediction.classes[:BARS], prediction.probs[:BARS])
    return bars


def show_untouched(file, model: "ImageNetModel") -> None:
    """What the untouched ImageNet network says of the same picture."""
    file.seek(0)
    [said] = model.predict([file])
    st.markdown(f"The untouched ImageNet model: **{said.classes[0]}**, {percent(said.probs[0])}")
    probability_bars(said.classes, said.probs)


def upright(file) -> Image.Image:
    """The picture, upright and small enough for the page."""
    image = read_image(file)
    image.thumbnail((SHOWN_PX, SHOWN_PX))
    return image


def has_model(store: Store, run: Run) -> bool:
    return run.status in ("finished", "stopped") and store.workspace.checkpoint(run.id).exists()


@st.cache_resource(max_entries=2, show_spinner=False)
def load_predictor(run_id: int, finished_at: float):
    """The run's model, kept between pictures. torch is imported here, when a person asks for it, and not before."""
    from learner.inference import Predictor

    return Predictor.open(str(run_id), state.get_store())


@st.cache_resource(show_spinner=False)
def load_untouched():
    """The ImageNet network with its own classifier; or why it cannot be had."""
    from learner.untouched import ImageNetModel

    try:
        return ImageNetModel.open("auto", state.get_store().workspace)
    except ThawError as error:
        return str(error)


with page("predict", "Try a model on pictures it has never seen."):
    show_page()
