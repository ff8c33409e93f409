"""Runs: every run, and the chosen one live."""

import streamlit as st

from learner.evaluation.history import thinned_steps
from learner.planning.cost import RunPlan
from learner.recipe import Recipe
from learner.store import ACTIVE, Run, Store
from ui import plans, state
from ui.frame import empty, page, telling_errors
from ui.live.acting import show_undo
from ui.live.coach import show_coach
from ui.live.comparing import show_comparing
from ui.live.control import show_control
from ui.live.curves import show_curves, show_folded_curves
from ui.live.importing import show_import
from ui.live.listing import show_list
from ui.live.naming import took
from ui.live.photos import show_photos
from ui.live.standing import series_text, show_standing
from ui.live.studies import show_studies
from ui.live.trials import show_trials
from ui.names import plain

REFRESH_S = 1.0
CURVES_REFRESH_S = 4.0
"""Drawing curves costs a browser more than all the rest, and training may share its cores."""
LOG_LINES = 40
VIEWS = {"runs": "Runs", "studies": "Studies"}


def show_page() -> None:
    store = state.get_store()
    store.runs.requeue_silent()
    runs = state.own_first(store.runs.all())
    show_undo()
    if store.studies.all() and state.choose_view(VIEWS, "runs", state.RUNS_VIEW) == "studies":
        show_studies(store)
        return
    if not runs:
        empty("**No runs yet.** A run is one training, from a recipe to a model.", "train", "Plan a run")
        show_import(store)
        return
    chosen = state.current_run(runs)
    assert chosen is not None  # there are some
    if chosen.study is not None:
        st.caption(f"Run {chosen.id} is a part of study {chosen.study}.")
    state.remember_run(chosen.id)
    slowly = CURVES_REFRESH_S if any(run.status in ACTIVE for run in runs) else None
    st.fragment(show_list, run_every=slowly)(store, chosen.id)
    active = chosen.status in ACTIVE
    series = series_text(chosen, runs)
    st.fragment(show_run, run_every=REFRESH_S if active else None)(store, chosen.id, chosen.status, series)
    st.fragment(show_details, run_every=CURVES_REFRESH_S if active else None)(store, chosen.id)
    st.fragment(show_comparing, run_every=slowly)(store)
    show_import(store)


@telling_errors()
def show_run(store: Store, run_id: int, drawn_as: str, series: str | None) -> None:
    """Where the chosen run stands; while it is active this is drawn anew every second, without the rest of the page."""
    run = store.runs.get(run_id)
    if run.status != drawn_as or run.deleted_at is not None:
        st.rerun()
    recipe = Recipe.from_dict(run.recipe_with_epochs)
    show_standing(store, run, recipe, series)
    show_control(store, run, recipe)


@telling_errors()
def show_details(store: Store, run_id: int) -> None:
    """Curves, advice, photos, cost and log of the chosen run."""
    store.runs.requeue_silent()
    run = store.runs.get(run_id)
    recipe = Recipe.from_dict(run.recipe_with_epochs)
    epochs, steps = store.runs.epochs(run_id), thinned_steps(store, run_id)
    show_trials(run)
    show_curves(run, recipe, epochs, steps)
    show_coach(store, run, recipe, epochs)
    show_photos(store, run, epochs)
    show_folded_curves(run, recipe, epochs, steps)
    show_cost(run)
    show_log(store, run)


def show_cost(run: Run) -> None:
    """What was expected beside what came true, from the end of the first phase on."""
    plan = RunPlan.from_facts(run.facts)
    if plan is None or not plans.has_true_times(plan):
        return
    st.subheader("Expected and true")
    with st.container(key="times"):
        st.table(
            plans.expected_and_true(plan, finished=run.status == "finished"),
            border="horizontal",
            width="content",
            alt="Expected and true time of every part of the run, and whether the cache was on.",
        )
    st.caption("  \n".join(f"**{plain(phase.name)}**: {plans.cache_text(phase)}" for phase in plan.stretches))
    whole = "" if run.status in ACTIVE else f" The whole run, with loading and the last check, took {took(run)}."
    early = " It was stopped early, so its last phase is a part of what was planned." if run.status == "stopped" else ""
    st.caption(f"{plans.precision_text(plan)}{whole}{early}")


def show_log(store: Store, run: Run) -> None:
    path = store.run_folder(run.id) / "log.txt"
    if not path.exists():
        return
    with st.expander("Log", key="log", on_change="rerun") as opened:
        if opened.open:
            lines = path.read_text("utf-8", errors="replace").splitlines()[-LOG_LINES:]
            st.code("\n".join(lines) or "Nothing yet.", language=None, wrap_lines=True)


with page("runs", "Every training, and the chosen one live. It goes on when you close this page."):
    show_page()
