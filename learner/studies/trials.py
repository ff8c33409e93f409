"""What a search is, and how far it is: its trials, which did best, and what that says.

Losses are those of the validation images, in nats.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from learner.recipe import Recipe
from learner.store import ACTIVE, Run, Store, Study
from learner.store.runs import RESUMABLE
from learner.studies.space import Space, asked_for, changed, space_dict, space_from, titles, words_for
from learner.wording import count

TRIALS = 20
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
        return f"search: {' · '.join(titles(self.search.space).values())}"

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


def result_of_search(store: Store, study_id: int) -> SearchResult:
    """Raises StudyError when there is no such study."""
    study = store.studies.get(study_id)
    search = Search.from_dict(study.design)
    version = store.datasets.version_by_id(study.dataset_version_id)
    return SearchResult(study_id, search, version.name, version.number, trials_of(store, study_id, search))


def trial_rows(result: SearchResult) -> list[dict[str, str]]:
    """Every trial as cells of a table by its columns' titles: the finished ones first, the best at the top."""
    others = [trial for trial in result.trials if not trial.is_finished]
    names = titles(result.search.space)
    return [
        {
            "Trial": str(trial.number + 1),
            "Run": "–" if trial.run is None else str(trial.run.id),
            "Loss": "–" if trial.loss is None else f"{trial.loss:.3f}",
            "Status": trial.status,  # seen on a phone, too
            **{title: words_for(trial.chosen[key]) for key, title in names.items()},
        }
        for trial in [*result.finished, *others]
    ]


def trials_of(store: Store, study_id: int, search: Search) -> list[Trial]:
    """Every trial that was asked for so far, in order."""
    runs = {run.variant: run for run in store.studies.runs_of(study_id)}
    losses = store.studies.losses_of(study_id)
    trials = []
    for number, chosen in enumerate(search.asked):
        run = runs.get(number)
        known = {} if run is None else losses.get(run.id, {})
        trials.append(Trial(number, chosen, run, known, number in search.pruned))
    return trials
