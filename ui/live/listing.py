"""The list of runs with their sparklines, the queue in its order, and what was deleted."""

from collections.abc import Sequence
from datetime import datetime
from itertools import groupby

import pandas as pd
import streamlit as st

from learner.evaluation.history import accuracies
from learner.store import ACTIVE, Run, Store
from learner.store.runs import UNDO_S
from learner.wording import count
from ui import state
from ui.frame import telling_errors
from ui.live.acting import act, bring_back
from ui.live.naming import accuracy_text, dataset_text, status_text, took
from ui.names import plain

HIGHEST_LIST_PX = 300


@telling_errors()
def show_list(store: Store, chosen_id: int) -> None:
    """Every run, then the queue and the deleted ones. Choosing another run draws the whole page anew.

    Runs of studies are in the list only when a person asks for them: they can be hundreds.
    """
    every = state.own_first(store.runs.all())
    queue = store.queue.waiting()
    waiting = [run.id for run in queue]
    of_studies = sum(run.study is not None for run in every)
    shows_all = of_studies and st.toggle(f"Show the {count(of_studies, 'run')} of studies, too", key="study-runs")
    runs = [run for run in every if run.study is None or shows_all or run.id == chosen_id]
    curves = accuracies(store, [run.id for run in runs])
    table = pd.DataFrame([_row(run, waiting, curves.get(run.id, [])) for run in runs])
    ids = [run.id for run in runs]
    key = f"runs-{len(runs)}"  # rows of another list are other runs
    st.dataframe(
        table,
        hide_index=True,
        on_select=lambda: _choose(key, ids),
        selection_mode="single-row",
        key=key,
        placeholder="–",
        height="auto" if len(runs) < 7 else HIGHEST_LIST_PX,
        column_config={
            "Run": st.column_config.NumberColumn(width=50),
            "Accuracy by epoch": st.column_config.LineChartColumn(
                y_min=0, y_max=1, width=130, help="On the validation images, from 0 to 100 %."
            ),
            "Thawing gained": st.column_config.NumberColumn(
                format="%+.1f points",
                width=125,
                help="Accuracy now, above that at the end of the first phase.",
            ),
            "Started": st.column_config.DatetimeColumn(format="D MMM, HH:mm", width=110),
        },
        alt="Every run with its status, accuracy by epoch, best accuracy, gain, data set, start and duration.",
    )
    if waiting:
        _show_queue(store, queue, chosen_id in waiting)
    _show_deleted(store)
    chosen = state.current_run(every)
    if chosen is None or chosen.id != chosen_id:
        st.rerun()


def _row(run: Run, waiting: Sequence[int], curve: Sequence[tuple[int, float]]) -> dict:
    ends = dict(curve)  # the last epoch of a phase stays
    first = next(iter(ends.values()), None)
    return {
        "Run": run.id,
        "Status": status_text(run, waiting),
        "Accuracy by epoch": [accuracy for _, accuracy in curve],
        "Best accuracy": accuracy_text(run),
        "Thawing gained": 100 * (curve[-1][1] - first) if first is not None and len(ends) > 1 else None,
        "Data set": dataset_text(run),
        "Started": None if run.started_at is None else datetime.fromtimestamp(run.started_at),
        "Took": "–" if run.status in ACTIVE else took(run),
    }


def _choose(key: str, ids: Sequence[int]) -> None:
    rows = st.session_state[key].selection.rows
    if rows:
        state.remember_run(ids[rows[0]])


def _show_queue(store: Store, waiting: Sequence[Run], opened: bool) -> None:
    """The order in which runs will be taken, and its buttons. Runs of a study that follow one another are one line."""
    lines = [list(some) for _, some in groupby(waiting, key=lambda run: ("study", run.study) if run.study else run.id)]
    with st.expander(f"The queue: {count(len(waiting), 'run')}", expanded=opened):
        for index, line in enumerate(lines):
            run = line[0]
            place = sum(map(len, lines[:index]))
            if run.study:
                numbers = f"{place + 1}." if len(line) == 1 else f"{place + 1} to {place + len(line)}."
                st.markdown(f"{numbers} **Study {run.study}** · {plain(dataset_text(run))} · {count(len(line), 'run')}")
                continue
            phases = count(len(run.recipe["phases"]), "phase")
            with st.container(horizontal=True, vertical_alignment="center", gap="small"):
                st.markdown(
                    f"{place + 1}. **Run {run.id}** · {plain(dataset_text(run))} · {phases}",
                    width="stretch",
                )
                before = len(lines[index - 1]) if index else 0
                after = len(lines[index + 1]) if index + 1 < len(lines) else 0
                for label, icon, places in (
                    ("Earlier", "arrow_upward", -before),
                    ("Later", "arrow_downward", after),
                ):
                    st.button(
                        label,
                        icon=f":material/{icon}:",
                        key=f"{label}-{run.id}",
                        disabled=not places,
                        help=f"Run {run.id} {'one place ' if abs(places) == 1 else ''}{label.lower()}",
                        on_click=act,
                        args=(store.queue.move, run.id, places, [other.id for other in waiting]),
                    )
                st.button(
                    "Cancel",
                    key=f"cancel-{run.id}",
                    help=f"Take run {run.id} out of the queue",
                    on_click=act,
                    args=(store.runs.ask, run.id, "stop"),
                )


def _show_deleted(store: Store) -> None:
    gone = {study.id for study in store.studies.deleted()}
    deleted = [run for run in store.runs.deleted() if run.study not in gone]
    if not deleted:
        return
    with st.expander(f"{count(len(deleted), 'deleted run')}"):
        st.caption(f"For {UNDO_S // 3600} hours after it was deleted, a run can be had back with its model.")
        for run in deleted:
            with st.container(horizontal=True, vertical_alignment="center"):
                st.markdown(f"**Run {run.id}** · {plain(dataset_text(run))} · {accuracy_text(run)}", width="stretch")
                st.button(
                    "Bring back",
                    key=f"undelete-{run.id}",
                    help=f"Bring run {run.id} back",
                    on_click=bring_back,
                    args=(run.id,),
                )
