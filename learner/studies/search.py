"""A search: whole runs of one recipe, each with other settings from a space, the next ones where the last did best.

Optuna suggests what comes next, from what the rows of the runs say; nothing else is kept of it, so any worker can go on
with a search. Trials are held against each other by the loss of the validation images. One that falls behind the others
at the same epoch is paused. The best one was chosen by these images, so it looks better than it is: `confirmed` asks
with a study of folds that judge only once.
"""

import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import SQLAlchemyError

from learner.errors import RecipeError, RunError, StudyError, ThawError
from learner.recipe import Recipe
from learner.recipe.backbones import known_backbone
from learner.store import Store
from learner.store.studies import AddRun
from learner.studies.design import FOLDS, SEEDS, Design, Variant, create_study
from learner.studies.space import Space, asked_for, changed, space_from
from learner.studies.trials import FAILURES, Search, Trial, result_of_search, trials_of

if TYPE_CHECKING:
    import optuna

log = logging.getLogger(__name__)

MOST_TRIALS = 500
TRIES = 30
"""If so often what is suggested was tried already, or suits no recipe, it is drawn at random; and if that gives nothing
new so often, the space counts as used up."""
AT_RANDOM = 0.25
"""Share of the trials that come before Optuna learns from them, and `LEAST_AT_RANDOM` at least."""
LEAST_AT_RANDOM = 4
NEVER_PAUSED = 4
"""So many trials have to finish before one is paused."""
FIRST_EPOCHS = 1
"""No trial is paused by what it has after so many epochs: the first is often that of the head alone."""


def create_search(store: Store, search: Search) -> int:
    """Write a search, whose trials workers then ask for; returns the id of its study.

    Raises StudyError, RecipeError for a value that no recipe can have, and what `Store.settle` raises.
    """
    if not search.space:
        raise StudyError("A search needs something to change. Name it: --over phases.1.lr=0.00001..0.001")
    if not 2 <= search.trials <= MOST_TRIALS:
        raise StudyError(f"A search has 2 to {MOST_TRIALS} trials, and this one would have {search.trials}.")
    recipe, version = store.settle(replace(search.recipe, repeats=1))
    for key, one in search.space.items():
        _require_possible(recipe, search.space, key, one.examples)
    return store.studies.create(version.id, replace(search, recipe=recipe).to_dict(), [])


def confirmed(store: Store, study_id: int, seeds: int = SEEDS, folds: int = FOLDS) -> int:
    """Ask with a study whether the best trial's recipe is better than the asked one; returns its id.

    Raises StudyError before a trial has finished, or where the asked one is the best.
    """
    result = result_of_search(store, study_id)
    if result.best is None:
        raise StudyError(f"No trial of study {study_id} has finished, so there is nothing to confirm yet.")
    if result.best is result.first:
        raise StudyError("Nothing was better than the recipe as it was asked, so there is nothing to confirm.")
    variants = Variant("as asked", result.search.recipe), Variant("found", result.search.recipe_of(result.best.number))
    return create_study(store, Design(variants, seeds, folds))


def advance(store: Store) -> None:
    """Take every search that is under way further: pause what falls behind, ask for more trials, or end it.

    Whoever takes runs calls this before, and now and then while it trains. Safe from several processes at once.
    """
    for study_id in store.studies.searching():
        try:
            search = Search.from_dict(store.studies.get(study_id).design)
            for trial in _behind(search, trials_of(store, study_id, search)):
                pause_trial(store, study_id, trial.number)
            while _ask(store, study_id):
                pass
        except (ThawError, SQLAlchemyError):
            raise
        except Exception:  # whoever looks for runs must go on with others
            log.exception("Search %d ends here, since what comes next could not be told", study_id)
            with store.studies.changing_design(study_id) as (design, _):
                design["searching"] = False


def queue_trial(store: Store, study_id: int, drawn: Mapping[str, Any]) -> tuple[int, int]:
    """Queue a trial with what was drawn; returns its number and its run's id. Raises RecipeError."""
    with store.studies.changing_design(study_id) as (design, add_run):
        space, number = space_from(design["space"]), len(design["asked"])
        _queue(design, add_run, {key: space[key].kept(value) for key, value in drawn.items()})
    return number, next(run.id for run in store.studies.runs_of(study_id) if run.variant == number)


def pause_trial(store: Store, study_id: int, number: int) -> None:
    """Pause a trial that has fallen behind, unless another process has done so."""
    with store.studies.changing_design(study_id) as (design, _):
        if number in design["pruned"]:
            return
        design["pruned"].append(number)
    run_id = next(run.id for run in store.studies.runs_of(study_id) if run.variant == number)
    with suppress(RunError):  # it has just ended
        store.runs.ask(run_id, "pause")


