"""Recipes as files: the ones that ship, a person's own, and changes to either."""

import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

from learner.errors import RecipeError
from learner.recipe.whole import MAX_CHARACTERS, Recipe, default_phases, parse_yaml

_INSTALLED = Path(__file__).with_name("shipped")
RECIPES = _INSTALLED if _INSTALLED.is_dir() else Path(__file__).parents[2] / "recipes"
"""The folder of the recipes that ship: in a clone at its top, in a wheel beside this file."""


AUTO = "auto"
"""The shipped recipe by which Thaw chooses within a time budget."""


def recipe_names() -> list[str]:
    """Names of the recipes that ship with Thaw."""
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


def read_recipe(name_or_file: str, dataset: str, changes: list[str] | None = None) -> Recipe:
    """A shipped recipe or a YAML file, for `dataset`, with `key=value` changes applied.

    Raises RecipeError when it cannot be found or read, or has mistakes.
    """
    shipped = RECIPES / f"{name_or_file}.yaml"
    path = shipped if shipped.exists() else Path(name_or_file)
    if not path.is_file():
        known = ", ".join(recipe_names())
        raise RecipeError([f"there is no such file, and no shipped recipe of that name ({known})"], f"{name_or_file!r}")
    source = f"Recipe {name_or_file}"
    try:
        with path.open(encoding="utf-8") as file:
            values = parse_yaml(file.read(MAX_CHARACTERS + 1), source)
    except UnicodeDecodeError:
        raise RecipeError(["it is not a text file"], source) from None
    if isinstance(values, dict):
        values["dataset"] = dataset
        values.setdefault("phases", [asdict(phase) for phase in default_phases()])
        apply_changes(values, changes or [])
    return Recipe.from_dict(values, source)


def recipe_for(dataset: str) -> str:
    """The shipped recipe that is named like a data set, as flowers-17 and flowers17; else `default`."""
    plain = {re.sub(r"[\W_]", "", name): name for name in recipe_names()}
    return plain.get(re.sub(r"[\W_]", "", dataset.lower()), "default")


def apply_changes(values: dict[str, Any], changes: list[str]) -> None:
    """Set each `dotted.key=value` in a recipe's dictionary. Raises RecipeError for a path that leads nowhere."""
    for change in changes:
        key, equals, text = change.partition("=")
        if not equals or not key:
            raise RecipeError([f"{change!r} is not of the form key=value, as in phases.0.epochs=3"], "--set")
        set_value(values, key, parse_yaml(text, f"--set {key}"))


def set_value(values: dict[str, Any], key: str, value: Any) -> None:
    """Set `dotted.key` in a recipe's dictionary. Raises RecipeError for a path that leads nowhere."""
    *parents, last = key.split(".")
    place: Any = values
    for step, name in enumerate([*parents, last]):
        at: str | int = name
        if isinstance(place, list):
            if not name.isdecimal() or int(name) >= len(place):
                there = f"0 to {len(place) - 1}"
                raise RecipeError([f"{key}: there is no entry {name!r}, only {there}"], "--set")
            at = int(name)
        elif not isinstance(place, dict):
            raise RecipeError([f"{key}: {'.'.join(parents[:step])} has no parts"], "--set")
        if step == len(parents):
            place[at] = value
        else:
            place = place.setdefault(name, {}) if isinstance(place, dict) else place[at]
