"""Train one run: prepare it, run the phases of its recipe from wherever it stands, and write its result."""

import gc
import logging
import time
from contextlib import suppress
from dataclasses import replace

import torch

from learner.atomic import written_whole
from learner.datasets import bring_images
from learner.errors import FilesAway, ProcessLost, RunStopped, is_out_of_memory
from learner.evaluation.inspect import judge_by_fold
from learner.evaluation.results import discard_stale_results
from learner.jobs.memory import release_memory
from learner.jobs.process import Tell
from learner.recipe import Recipe
from learner.store import Run, Store
from learner.store.claims import MOST_DEATHS
from learner.store.files import is_any
from learner.training.data_parallel import leading, require_processes
from learner.training.prepare import prepare
from learner.training.progress import Listener, ProgressReporter, StopAsked
from learner.training.resume import (
    load_point,
    remove_partial_files,
)
from learner.training.trainer import Training
from learner.wording import count

log = logging.getLogger(__name__)

SMALLEST_BATCH = 2
WAIT_S = 2.0
"""Before an object store that did not answer is asked again."""


def train(store: Store, run_id: int, listener: Listener | None = None) -> str:
    """Execute the run's recipe from wherever it stands and write its result.

    Returns `finished`, or `stopped` or `paused` when a person asked for that. `listener` hears every progress report
    that goes to the store. When memory runs out, it goes on with half the batch and twice the batches a step.
    Raises RunStopped when a stop came before the first epoch, RunTakenOver when another process executes the run by
    now, and another ThawError (RecipeError, WeightsError, RunError, …) for what a person can put right.
    """
    progression = ProgressReporter(store, run_id, listener)
    if store.runs.get(run_id).deaths == MOST_DEATHS - 1:  # the last try; the system ends what takes too much memory
        _halve_batch(store, run_id, "The training process died twice, perhaps for lack of memory.")
    while True:
        try:
            return _attempt(store, run_id, progression)
        except ProcessLost:  # also where one had no memory left: those that are there are out of step
            raise
        except Exception as error:
            if not is_out_of_memory(error) or not _halve_batch(store, run_id, "Memory ran out."):
                raise
            log.warning("Memory ran out: %s", str(error))
        gc.collect()  # the traceback that held the network is gone by now
        release_memory()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _attempt(store: Store, run_id: int, progression: ProgressReporter) -> str:
    """Prepare, train, write the result: once, in this process."""
    progression.say("Reading the data set and the weights")
    run, workspace = store.runs.get(run_id), store.workspace
    require_processes(run.recipe.get("workers", 1))
    _bring_what_it_needs(store, run, progression)
    folder = workspace.run_folder(run_id)
    folder.mkdir(parents=True, exist_ok=True)
    remove_partial_files(folder)
    discard_stale_results(folder)
    if run.recipe.get("budget"):
        try:
            run = _choose(store, run, progression)
        except StopAsked:
            if progression.asked == "pause":
                return "paused"
            raise RunStopped("The run was stopped while it chose its recipe, so there is no model to keep.") from None
    point = load_point(workspace.resume_point(run_id))
    has_begun = point is not None or run.parent is not None or workspace.phase_end(run_id, 0).exists()
    prepared = prepare(store, run, has_begun, progression.say)
    with written_whole(folder / "recipe.yaml") as temporary:
        temporary.write_text(prepared.recipe.to_yaml(), "utf-8")
    training = Training(store, run, prepared, progression)
    point = training.go_to_position(point)
    finished = False
    with suppress(StopAsked), leading(prepared.network):
        finished = training.run_phases(point)
    if progression.asked == "pause" and not finished:
        return "paused"
    training.write_result(finished)
    judge_by_fold(store, run, progression.say)
    return "finished" if finished else "stopped"


def _bring_what_it_needs(store: Store, run: Run, progression: ProgressReporter) -> None:
    """Fetch the run's files, its images, and the runs that it builds on, where an object store holds them.

    Waits for a store that does not answer. Raises StoreError, and RunStopped when somebody asks for that meanwhile.
    """
    if not store.files.is_on:
        return None
    while True:
        try:
            return _bring(store, run, progression.say)
        except FilesAway as error:
            log.warning("%s", error)
            progression.say(f"Waiting for the store. {error}")
            if progression.stops_now:
                raise RunStopped("The run was stopped before anything was learnt.") from error
        time.sleep(WAIT_S)


def _bring(store: Store, run: Run, tell: Tell) -> None:
    store.files.begin(run.id, tell)
    kind, _, name = run.recipe.get("weights", "").partition(":")
    for other in (run.parent, int(name) if kind == "run" and name.isdecimal() else None):
        if other is not None:
            store.files.bring(other, is_any, tell)
    version = store.datasets.version_by_id(run.dataset_version_id)
    used = [image for image in store.datasets.images(version.id) if not image.excluded]
    bring_images(store, version.name, used, tell)


def _choose(store: Store, run: Run, progression: ProgressReporter) -> Run:
    """The run with the recipe that a search within its budget chose."""
    from learner.training.search import choose_recipe  # Optuna is for those only who search

    progression.say("Reading the data set and the weights", 0.0, float(run.recipe["budget"]))
    choose_recipe(store, run, progression)
    return store.runs.get(run.id)


def _halve_batch(store: Store, run_id: int, why: str) -> bool:
    """Let the run go on with half the batch size and as many images a step, and say so; False where it is too small."""
    facts = store.runs.get(run_id).facts
    if "recipe" not in facts or facts["recipe"]["batch_size"] < 2 * SMALLEST_BATCH:
        return False
    recipe = Recipe.from_dict(facts["recipe"])
    smaller = replace(recipe, batch_size=recipe.batch_size // 2, accumulate=2 * recipe.accumulate)
    note = (
        f"{why} It goes on with {smaller.batch_size} images a batch instead of {recipe.batch_size}, and "
        f"{count(smaller.accumulate, 'batch', 'batches')} a step, which comes to nearly the same in less memory."
    )
    store.runs.add_facts(run_id, recipe=smaller.to_dict(), notes=[*facts.get("notes", []), note])
    return True
