"""The settings of a recipe that most people never touch, folded away on the Train page."""

from typing import Any

import streamlit as st

from learner.errors import RecipeError
from learner.recipe import Augment, Recipe, setting_help
from learner.words import count

HELP = setting_help()
PRECISIONS = {
    "auto": "Automatic",
    "fp32": "fp32: 32 bits, slow and exact",
    "bf16": "bf16: 16 bits, wide range",
    "fp16": "fp16: 16 bits, fine steps",
}
CACHES = {"auto": "Automatic: where it is faster", "on": "On, for every phase", "off": "Off"}
NAMES = {
    "precision": "Number format (precision)",
    "cache": "Keep what frozen stages compute (cache)",
    "flip_horizontal": "Mirror left and right",
    "flip_vertical": "Mirror top and bottom",
    "quarter_turns": "Quarter turns",
    "rotate": "Turn by up to (degrees)",
    "zoom": "Enlarge by up to (factor)",
    "lighting": "Change light by up to (%)",
    "views": "Changed copies of an image (views)",
    "valid_fraction": "Share for validation (%)",
    "seed": "Seed",
    "grouped": "Keep what belongs together on one side (grouped split)",
    "folds": "Folds (0: one split)",
    "fold": "Which fold validates",
}
"""What the page calls a recipe's keys."""


def edit_more(draft: dict[str, Any]) -> dict[str, Any]:
    """The folded settings as they stand in `draft`, to be changed; returns those keys of a recipe.

    A mistake among them is told beside them, and by whoever reads the whole recipe.
    """
    with st.expander("More: number format, cache, split, random changes to the images"):
        left, right = st.columns(2)
        values = {
            key: place.selectbox(
                NAMES[key],
                list(options),
                index=list(options).index(draft[key]),
                format_func=options.get,
                help=HELP[key],
                key=key,
            )
            for place, key, options in ((left, "precision", PRECISIONS), (right, "cache", CACHES))
        }
        st.markdown("**Split**")
        values |= _edit_split(draft)
        st.markdown("**Random changes to the training images** (augmentation)")
        st.caption(
            "They make a small data set go further. Choose only what could happen to a new picture too: a mirrored cat "
            "is a cat, a mirrored letter may be another one."
        )
        values |= _edit_augment(draft)
        for problem in _problems(values):
            st.error(problem)
    changed = _changed(values)
    if changed:
        st.caption(f"Set under *More*: {', '.join(changed)}.")
    return values


def in_words(problem: str) -> str:
    """`phases.1.epochs: …` as the page's own words: phases are counted from 1 here."""
    path, _, rest = problem.partition(": ")
    parts = path.split(".")
    if parts[0] == "phases" and len(parts) == 1:
        return "There is no phase. Add a row to the table."
    if parts[0] == "phases":
        return f"Phase {int(parts[1]) + 1}, {' '.join(parts[2:]).replace('_', ' ')}: {rest}"
    return f"{NAMES.get(parts[-1], parts[0].replace('_', ' ').capitalize())}: {rest}"


def _edit_augment(draft: dict[str, Any]) -> dict[str, Any]:
    """Augmentation and views."""
    augment, usual = {}, draft["augment"]
    with st.container(horizontal=True):
        for key in ("flip_horizontal", "flip_vertical", "quarter_turns"):
            augment[key] = st.checkbox(NAMES[key], usual[key], help=HELP[key], key=key)
    left, right = st.columns(2)

    def number(place, key: str, low: float, high: float, value: float, step: float, **options: Any) -> float:
        return place.number_input(NAMES[key], low, high, value, step=step, help=HELP[key], key=key, **options)

    augment["rotate"] = number(left, "rotate", 0.0, 180.0, float(usual["rotate"]), 5.0, format="%g")
    augment["zoom"] = number(right, "zoom", 1.0, 3.0, float(usual["zoom"]), 0.1, format="%g")
    augment["lighting"] = number(left, "lighting", 0, 90, round(100 * usual["lighting"]), 5) / 100
    changes = Augment(**augment).changes_anything
    views = number(right, "views", 0, 64, draft["views"], 1, disabled=not changes)
    return {"augment": augment, "views": int(views)}


def _edit_split(draft: dict[str, Any]) -> dict[str, Any]:
    """What is kept for validation, where the data set does not say so itself."""
    first, second, third, fourth = st.columns(4, vertical_alignment="bottom")

    def number(place, key: str, low: int, high: int, value: int, **options: Any) -> int:
        return int(place.number_input(NAMES[key], low, high, value, step=1, help=HELP[key], key=key, **options))

    folds = number(third, "folds", 0, 20, draft["folds"])
    share = number(first, "valid_fraction", 5, 50, round(100 * draft["valid_fraction"]), disabled=bool(folds))
    return {
        "valid_fraction": share / 100,
        "seed": number(second, "seed", 0, 2**32 - 1, draft["seed"]),
        "folds": folds,
        "fold": number(fourth, "fold", 1, 20, draft["fold"], disabled=not folds) if folds else 1,
        "grouped": st.checkbox(NAMES["grouped"], draft["grouped"], help=HELP["grouped"], key="grouped"),
    }


def _problems(values: dict[str, Any]) -> list[str]:
    try:
        Recipe.from_dict({"dataset": "any", **values})
    except RecipeError as error:
        return [in_words(problem) for problem in error.problems]
    return []


def _changed(values: dict[str, Any]) -> list[str]:
    """What differs from a new recipe, in words."""
    augment, usual = values["augment"], Augment()
    said = [] if values["precision"] == "auto" else [values["precision"]]
    said += [] if values["cache"] == "auto" else [f"cache {values['cache']}"]
    said += [f"fold {values['fold']} of {values['folds']}"] if values["folds"] else []
    said += [] if values["valid_fraction"] == 0.2 or values["folds"] else [f"{values['valid_fraction']:.0%} validation"]
    said += [] if values["seed"] == 42 else [f"seed {values['seed']}"]
    said += [] if values["grouped"] else ["split without groups"]
    said += [NAMES[key].lower() for key in ("flip_horizontal", "flip_vertical", "quarter_turns") if augment[key]]
    said += [f"turns up to {augment['rotate']:g}°"] if augment["rotate"] != usual.rotate else []
    said += [f"enlarged up to {augment['zoom']:g} times"] if augment["zoom"] != usual.zoom else []
    said += [f"light up to {100 * augment['lighting']:.0f} %"] if augment["lighting"] != usual.lighting else []
    if Augment(**augment).changes_anything:
        views = values["views"]
        said.append(f"{count(views, 'copy', 'copies')} of an image" if views else "changed anew in every epoch")
    return said
