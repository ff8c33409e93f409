"""How far a study is, and what its runs say so far."""

from collections import Counter
from dataclasses import dataclass
from statistics import mean, stdev

from learner.errors import StudyError
from learner.evaluation.results import load_predictions, load_result, sha256_of
from learner.store import ACTIVE, Run, Store
from learner.studies.analysis import Compared, Outcome, Place, compare_variants
from learner.studies.design import Design
from learner.wording import count, duration

_VERBS = {"queued": "wait", "running": "train"}


@dataclass(frozen=True)
class VariantResult:
    """What the finished runs of a variant come to."""

    name: str
    runs: int
    """Those that have finished."""
    of: int
    accuracy: float | None
    """Mean over the runs, on their held-back folds; None before the first has finished."""
    deviation: float | None
    """Of the runs' accuracies; None for fewer than two."""
    log_loss: float | None
    seconds: float | None
    """A run, on average, from its start to its end."""

    @property
    def accuracy_text(self) -> str:
        """`86.4 ± 2.1 %`: mean and standard deviation of its runs."""
        if self.accuracy is None:
            return "–"
        return f"{100 * self.accuracy:.1f}{'' if self.deviation is None else f' ± {100 * self.deviation:.1f}'} %"

    @property
    def log_loss_text(self) -> str:
        return "–" if self.log_loss is None else f"{self.log_loss:.3f}"

    @property
    def time_text(self) -> str:
        return "–" if self.seconds is None else duration(self.seconds)


@dataclass(frozen=True)
class StudyResult:
    """A study as it stands."""

    study_id: int
    design: Design
    dataset: str
    version: int
    states: Counter[str]
    """How many of its runs have which status."""
    variants: list[VariantResult]
    outcomes: list[dict[Place, Outcome]]
    """Of each variant, by seed and fold."""
    compared: list[Compared]
    failed: list[Run]

    @property
    def done(self) -> int:
        return self.states["finished"]

    @property
    def number_of_runs(self) -> int:
        return self.design.number_of_runs

    @property
    def what_varies(self) -> str:
        """Its variants by name."""
        return ", ".join(one.name for one in self.design.variants)

    @property
    def status(self) -> str:
        """In a word: `done`, `under way`, or `stopped` when nothing of it waits or trains and some has not finished."""
        if any(self.states[status] for status in ACTIVE):
            return "under way"
        return "done" if self.done == self.design.number_of_runs else "stopped"

    @property
    def progress(self) -> str:
        """`12 of 20 runs have finished`, and what of the others."""
        others = [
            f"{number} {_VERBS.get(status, status)}{'s' * (status in _VERBS and number == 1)}"
            for status, number in sorted(self.states.items())
            if status != "finished"
        ]
        said = f"{self.done} of {count(self.design.number_of_runs, 'run')} have finished"
        return f"{said}; {', '.join(others)}" if others else said

    @property
    def answer(self) -> list[str]:
        """Sentences: each variant against the first, the proven ones first; those without enough pairs together."""
        told = [one for one in self.compared if len(one.places) > 1]
        said = [one.sentence for one in sorted(told, key=lambda one: not one.is_proven)]
        early = [one.name for one in self.compared if len(one.places) == 1]
        return said + ([f"{', '.join(early)}: one pair of runs so far, which shows nothing yet."] if early else [])


def result_of(store: Store, study_id: int) -> StudyResult:
    """Raises StudyError when there is no such study."""
    study = store.studies.get(study_id)
    if study.deleted_at is not None:
        raise StudyError(f"Study {study_id} is deleted. Bring it back: python -m learner study undelete {study_id}")
    design = Design.from_dict(study.design)
    version = store.datasets.version_by_id(study.dataset_version_id)
    runs = store.studies.runs_of(study_id)
    finished: list[list[Run]] = [[] for _ in design.variants]
    for run in runs:
        if run.status == "finished" and run.variant is not None:
            finished[run.variant].append(run)
    outcomes = [
        {place_of(run): found for run in some if (found := _outcome(store, run)) is not None} for some in finished
    ]
    names = [one.name for one in design.variants]
    each = design.seeds * design.folds
    return StudyResult(
        study_id,
        design,
        version.name,
        version.number,
        Counter(run.status for run in runs),
        [
            _variant(name, some, list(found.values()), each)
            for name, some, found in zip(names, finished, outcomes, strict=True)
        ],
        outcomes,
        compare_variants(names, outcomes, design.folds),
        [run for run in runs if run.status == "failed"],
    )


def place_of(run: Run) -> Place:
    """Seed and fold."""
    return run.recipe["seed"], run.recipe["fold"]


def _variant(name: str, runs: list[Run], outcomes: list[Outcome], of: int) -> VariantResult:
    accuracies = [outcome.accuracy for outcome in outcomes]
    times = [run.finished_at - run.started_at for run in runs if run.finished_at and run.started_at]
    return VariantResult(
        name,
        len(outcomes),
        of,
        mean(accuracies) if accuracies else None,
        stdev(accuracies) if len(accuracies) > 1 else None,
        mean(outcome.log_loss for outcome in outcomes) if outcomes else None,
        mean(times) if times else None,
    )


def _outcome(store: Store, run: Run) -> Outcome | None:
    """None where its files are gone."""
    folder = store.run_folder(run.id)
    result = load_result(folder, "fold")
    if result is None:
        return None
    table = load_predictions(folder, "fold")
    right = dict(zip(table["file"].map(sha256_of), table["predicted"] == table["label"], strict=True))
    learnt = run.facts["train_images"] + run.facts["valid_images"]
    return Outcome(run.id, result["accuracy"], result["figures"]["log_loss"]["value"], right, learnt)
