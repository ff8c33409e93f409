"""Any runs beside each other: one chart, and a table of what each took."""

from collections.abc import Sequence
from itertools import accumulate

import streamlit as st

from learner.evaluation.compare import common_accuracy, compare, phase_gains, spread
from learner.store import Epoch, Run, Store
from learner.wording import duration, percent
from ui import charts, state
from ui.frame import telling_errors
from ui.live.naming import accuracy_text, points

MOST_COMPARED = 6
ACCURACY, LOSS = "Accuracy", "Validation loss"
EPOCHS, TIME = "Epochs", "Time"


@telling_errors()
def show_comparing(store: Store) -> None:
    """Choose runs, see them in one chart."""
    runs = {run.id: run for run in store.runs.all() if run.started_at is not None}
    if len(runs) < 2:
        return
    st.subheader("Compare runs")
    chosen = st.multiselect(
        f"Runs to compare, up to {MOST_COMPARED}",
        list(runs),
        format_func=lambda run_id: _name(runs[run_id]),
        max_selections=MOST_COMPARED,
        key="compared",
        placeholder="Choose two or more",
    )
    if len(chosen) < 2:
        st.caption("Choose at least two to see how fast each got to the same accuracy.")
        return
    with st.container(horizontal=True):
        shown = st.segmented_control("Show", [ACCURACY, LOSS], default=ACCURACY, required=True, key="compared-figure")
        against = st.segmented_control("Against", [EPOCHS, TIME], default=EPOCHS, required=True, key="compared-against")
    curves = {run_id: store.runs.epochs(run_id) for run_id in chosen}
    lines = {f"run {run_id}": _line(epochs, shown, against) for run_id, epochs in curves.items()}
    if not any(lines.values()):
        st.caption("None of them has finished an epoch yet.")
        return
    st.vega_lite_chart(
        charts.comparison(lines, "Epoch" if against == EPOCHS else "Minutes of training", shown, state.is_dark()),
        key="comparison",
        alt=f"{shown} of the chosen runs against {against.lower()}.",
    )
    _show_table(runs, curves)


def _name(run: Run) -> str:
    accuracy = f", {percent(run.best_accuracy)}" if run.best_accuracy is not None else ""
    return f"Run {run.id}: {run.recipe['dataset']}, {run.facts.get('backbone', run.recipe['backbone'])}{accuracy}"


def _line(epochs: Sequence[Epoch], shown: str, against: str) -> list[tuple[float, float]]:
    minutes = accumulate(epoch.seconds / 60 for epoch in epochs)
    return [
        (epoch.epoch if against == EPOCHS else minute, figure)
        for epoch, minute in zip(epochs, minutes, strict=True)
        if (figure := epoch.accuracy if shown == ACCURACY else epoch.valid_loss) is not None
    ]


def _show_table(runs: dict[int, Run], curves: dict[int, list[Epoch]]) -> None:
    goal = common_accuracy(curves)
    until = "Until all got there" if goal is None else f"Until {percent(goal)}"
    rows = []
    for compared in compare(curves):
        gains = [gain.gain for gain in phase_gains(curves[compared.run_id]) if gain.gain is not None]
        there = "–"
        if compared.epochs_until is not None and compared.seconds_until is not None:
            there = f"epoch {compared.epochs_until}, {duration(compared.seconds_until)}"
        rows.append(
            {
                "Run": compared.run_id,
                "Best accuracy": accuracy_text(runs[compared.run_id]),
                "Epochs": compared.epochs,
                "Time": duration(compared.seconds),
                until: there,
                "Later phases gained": ", ".join(points(gain) for gain in gains) or "–",
            }
        )
    st.dataframe(rows, hide_index=True, alt="The chosen runs and what each took.")
    if goal is not None:
        st.caption(f"{percent(goal)} is the highest accuracy that all of them reached.")
    _show_spread([runs[run_id] for run_id in curves])


def _show_spread(chosen: Sequence[Run]) -> None:
    """Mean and deviation where the chosen runs are one series."""
    one_series = len({run.series or run.id for run in chosen}) == 1
    found = spread([run.best_accuracy for run in chosen if run.best_accuracy is not None]) if one_series else None
    if found and found.deviation is not None:
        st.caption(
            f"They repeat one recipe with other seeds: {100 * found.mean:.1f} ± {100 * found.deviation:.1f} %, mean "
            f"and standard deviation of {found.runs} runs. Differences of that size between other runs are chance."
        )