def _require_possible(recipe: Recipe, space: Space, key: str, examples: tuple[Any, ...]) -> None:
    """That at least one value can be set there; others may only suit what else is chosen."""
    problem: RecipeError | None = None
    for example in examples:
        try:
            changed(recipe, space, {key: example})
            return
        except RecipeError as error:
            problem = problem or error
    if problem is not None:
        raise problem


def _behind(search: Search, trials: list[Trial]) -> list[Trial]:
    """Those that train, and whose loss is worse than the median of the others at the same epoch."""
    able = [trial for trial in trials if trial.run is not None and trial.run.status == "running" and trial.losses]
    able = [trial for trial in able if not trial.was_pruned and trial.run is not None and not trial.run.asked]
    if not able:
        return []
    study, frozen = _optuna(search, trials)
    return [trial for trial in able if study.pruner.prune(study, frozen[trial.number])]


def _ask(store: Store, study_id: int) -> bool:
    """Queue one more trial where there is to be one, or write that the search is over; whether there may be another."""
    with store.studies.changing_design(study_id) as (design, add_run):
        search = Search.from_dict(design)
        trials = trials_of(store, study_id, search)
        active = sum(trial.is_active for trial in trials)
        failed = sum(bool(trial.run and trial.run.status == "failed") for trial in trials)
        gives_up = failed >= FAILURES and not any(trial.is_finished for trial in trials)
        if not search.searching or active >= (search.at_once or max(1, len(store.workers.alive()))):
            return False
        chosen = None if gives_up or len(trials) >= search.trials else _suggested(search, trials)
        if chosen is None:
            if not gives_up:
                design["trials"] = len(trials)  # where nothing is left to try
            design["searching"] = bool(active)
            return False
        try:
            store.require_room_in_queue(1)
        except RunError:  # later
            return False
        _queue(design, add_run, chosen)
        return True


def _queue(design: dict[str, Any], add_run: AddRun, chosen: dict[str, Any]) -> None:
    search = Search.from_dict(design)
    recipe = replace(changed(search.recipe, search.space, chosen), refit=False)  # only its figures are asked for
    add_run(len(search.asked), recipe.to_dict())
    design["asked"].append(chosen)


def _suggested(search: Search, trials: list[Trial]) -> dict[str, Any] | None:
    """What the next trial is given; None where nothing is left that was not tried."""
    first = asked_for(search.recipe, search.space)
    if not trials and first is not None:
        return first
    known = known_backbone(search.recipe.backbone)
    for attempt in range(2 * TRIES):
        study, _ = _optuna(search, trials, attempt)
        drawn = study.ask({key: one.distribution() for key, one in search.space.items()}).params
        chosen = {key: search.space[key].kept(value) for key, value in drawn.items()}
        if chosen in search.asked:
            continue
        with suppress(RecipeError):
            changed(search.recipe, search.space, chosen).check(list(known.stages) if known else None)
            return chosen
    return None


def _optuna(
    search: Search, trials: list[Trial], attempt: int = 0
) -> "tuple[optuna.Study, list[optuna.trial.FrozenTrial]]":
    """The trials as Optuna knows them, and what it would suggest next is fixed by the recipe's seed."""
    import optuna
    from optuna.pruners import MedianPruner
    from optuna.samplers import TPESampler

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    at_random = MOST_TRIALS if attempt >= TRIES else max(LEAST_AT_RANDOM, round(AT_RANDOM * search.trials))
    seed = (search.recipe.seed + 2 * TRIES * len(trials) + attempt) % 2**32
    sampler = TPESampler(seed=seed, n_startup_trials=at_random, constant_liar=True)
    study = optuna.create_study(sampler=sampler, pruner=MedianPruner(NEVER_PAUSED, n_warmup_steps=FIRST_EPOCHS + 1))
    distributions = {key: one.distribution() for key, one in search.space.items()}
    for trial in trials:
        study.add_trial(
            optuna.trial.create_trial(
                state=_state(trial),
                value=trial.loss if trial.is_finished else None,
                params=dict(trial.chosen),
                distributions=distributions,
                intermediate_values=dict(trial.losses),
            )
        )
    return study, study.trials


def _state(trial: Trial) -> "optuna.trial.TrialState":
    from optuna.trial import TrialState

    if trial.is_active:
        return TrialState.RUNNING
    if trial.is_finished:
        return TrialState.COMPLETE
    return TrialState.PRUNED if trial.losses and trial.run and trial.run.status != "failed" else TrialState.FAIL
