"""A search: whole runs of one recipe, each with other settings from a space, the next ones where the last did best.

Optuna suggests what comes next, from what the rows of the runs say; nothing else is kept of it, so any worker can go on
with a search. Trials are held against each other by the loss of the validation images. One that falls behind the others
at the same epoch is paused. The best one was chosen by these images, so it looks better than it is: `confirmed` asks
with a study of folds that judge only once.
"""

import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import SQLAlchemyError

from learner.errors import RecipeError, RunError, StudyError, ThawError
from learner.recipe import Recipe
from learner.recipe.backbones import known_backbone
from learner.store import ACTIVE, Run, Store, Study
from learner.store.runs import RESUMABLE
from learner.store.studies import AddRun
from learner.studies.design import FOLDS, SEEDS, Design, Variant, create_study
from learner.studies.space import Space, asked_for, changed, space_dict, space_from, titles, words_for
from learner.wording import count

if TYPE_CHECKING:
    import optuna

log = logging.getLogger(__name__)

TRIALS, MOST_TRIALS = 20, 500
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
FAILURES = 3
"""A search all of whose first trials failed, so many, asks for no more."""


@dataclass(frozen=True)
class Search:
    """What is searched, and what has been asked so far."""

    recipe: Recipe
    space: Space
    trials: int = TRIALS
    at_once: int = 0
    """How many trials wait or train at a time; 0: as many as there are workers."""
    asked: list[dict[str, Any]] = field(default_factory=list)
    """What each trial was given, by the keys of the space."""
    pruned: list[int] = field(default_factory=list)
    """Numbers of the trials that were paused since they fell behind."""
    searching: bool = True
    tuned: bool = False
    """Whether Ray Tune asks for its trials (`learner.studies.ray_tune`) instead of the workers."""

    def to_dict(self) -> dict[str, Any]:
        own = {key: value for key, value in vars(self).items() if key not in ("recipe", "space")}
        return own | {"recipe": self.recipe.to_dict(), "space": space_dict(self.space)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Search":
        read = {"recipe": Recipe.from_dict(values["recipe"]), "space": space_from(values["space"])}
        return cls(**(dict(values) | read))

    def recipe_of(self, number: int) -> Recipe:
        """The asked recipe with what that trial was given."""
        return changed(self.recipe, self.space, self.asked[number])


@dataclass(frozen=True)
class Trial:
    """One run of a search."""

    number: int
    chosen: Mapping[str, Any]
    run: Run | None
    """None where it was deleted."""
    losses: Mapping[int, float]
    """Of the validation images, by epoch from 1."""
    was_pruned: bool

    @property
    def loss(self) -> float | None:
        """At its best epoch; None before the first."""
        return min(self.losses.values(), default=None)

    @property
    def is_active(self) -> bool:
        return self.run is not None and self.run.status in ACTIVE

    @property
    def is_finished(self) -> bool:
        return self.run is not None and self.run.status == "finished" and bool(self.losses)

    @property
    def status(self) -> str:
        """In a word or two."""
        if self.run is None:
            return "deleted"
        if self.was_pruned and self.run.status == "paused":
            return f"fell behind after {count(len(self.losses), 'epoch')}"
        return self.run.status


@dataclass(frozen=True)
class SearchResult:
    """A search as it stands."""

    study_id: int
    search: Search
    dataset: str
    version: int
    trials: list[Trial]

    @cached_property
    def finished(self) -> list[Trial]:
        """The best first."""
        done = [trial for trial in self.trials if trial.is_finished]
        return sorted(done, key=lambda trial: trial.loss or 0.0)

    @property
    def done(self) -> int:
        return len(self.finished)

    @property
    def number_of_runs(self) -> int:
        return self.search.trials

    @property
    def what_varies(self) -> str:
        """What its trials change."""
        return f"search: {', '.join(titles(self.search.space).values())}"

    @property
    def failed(self) -> list[Run]:
        return [trial.run for trial in self.trials if trial.run is not None and trial.run.status == "failed"]

    @property
    def best(self) -> Trial | None:
        return self.finished[0] if self.finished else None

    @property
    def first(self) -> Trial | None:
        """The one that trains the recipe as it was asked; None where it has not finished, or was not in the space."""
        asked = asked_for(self.search.recipe, self.search.space)
        return next((trial for trial in self.finished if trial.chosen == asked), None)

    @property
    def status(self) -> str:
        """In a word: `done`, `under way` or `stopped`."""
        if self.search.searching or any(trial.is_active for trial in self.trials):
            return "under way"
        left = [one for one in self.trials if one.run and one.run.status in RESUMABLE and not one.was_pruned]
        return "stopped" if left or len(self.trials) < self.search.trials else "done"

    @property
    def progress(self) -> str:
        behind = sum(trial.was_pruned for trial in self.trials)
        active = [trial for trial in self.trials if trial.is_active]
        said = [f"{len(self.finished)} of {count(self.search.trials, 'trial')} have finished"]
        said += [f"{behind} fell behind and {'was' if behind == 1 else 'were'} paused"] if behind else []
        said += [f"{len(active)} {'waits or trains' if len(active) == 1 else 'wait or train'}"] if active else []
        return "; ".join(said)

    @property
    def answer(self) -> list[str]:
        """Sentences for a person."""
        if self.best is None:
            gave_up = not self.search.searching and len(self.failed) >= FAILURES
            return [f"{count(len(self.failed), 'trial')} failed, so no more are asked for."] if gave_up else []
        so_far = " so far" if self.search.searching else ""
        said = [f"Trial {self.best.number + 1} is the best{so_far}, with a loss of {self.best.loss:.3f}."]
        if self.first is not None and self.first is not self.best:
            said[0] = said[0][:-1] + f"; the recipe as it was asked has {self.first.loss:.3f}."
        elif self.first is not None and len(self.finished) > 1:
            said[0] = (
                f"Nothing is better{so_far} than the recipe as it was asked, with a loss of {self.first.loss:.3f}."
            )
        if self.best is not self.first:
            said.append("It was chosen by this loss, so it looks better than it is: a study tells whether it is.")
        return said


def is_search(study: Study) -> bool:
    """Else it compares variants (`learner.studies.design`)."""
    return "space" in study.design


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


def result_of_search(store: Store, study_id: int) -> SearchResult:
    """Raises StudyError when there is no such study."""
    study = store.studies.get(study_id)
    search = Search.from_dict(study.design)
    version = store.datasets.version_by_id(study.dataset_version_id)
    return SearchResult(study_id, search, version.name, version.number, _trials(store, study_id, search))


def trial_rows(result: SearchResult) -> list[dict[str, str]]:
    """Every trial as cells of a table by its columns' titles: the finished ones first, the best at the top."""
    others = [trial for trial in result.trials if not trial.is_finished]
    names = titles(result.search.space)
    return [
        {
            "Trial": str(trial.number + 1),
            "Run": "–" if trial.run is None else str(trial.run.id),
            "Loss": "–" if trial.loss is None else f"{trial.loss:.3f}",
            **{title: words_for(trial.chosen[key]) for key, title in names.items()},
            "Status": trial.status,
        }
        for trial in [*result.finished, *others]
    ]


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
            for trial in _behind(search, _trials(store, study_id, search)):
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


def _trials(store: Store, study_id: int, search: Search) -> list[Trial]:
    runs = {run.variant: run for run in store.studies.runs_of(study_id)}
    losses = store.studies.losses_of(study_id)
    trials = []
    for number, chosen in enumerate(search.asked):
        run = runs.get(number)
        known = {} if run is None else losses.get(run.id, {})
        trials.append(Trial(number, chosen, run, known, number in search.pruned))
    return trials


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
        trials = _trials(store, study_id, search)
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
