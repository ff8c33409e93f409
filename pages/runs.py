"""Runs: every run, and the chosen one live."""

import time
from contextlib import suppress
from datetime import datetime

import pandas as pd
import streamlit as st

from learner.errors import RunError
from learner.recipe import Recipe
from learner.speed import RunPlan
from learner.store import ACTIVE, Run, Store
from learner.words import count, duration, percent
from ui import charts, plans, state
from ui.components import show_strip
from ui.frame import empty, next_step, page, telling_errors

REFRESH_S = 1.0
CURVES_REFRESH_S = 4.0
"""Drawing curves costs a browser more than all the rest, and training may share its cores."""
LOG_LINES = 40
STATUS = {
    "queued": "Waiting",
    "running": "Training",
    "finished": "Finished",
    "stopped": "Stopped",
    "interrupted": "Interrupted",
    "failed": "Failed",
}


def show_page() -> None:
    store = state.get_store()
    store.runs.requeue_silent()
    runs = store.runs.all()
    if not runs:
        empty("**No runs yet.** A run is one training, from a recipe to a model.", "train", "Plan a run")
        return
    chosen = state.current_run(runs)
    chosen = choose(store, runs, chosen)
    state.remember_run(chosen.id)
    active = chosen.status in ACTIVE
    st.fragment(show_run, run_every=REFRESH_S if active else None)(store, chosen.id, chosen.status)
    st.fragment(show_details, run_every=CURVES_REFRESH_S if active else None)(store, chosen.id)


def choose(store: Store, runs: list[Run], chosen: Run) -> Run:
    """The list of runs; a click on a row opens it."""
    table = pd.DataFrame(
        [
            {
                "Run": run.id,
                "Status": STATUS[run.status],
                "Data set": "{} (version {})".format(*store.runs.dataset_of(run)),
                "Best accuracy": "–" if run.best_accuracy is None else percent(run.best_accuracy),
                "Started": None if run.started_at is None else datetime.fromtimestamp(run.started_at),
                "Took": "–" if run.status in ACTIVE else took(run),
            }
            for run in runs
        ]
    )
    st.caption("Click a row to open that run.")
    event = st.dataframe(
        table,
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        key=f"runs-{len(runs)}",
        height="auto" if len(runs) < 7 else 280,
        column_config={
            "Started": st.column_config.DatetimeColumn(format="D MMM, HH:mm"),
        },
        alt="Every run with its status, data set, best accuracy, start and duration.",
    )
    rows = event.selection.rows
    return runs[rows[0]] if rows else chosen


def took(run: Run) -> str:
    if run.started_at is None:
        return "–"
    return duration((run.finished_at or time.time()) - run.started_at)


def show_run(store: Store, run_id: int, drawn_as: str) -> None:
    """Where the chosen run stands; while it is active this is drawn anew every second, without the rest of the page."""
    with telling_errors():
        store.runs.requeue_silent()
        run = store.runs.get(run_id)
        if run.status != drawn_as:
            st.rerun()
        name, number = store.runs.dataset_of(run)
        st.subheader(f"Run {run.id}: {STATUS[run.status].lower()}")
        st.caption(facts_line(run, name, number))
        if run.status == "queued":
            show_queued(store, run)
        elif run.status == "running":
            show_progress(run)
        else:
            show_ending(run)


def show_details(store: Store, run_id: int) -> None:
    """Curves, epochs and log of the chosen run."""
    with telling_errors():
        run = store.runs.get(run_id)
        show_curves(store, run, Recipe.from_dict(run.recipe))
        show_cost(run)
        show_log(store, run)


def facts_line(run: Run, dataset: str, version: int) -> str:
    line = f"{dataset}, version {version}"
    if run.facts:
        facts = run.facts
        line += (
            f" · {facts['backbone']} at {facts['image_size']} px on {facts['device']} · "
            f"{count(facts['train_images'], 'training image')}, {facts['valid_images']:,} for validation · "
        )
        if plan := RunPlan.from_facts(run.facts):
            line += f"computed in {plan.precision}, {plans.kept_text(plan)} · "
        line += facts["weights"]["reason"]
    return line


