"""One photo of a result: what spoke for what the model said, and for what the label says."""

from typing import TYPE_CHECKING

import streamlit as st

from learner.datasets import bring_files
from learner.datasets.images import read_within
from learner.evaluation.overlay import overlay
from learner.evaluation.results import SplitName
from ui.components import probability_bars
from ui.frame import telling_errors
from ui.names import plain
from ui.predict.answering import get_asker
from ui.predict.one import heat_map, show_nearest
from ui.results.shown import Shown

if TYPE_CHECKING:
    from learner.inference.predictor import Predictor

SHOWN_PX = 480
BARS = 5


def show_closer(shown: Shown, split: SplitName, place: int, classes: list[str], stage: str, strength: float) -> None:
    """The photo in row `place` of the predictions, with its probabilities.

    Unless `stage` is empty, its heat maps there and what is like it come too.
    """
    row = shown.predictions(split).loc[place]
    st.markdown(f"**{plain(row['path'])}**")
    with telling_errors():
        file = bring_files(shown.store, shown.dataset, [row["file"]]) / row["file"]
        picture = read_within(file, SHOWN_PX)
        wanted = list(dict.fromkeys([row["predicted"], row["label"]])) if stage else []
        columns = st.columns([1] * (1 + len(wanted)) + [1.3], vertical_alignment="top")
        columns[0].image(
            picture, caption=f"Labelled {plain(row['label'])}", alt=f"The photo {row['path']}", width="stretch"
        )
        probs = row[[f"p({name})" for name in classes]].astype(float)
        best = probs.to_numpy().argsort()[::-1][:BARS]
        with columns[-1]:
            probability_bars([classes[index] for index in best], [float(probs.iloc[index]) for index in best])
        if not stage:
            return
        with st.spinner("Loading the model; the first time takes some seconds"):
            predictor = predictor_of(shown)
        for column, name in zip(columns[1:], wanted, strict=False):
            weights = heat_map(predictor, file, shown.model, row["sha256"], classes.index(name), stage)
            column.image(
                overlay(picture, weights, strength),
                caption=f"{'What' if weights.any() else f'Nothing in {stage}'} spoke for {plain(name)}",
                alt=f"{row['path']} with amber where it spoke for {name} in {stage}",
                width="stretch",
            )
        [said] = predictor.predict([file], top_k=1)
        show_nearest(shown.store, shown.run, said.nearest)


def predictor_of(shown: Shown) -> "Predictor":
    """The run's model in the web process, loaded when it is first needed."""
    return get_asker().predictor(shown.store, shown.run.id, shown.model)
