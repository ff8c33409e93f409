"""Predict: drop pictures, see what the model says."""

import streamlit as st
from PIL import Image

from learner.images import read_image
from learner.store import Run, Store
from learner.words import percent
from ui import state
from ui.components import probability_bars
from ui.frame import empty, page

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
    with st.spinner("Loading the model; the first time takes some seconds"):
        predictor = load_predictor(run.id, run.finished_at)
    for file, prediction in zip(files, predictor.predict(files), strict=True):
        picture, answer = st.columns([1, 2], vertical_alignment="top")
        if prediction.error:
            answer.error(prediction.error)
            continue
        file.seek(0)
        picture.image(upright(file), caption=file.name)
        with answer:
            st.markdown(f"**{prediction.classes[0]}**, {percent(prediction.probs[0])}")
            probability_bars(prediction.classes[:BARS], prediction.probs[:BARS])


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


with page("predict", "Try a model on pictures it has never seen."):
    show_page()
