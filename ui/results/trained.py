"""What was trained, phase by phase: the parts that learnt, how a head was solved, what a phase brought."""

from collections.abc import Mapping
from typing import Any

import streamlit as st

from learner.evaluation.findings import checked_rows, findings, point_text
from learner.planning.cost import RunPlan
from learner.recipe import Recipe
from learner.wording import percent
from ui import plans, state
from ui.components import show_strip
from ui.drawing import show_chart
from ui.live.naming import took
from ui.live.trials import show_trials
from ui.names import plain
from ui.results import charts
from ui.results.shown import Shown

SOLVED_HELP = (
    "A solved head is a logistic regression on what the frozen body gives. Regularisation pulls its weights towards "
    "zero: strong makes it simple, weak lets it follow every training photo. Each strength is tried by "
    "cross-validation: a part of the training photos is left out of the fit and judged, in turn."
)
INTERPOLATED_HELP = (
    "Between the weights at the phase's start and those at its end lie mixtures of both. The one with the lowest log "
    "loss on the validation images is taken (WiSE-FT), so that the phase cannot make that loss worse. As the point was "
    "chosen on these images, its gain flatters a little."
)


def show_training(shown: Shown) -> None:
    st.subheader("What was trained")
    run, plan = shown.run, RunPlan.from_facts(shown.run.facts)
    how = f" Computed in {plan.precision}, {plans.kept_text(plan)}." if plan else ""
    st.caption(
        f"{run.facts['backbone']} at {run.facts['image_size']} px. {plain(run.facts['weights']['reason'])}{how} "
        f"Took {took(run)}."
    )
    phases = Recipe.from_dict(run.recipe_with_epochs).phases
    told = findings(run, phases)
    for index, (phase, rates) in enumerate(zip(phases, run.facts["rates"], strict=True)):
        st.markdown(f"**{plain(phase.name)}**, {phase.length_text}")
        show_strip(run.facts["stages"], rates, phase, finished=True)
        for _, text in (one for one in told if one[0] == index):
            st.markdown(text, help=SOLVED_HELP if phase.solve else INTERPOLATED_HELP)
        if solved := run.facts.get("solved", {}).get(str(index)):
            show_strengths(solved)
        if interpolated := run.facts.get("interpolated", {}).get(str(index)):
            show_points(interpolated)
    show_trials(run)


def show_strengths(found: Mapping[str, Any]) -> None:
    """How good a solved head is at each strength of regularisation, and which was taken."""
    rows = checked_rows(found)
    if len(rows) < 2:
        return
    for place, figure in zip(st.columns(2), ("accuracy", "log_loss"), strict=True):
        show_chart(
            charts.strengths,
            rows,
            figure,
            state.is_dark(),
            place=place,
            alt=f"{charts.STRENGTH_FIGURES[figure][0]} over the strength of regularisation, with 95 % intervals: "
            + ", ".join(f"{row['strength']:.2g}: {row[figure]:.3f}" for row in rows),
        )
    st.caption(
        "Lines are 95 % intervals. All strengths are judged on the same photos, so their order is surer than the "
        "intervals look."
    )


def show_points(found: Mapping[str, Any]) -> None:
    """What each point of the way from a phase's start to its end gave."""
    st.table(
        [
            {
                "Point": point_text(row["point"]).capitalize(),
                "Log loss": "no number" if row["loss"] is None else f"{row['loss']:.3f}",
                "Accuracy": percent(row["accuracy"]),
                "": "taken" if row["point"] == found["point"] else "",
            }
            for row in found["tried"]
        ],
        border="horizontal",
        width="content",
        alt="Log loss and accuracy of the validation images at each point that was tried.",
    )
