"""Which inspection the map needs for a draft, and how far that is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from components.editing import set_parameter, shown_weight
from merge_core.interference import inspectable
from merge_core.methods import METHODS
from merge_core.recipe import ModelEntry, Recipe, write_recipe

# What decides where task vectors meet; everything else leaves the map as it is.
DECISIVE = ("weight", "dialect", "trim_scope")


def question(recipe: Recipe) -> str:
    """The recipe, as YAML, of the inspection behind the map: equal for all drafts that have the same map.

    Density is left out since a report holds every density; of a weight only its sign counts.

    Raises:
        UserError: there is no base model to measure differences from.
    """
    asked = inspectable(recipe)
    for parameter in METHODS[asked.method].parameters:
        if parameter.name not in DECISIVE:
            asked = set_parameter(asked, parameter.name, None)
    if all(not shown_weight(recipe, entry).note for entry in recipe.models):
        signs = [_sign(float(shown_weight(recipe, entry).value)) for entry in recipe.models]
        bare = set_parameter(asked, "weight", None)
        entries = zip(recipe.models, signs, strict=True)
        asked = replace(bare, models=tuple(ModelEntry(e.ref, {"weight": s}) for e, s in entries), slices=())
    return write_recipe(replace(asked, out_dtype=None, dtype=None, tokenizer_source=None, chat_template=None))


def _sign(weight: float) -> float:
    return 1.0 if weight > 0 else -1.0 if weight < 0 else 0.0


def loading(fraction: float, message: str) -> dict[str, Any]:
    """What the map shows while an inspection runs."""
    return {"state": "loading", "fraction": fraction, "message": message or "Waiting for the worker"}
