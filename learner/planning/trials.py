"""What a run with a time budget tried, in words, for pages and commands. Needs no torch."""

from collections.abc import Mapping
from typing import Any

from learner.wording import duration, percent_with_interval

Z95 = 1.96
"""Standard errors either way that make a 95 % interval."""


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
        f"Thaw chose the recipe: {len(search['trials'])} trials in {duration(search['spent_s'])} of "
        f"{duration(search['budget_s'])}."
    )


def _row(trial: Mapping[str, Any]) -> dict[str, str]:
    loss = accuracy = "–"
    if "log_loss" in trial:
        loss = f"{trial['log_loss']:.3f} ± {Z95 * trial['log_loss_error']:.3f}"
        accuracy = percent_with_interval(trial["accuracy"], trial["accuracy_interval"])
    elif "gain" in trial:
        loss = _change(-trial["gain"], [-bound for bound in reversed(trial["gain_interval"] or [])], 1, ".3f")
        accuracy = _change(trial["accuracy_gain"], trial["accuracy_gain_interval"] or [], 100, ".1f") + " points"
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


def _change(value: float, interval: list[float], scale: int, digits: str) -> str:
    bounds = " to ".join(f"{scale * bound:+{digits}}" for bound in interval)
    return f"{scale * value:+{digits}}" + (f" ({bounds})" if bounds else "")
