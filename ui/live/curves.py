"""The curves of a run, what each phase gained, and the same as a table."""

from collections.abc import Callable, Sequence
from html import escape

import streamlit as st

from learner.evaluation.compare import phase_gains
from learner.recipe import Recipe
from learner.store import Epoch, Run, Step
from learner.wording import duration, percent
from ui import charts, state
from ui.live.naming import points


def show_curves(run: Run, recipe: Recipe, epochs: Sequence[Epoch], steps: Sequence[Step]) -> None:
    if not steps and not epochs:
        if run.status == "running":
            st.caption("The curves begin with the first steps of training.")
        return
    st.vega_lite_chart(
        charts.curves(epochs, steps, recipe.phases, state.is_dark()),
        key="curves",
        alt="Training and validation loss and validation accuracy over the epochs, with the phases marked.",
    )
    show_gains(recipe, epochs)


def show_gains(recipe: Recipe, epochs: Sequence[Epoch]) -> None:
    """What each phase added to the accuracy, in points."""
    gains = phase_gains(epochs)
    if gains:
        st.html(
            '<div class="thaw-gains thaw-figures">'
            + "".join(
                f"<span>{escape(recipe.phases[gain.phase].name)} "
                f"<b>{percent(gain.accuracy) if gain.gain is None else points(gain.gain)}</b>"
                f"{'' if gain.gain is None else f' to {percent(gain.accuracy)}'}</span>"
                for gain in gains
            )
            + "</div>"
        )


def show_folded_curves(run: Run, recipe: Recipe, epochs: Sequence[Epoch], steps: Sequence[Step]) -> None:
    """Charts for a closer look; a folded one costs nothing."""
    dark = state.is_dark()
    if steps and "stages" in run.facts:
        groups = [*run.facts["stages"], "head"]
        _folded(
            "Learning rates",
            "rates",
            lambda: charts.rate_curves(epochs, steps, recipe.phases, groups, dark),
            "Learning rate of every part over the epochs.",
        )
    if any(step.grad_norm for step in steps):
        _folded(
            "Gradient norm: how strongly the loss pulls at the weights",
            "gradients",
            lambda: charts.gradient_curve(epochs, steps, recipe.phases, dark),
            "Length of the gradient over the epochs, on a logarithmic axis.",
        )
    if any(step.images_per_s for step in steps):
        _folded(
            "Throughput",
            "throughput",
            lambda: charts.throughput_curve(epochs, steps, recipe.phases, dark),
            "Training images a second over the epochs.",
        )
    if epochs:
        with st.expander("Every epoch as a table", key="epochs", on_change="rerun") as opened:
            if opened.open:
                _show_table(recipe, epochs)


def _folded(title: str, key: str, chart: Callable[[], charts.Spec], alt: str) -> None:
    with st.expander(title, key=f"{key}-opened", on_change="rerun") as opened:
        if opened.open:
            st.vega_lite_chart(chart(), key=key, alt=alt)


def _show_table(recipe: Recipe, epochs: Sequence[Epoch]) -> None:
    st.dataframe(
        [
            {
                "Epoch": epoch.epoch,
                "Phase": recipe.phases[epoch.phase].name,
                "Train loss": epoch.train_loss,
                "Valid loss": epoch.valid_loss,
                "Accuracy": percent(epoch.accuracy),
                "Error rate": percent(epoch.error_rate),
                "Gradient norm": epoch.grad_norm,
                "Images a second": epoch.images_per_s,
                "Time": duration(epoch.seconds),
            }
            for epoch in epochs
        ],
        hide_index=True,
        column_config={
            "Gradient norm": st.column_config.NumberColumn(format="%.3g"),
            "Images a second": st.column_config.NumberColumn(format="%.0f"),
        },
    )
