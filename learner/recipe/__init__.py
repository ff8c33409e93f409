"""Recipes: everything that decides a result, as dataclasses that read and write YAML.

The docstring under a field is its help text in the page and in `docs/formats.md`.
"""

from learner.recipe.files import AUTO, RECIPES, apply_changes, read_recipe, recipe_for, recipe_names, set_value
from learner.recipe.parts import Augment, Head, Phase
from learner.recipe.whole import SOLVABLE, Recipe, choose_image_size, setting_help

__all__ = [
    "AUTO",
    "RECIPES",
    "SOLVABLE",
    "Augment",
    "Head",
    "Phase",
    "Recipe",
    "apply_changes",
    "choose_image_size",
    "read_recipe",
    "recipe_for",
    "recipe_names",
    "set_value",
    "setting_help",
]
