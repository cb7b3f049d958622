"""Recipes: mergekit's YAML, read as it is, with every key checked before anything is opened."""

from __future__ import annotations

from merge_core.recipe.build import build_recipe
from merge_core.recipe.checks import check_recipe
from merge_core.recipe.model import ModelEntry, Recipe, Settings, Slice
from merge_core.recipe.reader import load_recipe, read_recipe
from merge_core.recipe.reference import ModelRef
from merge_core.recipe.resolve import Filtered, Scalar, Setting
from merge_core.recipe.writer import write_plain_mergekit, write_recipe

__all__ = [
    "Filtered",
    "ModelEntry",
    "ModelRef",
    "Recipe",
    "Scalar",
    "Setting",
    "Settings",
    "Slice",
    "build_recipe",
    "check_recipe",
    "load_recipe",
    "read_recipe",
    "write_plain_mergekit",
    "write_recipe",
]
