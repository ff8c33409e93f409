"""Where the chosen run stands: how far, how long still, on what; how it ended."""

from collections.abc import Sequence
from typing import Any

import streamlit as st

from learner.evaluation.compare import spread
from learner.planning.cost import RunPlan
from learner.planning.needs import why_it_waits
from learner.recipe import Recipe
from learner.store import Run, Store
from learner.wording import count, duration, file_size, percent, rate_of
from ui import plans
from ui.components import show_strip
from ui.live.naming import STATUS, ordinal, took
from ui.names import plain


def show_standing(store: Store, run: Run, recipe: Recipe, series: str | None) -> None:
    """Heading, what it is, and where it stands; the buttons follow elsewhere. `series` is its place among repeats."""
    st.subheader(f"Run {run.id}: {STATUS[run.status].lower()}")
    st.caption(plain(facts_line(run)))
    if series:
        st.caption(series)
    for note in run.notes:
        st.info(plain(note))
    if run.status == "queued":
        _show_queued(store, run)
    elif run.status == "running":
        _show_progress(run, recipe)
    else:
        _show_ending(store, run)


def facts_line(run: Run) -> str:
    facts = run.facts
    parts = [f"{run.recipe['dataset']}, version {run.recipe['version']}"]
    if run.parent is not None and run.parent_phase is not None:
        parts.append(f"began from the end of phase {run.parent_phase + 1} of run {run.parent}")
    if "backbone" in facts:
        parts.append(f"{facts['backbone']} at {facts['image_size']} px on {facts['device']}")
        parts.append(f"{count(facts['train_images'], 'training image')}, {facts['valid_images']:,} for validation")
        if plan := RunPlan.from_facts(facts):
            parts.append(f"computed in {plan.precision}, {plans.kept_text(plan)}")
        parts.append(facts["weights"]["reason"])
    return " · ".join(parts)


def series_text(run: Run, runs: Sequence[Run]) -> str | None:
    """Which repeat it is and how far the repeats lie apart; None for a run of its own."""
    first = run.series or run.id
    members = sorted((other for other in runs if first in (other.id, other.series)), key=lambda other: other.id)
    if len(members) < 2:
        return None
    names = ", ".join(str(other.id) for other in members)
    text = f"{ordinal([other.id for other in members].index(run.id) + 1)} of {len(members)} repeats (runs {names})"
    done = spread(
        [other.best_accuracy for other in members if other.status == "finished" and other.best_accuracy is not None]
    )
    if done is None:
        return f"{text}; the mean follows when they have finished."
    if done.deviation is None:
        return f"{text}; {percent(done.mean)} so far, in one run."
    return (
        f"{text}: **{100 * done.mean:.1f} ± {100 * done.deviation:.1f} %**, mean and standard deviation of {done.runs}."
    )


def _show_queued(store: Store, run: Run) -> None:
    ahead = store.queue.waiting_before(run.id)
    if run.reason:
        st.info(f"{plain(run.reason)} Nothing is lost: it goes on by itself from where it stood.")
    if not store.workers.alive():
        st.warning(
            "The run waits for a worker, and none is running. `make app` starts one with the page; by hand it is "
            "`python -m learner worker`."
        )
    elif lacking := why_it_waits(store, run.id):
        st.warning(plain(lacking))
    else:
        st.info(f"Waiting for {count(ahead, 'run')} before it." if ahead else "About to begin.")


def _show_progress(run: Run, recipe: Recipe) -> None:
    if run.reason:
        st.info(f"{plain(run.reason)} It was taken up again from where it stood, and nothing is lost.")
    progress = run.progress
    whole = progress.get("message") or "Starting the training process"
    done = progress.get("done", 0.0)
    st.progress(done, text=f"{plain(whole)} · {100 * done:.0f} % of the whole run{_left(progress.get('seconds_left'))}")
    phase = progress.get("phase")
    if phase is None or phase >= len(recipe.phases):
        _show_machine(progress)
        return
    within = f"{plain(recipe.phases[phase].name)}: phase {phase + 1} of {len(recipe.phases)}"
    if progress.get("epoch"):  # 0 while a phase gets ready
        within += (
            f" · epoch {progress['epoch']} of {progress['epochs']} · batch {progress['batch']} of {progress['batches']}"
        )
    if progress.get("phase_done") is None:
        st.caption(within)
    else:
        st.progress(progress["phase_done"], text=within + _left(progress.get("phase_seconds_left")))
    _show_machine(progress)
    if phase < len(run.facts.get("rates", [])):
        show_strip(run.facts["stages"], run.facts["rates"][phase], recipe.phases[phase])


def _left(seconds: float | None) -> str:
    return f", {duration(seconds)} left" if seconds is not None else ""


def _show_machine(progress: dict[str, Any]) -> None:
    """What it takes of the machine, in one quiet line."""
    parts = []
    if (speed := progress.get("images_per_s")) is not None:
        parts.append(f"{rate_of(speed)} images a second")
    if (cpu := progress.get("cpu")) is not None:
        parts.append(f"{cpu:.0f} % of the processor")
    if (memory := progress.get("memory")) is not None:
        total = progress.get("memory_total")
        parts.append(f"{file_size(memory)}{f' of {file_size(total)}' if total else ''} of memory")
    if (gpu := progress.get("gpu_memory")) is not None:
        parts.append(f"{file_size(gpu)} of GPU memory")
    if parts:
        st.caption(" · ".join(parts))


def _show_ending(store: Store, run: Run) -> None:
    best = run.best_accuracy
    if run.status in ("finished", "stopped") and best is not None:
        st.markdown(f"**{percent(best)}** of the validation images right, in {took(run)}.")
    elif run.status == "failed":
        st.error(plain(run.reason))
    elif run.status == "paused":
        st.info(f"{plain(run.reason) or 'Paused.'} Nothing is lost: resume it whenever you like.")
    else:
        st.warning(plain(run.reason) or "The run was stopped before anything was learnt, so there is no model to keep.")
    if (
        run.status in ("failed", "interrupted", "paused")
        and best is not None
        and store.files.has(store.workspace.checkpoint(run.id))
    ):
        st.caption(f"Its best model so far is kept: {percent(best)}, from epoch {run.best_epoch}.")
