"""A report and a model card to keep or send, each made when it is asked for."""

from functools import partial

import streamlit as st

from learner.evaluation.results import is_complete
from ui.results.shown import Shown


def show_keeping(shown: Shown) -> None:
    """Two downloads; matplotlib and all that they need is loaded on the click."""
    run, dataset = shown.run.id, _for_a_file(shown.dataset)
    with st.container(border=True, key="keeping"):
        st.markdown("#### A report to keep or send")
        st.markdown(
            "One page with figures and their intervals, tables, the recipe, the data and the versions; it opens in any "
            "browser without internet. The model card is the README.md that goes with the model on Hugging Face, with "
            "measured figures only."
        )
        if not is_complete(shown.folder):
            st.caption("Have the model look at its images once more (above): then there is all that these tell.")
            return
        with st.container(horizontal=True):
            st.download_button(
                "Download the report",
                data=partial(_report, shown),
                file_name=f"thaw-report-{dataset}-run-{run}.html",
                mime="text/html",
                on_click="ignore",
                key=f"report-{run}",
                help="It takes some seconds to draw.",
            )
            st.download_button(
                "Download the model card",
                data=partial(_card, shown),
                file_name=f"model-card-{dataset}-run-{run}.md",
                mime="text/markdown",
                on_click="ignore",
                key=f"card-{run}",
            )


def _report(shown: Shown) -> bytes:
    from learner.report import make_report

    return make_report(shown.store, shown.run.id).encode()


def _card(shown: Shown) -> bytes:
    from learner.report.model_card import make_card

    return make_card(shown.store, shown.run.id).encode()


def _for_a_file(name: str) -> str:
    return "".join(sign if sign.isalnum() else "-" for sign in name).strip("-") or "model"
