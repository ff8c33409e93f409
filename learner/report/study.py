"""A report of a study to keep or send: one HTML file with its question, its answer and every run."""

import time
from typing import Any

import yaml

from learner.report import figures, templates
from learner.store import Store
from learner.studies.analysis import Compared, p_text
from learner.studies.results import StudyResult, result_of
from learner.studies.search import NEVER_PAUSED
from learner.studies.trials import result_of_search, trial_rows
from learner.wording import count, percent

OF_A_RUN = ("folds", "fold", "fold_is", "repeats")


def make_study_report(store: Store, study_id: int) -> str:
    """The file's text, whether all runs have finished or not. Raises StudyError when there is no such study."""
    result = result_of(store, study_id)
    drawn = ""
    if result.compared:
        with figures.style():
            rows = [(one.name, one.accuracy.each, one.accuracy.interval) for one in result.compared]
            drawn = figures.differences(rows, result.compared[0].against)
    return (
        templates()
        .get_template("study.html")
        .render(
            result=result,
            drawn=drawn,
            differences=[difference_row(one) for one in result.compared],
            runs=_runs(result),
            changes=_changes(result),
            common=yaml.safe_dump(
                _common(result), sort_keys=False, allow_unicode=True, default_flow_style=None, width=100
            ),
            written=time.strftime("%-d %B %Y"),
            count=count,
        )
    )


def make_search_report(store: Store, study_id: int) -> str:
    """The same of a search. Raises StudyError when there is no such study."""
    result = result_of_search(store, study_id)
    best = result.best
    drawn = ""
    if len(result.finished) > 1:
        with figures.style():
            finished = [trial for trial in result.trials if trial.is_finished]
            drawn = figures.trials([(trial.number + 1, trial.loss or 0.0) for trial in finished])
    return (
        templates()
        .get_template("search.html")
        .render(
            result=result,
            drawn=drawn,
            trials=trial_rows(result),
            never_paused=NEVER_PAUSED,
            recipe_title="As it was asked" if best is None else f"Of trial {best.number + 1}, the best",
            recipe=(result.search.recipe if best is None else result.search.recipe_of(best.number)).to_yaml(),
            written=time.strftime("%-d %B %Y"),
            count=count,
        )
    )


def difference_row(one: Compared) -> dict[str, str]:
    """A variant against the first, as cells of a table by its columns' titles."""
    return {
        "Variant": one.name,
        "Pairs": str(len(one.places)),
        "Accuracy (points)": _between(one.accuracy.mean, one.accuracy.interval, "{:+.1f}", 100),
        "p": p_text(one.p_value).removeprefix("p ").removeprefix("= "),
        "McNemar's p": p_text(one.mcnemar).removeprefix("p ").removeprefix("= "),
        "Log loss": _between(one.log_loss.mean, one.log_loss.interval, "{:+.3f}", 1),
    }


def _between(mean: float, interval: tuple[float, float] | None, form: str, scale: float) -> str:
    said = form.format(scale * mean)
    if interval is not None:
        low, high = (form.format(scale * bound) for bound in interval)
        said += f" ({low} to {high})"
    return said.replace("-", "−")


def _runs(result: StudyResult) -> list[dict[str, str]]:
    """Every finished run, in the order of seeds and folds."""
    rows = [
        (place, index, name, outcome)
        for index, (name, outcomes) in enumerate(
            zip((one.name for one in result.variants), result.outcomes, strict=True)
        )
        for place, outcome in outcomes.items()
    ]
    return [
        {
            "Run": str(outcome.run_id),
            "Variant": name,
            "Seed": str(place[0]),
            "Fold": str(place[1]),
            "Images": f"{len(outcome.right):,}",
            "Accuracy": percent(outcome.accuracy),
            "Log loss": f"{outcome.log_loss:.3f}",
        }
        for place, _, name, outcome in sorted(rows, key=lambda row: row[:2])
    ]


def _recipes(result: StudyResult) -> list[dict[str, Any]]:
    """Without what each run has of its own."""
    recipes = [one.recipe.to_dict() for one in result.design.variants]
    return [{key: value for key, value in one.items() if key not in OF_A_RUN} for one in recipes]


def _common(result: StudyResult) -> dict[str, Any]:
    """What all recipes share, by their keys at the top."""
    first, *others = _recipes(result)
    return {key: value for key, value in first.items() if all(other[key] == value for other in others)}


def _changes(result: StudyResult) -> list[tuple[str, str]]:
    """For each variant its name and what of its recipe is not the same in all of them, as YAML."""
    common = _common(result)
    return [
        (
            one.name,
            yaml.safe_dump(
                {key: value for key, value in recipe.items() if key not in common},
                sort_keys=False,
                allow_unicode=True,
                default_flow_style=None,
                width=100,
            ),
        )
        for one, recipe in zip(result.design.variants, _recipes(result), strict=True)
    ]