def show_queued(store: Store, run: Run) -> None:
    ahead = store.runs.waiting_before(run.id)
    if not store.runs.workers():
        st.warning(
            "The run waits for a worker, and none is running. `make app` starts one with the page; by hand it is "
            "`python -m learner worker`."
        )
    else:
        st.info(f"Waiting for {count(ahead, 'run')} before it." if ahead else "About to begin.")
    st.button("Take it out of the queue", on_click=request_stop, args=(run.id,))


def request_stop(run_id: int) -> None:
    with suppress(RunError):  # it ended in the meantime, which the page shows
        state.get_store().runs.ask(run_id, "stop")


def show_progress(run: Run) -> None:
    progress = run.progress
    left = progress.get("seconds_left")
    text = progress.get("message") or "Starting the training process"
    if progress.get("epoch"):  # 0 while a phase gets ready
        text += (
            f" · epoch {progress['epoch']} of {progress['epochs']} · batch {progress['batch']} of {progress['batches']}"
        )
    text += f" · {duration(left)} left" if left is not None else ""
    st.progress(progress.get("done", 0.0), text=text)
    if progress.get("phase") is not None and run.facts:
        show_strip(run.facts["stages"], run.facts["rates"][progress["phase"]])
    learning = run.best_accuracy is not None or progress.get("epoch")
    if run.asked:
        st.info(
            "Stopping: what it has learnt so far is checked on the validation images and kept."
            if learning
            else "Stopping. Nothing was learnt yet."
        )
    else:
        label = "Stop and keep what it has learnt" if learning else "Stop this run"
        st.button(label, type="primary", on_click=request_stop, args=(run.id,))


def show_ending(run: Run) -> None:
    if run.status in ("finished", "stopped") and run.best_accuracy is not None:
        st.markdown(f"**{percent(run.best_accuracy)}** of the validation images right, in {took(run)}.")
        next_step("results", "See what it gets right and wrong")
    elif run.status == "failed":
        st.error(run.reason)
        next_step("train", "Change the recipe")
    else:
        st.warning(run.reason or "The run was stopped before anything was learnt, so there is no model to keep.")
        next_step("train", "Plan another run")


def show_curves(store: Store, run: Run, recipe: Recipe) -> None:
    steps, epochs = store.runs.steps(run.id), store.runs.epochs(run.id)
    if not steps and not epochs:
        if run.status == "running":
            st.caption("The curves begin with the first steps of training.")
        return
    st.vega_lite_chart(
        charts.curves(epochs, steps, recipe.phases, state.is_dark()),
        key="curves",
        alt="Training and validation loss and validation accuracy over the epochs, with the phases marked.",
    )
    if run.facts:
        with st.expander("Learning rates", expanded=run.status in ACTIVE):
            groups = [*run.facts["stages"], "head"]
            st.vega_lite_chart(
                charts.rate_curves(steps, recipe.phases, groups, state.is_dark()),
                key="rates",
                alt="Learning rate of every part over the epochs.",
            )
    if epochs:
        with st.expander("Every epoch as a table"):
            st.dataframe(
                [
                    {
                        "Epoch": epoch.epoch,
                        "Phase": recipe.phases[epoch.phase].name,
                        "Train loss": epoch.train_loss,
                        "Valid loss": epoch.valid_loss,
                        "Accuracy": percent(epoch.accuracy),
                        "Error rate": percent(epoch.error_rate),
                        "Time": duration(epoch.seconds),
                    }
                    for epoch in epochs
                ],
                hide_index=True,
            )


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
    st.caption("  \n".join(f"**{phase.name}**: {plans.cache_text(phase)}" for phase in plan.phases))
    whole = "" if run.status in ACTIVE else f" The whole run, with loading and the last check, took {took(run)}."
    early = " It was stopped early, so its last phase is a part of what was planned." if run.status == "stopped" else ""
    st.caption(f"{plans.precision_text(plan)}{whole}{early}")


def show_log(store: Store, run: Run) -> None:
    path = store.workspace.run_folder(run.id) / "log.txt"
    if not path.exists():
        return
    with st.expander("Log"):
        lines = path.read_text("utf-8", errors="replace").splitlines()[-LOG_LINES:]
        st.code("\n".join(lines) or "Nothing yet.", language=None, wrap_lines=True)


with page("runs", "Every training, and the chosen one live. It goes on when you close this page."):
    show_page()
