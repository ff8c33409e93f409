"""What solving a head, interpolating and searching found, in words; docs/formats.md has the facts. Needs no torch."""

from collections.abc import Mapping, Sequence
from typing import Any

from learner.evaluation.intervals import Z95, wilson
from learner.recipe import Phase
from learner.store import Run
from learner.wording import count, duration, percent, percent_with_interval


def findings(run: Run, phases: Sequence[Phase]) -> list[tuple[int, str]]:
    """Of each phase that solved its head or took the best point of its way: its index, and what that found."""
    solved, interpolated = run.facts.get("solved", {}), run.facts.get("interpolated", {})
    told = [(index, solved_text(solved[str(index)])) for index in range(len(phases)) if str(index) in solved]
    for index in range(len(phases)):
        if str(index) in interpolated:
            told.append((index, interpolated_text(interpolated[str(index)])))
    return sorted(told)


def solved_text(found: Mapping[str, Any]) -> str:
    """Which strength of regularisation was taken, and what cross-validation says of it."""
    strength = strength_text(found["strength"])
    taken = taken_of(found)
    if taken is None:
        return f"Strength of regularisation: {strength}, the usual one, as there were too few images to try others."
    loss = f"{taken['log_loss']:.3f} ({taken['log_loss_low']:.3f}–{taken['log_loss_high']:.3f})"
    accuracy = percent_with_interval(taken["accuracy"], [taken["accuracy_low"], taken["accuracy_high"]])
    return (
        f"Strength of regularisation: {strength}, the best of {len(found['checked'])} tried by cross-validation on "
        f"{count(taken['images'], 'training image')}, with a log loss of {loss} and an accuracy of {accuracy}."
    )


def taken_of(found: Mapping[str, Any]) -> dict[str, Any] | None:
    """The row of `checked_rows` whose strength was taken; None where none was tried."""
    return next((row for row in checked_rows(found) if row["taken"]), None)


def checked_rows(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row a strength that was tried, the weakest first, with 95 % intervals and whether it was `taken`.

    Of the accuracy by Wilson, of the log loss by its standard error.
    """
    rows = []
    for one in sorted(found["checked"], key=lambda one: one["strength"]):
        low, high = wilson(one["accuracy"] * one["images"], one["images"])
        error = Z95 * one["log_loss_error"]
        rows.append(
            one
            | {"taken": one["strength"] == found["strength"], "accuracy_low": low, "accuracy_high": high}
            | {"log_loss_low": max(0.0, one["log_loss"] - error), "log_loss_high": one["log_loss"] + error}
        )
    return rows


def interpolated_text(found: Mapping[str, Any]) -> str:
    """Which point of the way was taken, and what it brought against the start."""
    if not found["point"]:
        start, end = found["tried"][0], found["tried"][-1]
        loss = (
            "no number"
            if None in (start["loss"], end["loss"])
            else f"{abs(end['loss'] - start['loss']):.3f} {'higher' if end['loss'] >= start['loss'] else 'lower'}"
        )
        return (
            f"It brought nothing sure: at none of {len(found['tried'])} points on the way to its end was the log loss "
            f"on {count(found['images'], 'validation image')} lower than the start's by more than its standard error, "
            "so the start was taken. At its end the loss "
            f"was {loss}, and the accuracy {percent(end['accuracy'])} instead of {percent(start['accuracy'])}."
        )
    where = "Its end" if found["point"] == 1 else f"The point {point_text(found['point'])} to its end"
    changed, moved = _changes(found)
    points = f" by {moved}"
    if found["accuracy_gain_interval"] == [0, 0]:  # so an older Thaw says that no answer has changed
        points = " not at all"
    sure = bool(found["gain_interval"]) and found["gain_interval"][0] > 0
    return (
        f"{where} was taken. Against its start that changed the log loss by {changed} and the accuracy{points}, on "
        f"{count(found['images'], 'validation image')}. "
        + ("The fall of the loss is hardly chance." if sure else "The fall of the loss may be chance.")
    )


def point_text(point: float) -> str:
    """`start`, `40 % of the way`, `end`."""
    if point in (0, 1):
        return "end" if point else "start"
    return f"{100 * point:.0f} % of the way"


def strength_text(strength: float) -> str:
    """Two digits, as a person writes them: `0.32`, `0.000032`."""
    return f"{float(f'{strength:.2g}'):.10f}".rstrip("0").rstrip(".")


def trial_rows(facts: Mapping[str, Any]) -> list[dict[str, str]]:
    """A row a trial of a run's search, in the order in which they were tried; `facts` are the run's.

    Trials on frozen features have a log loss and an accuracy, those of thawing what they gained; each of images that
    the trial had not learnt from.
    """
    return [_row(trial) for trial in facts.get("search", {}).get("trials", [])]


def search_summary(facts: Mapping[str, Any]) -> str:
    """How much was tried in how long; empty for a run that did not search."""
    search = facts.get("search")
    if not search:
        return ""
    return (
        f"Thaw chose the recipe: {count(len(search['trials']), 'trial')} in {duration(search['spent_s'])} of "
        f"{duration(search['budget_s'])}."
    )


def _row(trial: Mapping[str, Any]) -> dict[str, str]:
    loss = accuracy = "–"
    if "log_loss" in trial:
        low, high = trial["log_loss_interval"]
        loss = f"{trial['log_loss']:.3f} ({low:.3f}–{high:.3f})"
        accuracy = percent_with_interval(trial["accuracy"], trial["accuracy_interval"])
    elif "gain" in trial:
        loss, accuracy = _changes(trial)
    images = f"{trial['images']:,}" if "images" in trial else "–"
    taken = duration(trial["seconds"]) if "seconds" in trial else "–"
    said = trial["state"] + (f". {trial['note']}" if trial["note"] else "")
    return {
        "": str(trial["number"]),
        "Trial": trial["what"],
        "Log loss": loss,
        "Accuracy": accuracy,
        "Images": images,
        "Time": taken,
        "Outcome": said,
    }


def _changes(found: Mapping[str, Any]) -> tuple[str, str]:
    """How the log loss and the accuracy changed from a phase's start to the point that was taken."""
    loss = _signed(-found["gain"], 3) + _interval([-bound for bound in reversed(found["gain_interval"] or [])], 3)
    moved = [100 * bound for bound in found["accuracy_gain_interval"] or []]
    return loss, f"{_signed(100 * found['accuracy_gain'], 1)} points{_interval(moved, 1)}"


def _signed(value: float, digits: int) -> str:
    text = f"{value:+.{digits}f}"
    return text.replace("-", "−") if float(text) else f"{0:.{digits}f}"


def _interval(bounds: Sequence[float], digits: int) -> str:
    return f" ({_signed(bounds[0], digits)} to {_signed(bounds[1], digits)})" if bounds else ""
