"""Editing on the map: what the draft says of single cells, and what the visitor's edits of cells make of the draft."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from components.interference.wanted_inspection import taking_part
from components.tuning import cell_rules, cell_settings
from components.tuning.cell_rules import Tensors
from components.tuning.editing import shown_parameter, shown_weight
from merge_core.errors import UserError
from merge_core.interference.map_layout import arrange
from merge_core.methods import METHODS
from merge_core.recipe import ModelRef, Recipe


def own_settings(recipe: Recipe, names: Sequence[str]) -> str:
    """JSON of what the recipe says of single cells.

    Args:
        names: of the tensors that the map was drawn of.

    Returns:
        `models`: spelling and weight of each of the recipe's models on the map; `density`: cell → the mean over its
        tensors, where some have a density of their own; `weight`: cell → place of a model on the map → its mean
        weight there; `fixed`: why densities cannot be edited, "" where they can; `depth`: whether density
        follows depth; `each`: every model's density where they differ, null for one that varies.
    """
    recipe = taking_part(recipe)
    tensors = Tensors(tuple(names))
    method = METHODS[recipe.method]
    weighs = method.parameter("weight") is not None
    rest = cell_rules.rest_of(recipe.parameters.get("density"))
    usual = cell_settings.common_weights(recipe, tensors)
    if recipe.slices:  # elsewhere holds what the page's controls show
        density = method.parameter("density")
        shown = None if density is None else shown_parameter(recipe, density).value
        rest = shown if density is None or shown is not None else density.default
    elsewhere = None if rest is None or not recipe.slices else float(rest)
    densities = cell_settings.own_densities(recipe, tensors, elsewhere)
    weights = cell_settings.own_weights(recipe, tensors)
    models = [
        {"spelled": str(e.ref), "weight": usual.get(e.ref, shown_weight(recipe, e).value) if weighs else None}
        for e in recipe.models
    ]
    said: dict[str, Any] = {
        "models": models,
        "density": {},
        "weight": {},
        "fixed": _fixed(recipe),
        "depth": cell_settings.follows_depth(recipe),
        "each": cell_settings.density_of_each(recipe),
    }
    for cell in arrange(names).cells if densities or weights else ():
        mine = [names[i] for i in cell.tensors]
        if any(name in densities for name in mine):
            said["density"][cell.key] = _mean([densities.get(name, rest) for name in mine])
        for place, entry in enumerate(recipe.models):
            own = [weights[name][str(entry.ref)] for name in mine if str(entry.ref) in weights.get(name, {})]
            if own:
                said["weight"].setdefault(cell.key, {})[place] = _mean(own)
    return json.dumps(said)


def edit_cells(recipe: Recipe, names: Sequence[str], edit: Mapping[str, Any]) -> Recipe:
    """The recipe after one edit.

    Args:
        names: of the tensors that the map was drawn of.
        edit: `cells`, their keys, and one of `density`: a share; `weight` and `model`: a number and the model's
            spelling; `reset`: true. It comes from the browser, so nothing in it is believed.

    Raises:
        UserError: it names no cell of the map or no model of the recipe, or cannot be done.
    """
    try:
        return _edited(recipe, names, edit)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise UserError("That edit cannot be read.", "Reload the page.") from None


def _edited(recipe: Recipe, names: Sequence[str], edit: Mapping[str, Any]) -> Recipe:
    wanted = {str(key) for key in edit["cells"]}
    chosen = {names[i] for cell in arrange(names).cells if cell.key in wanted for i in cell.tensors}
    if not chosen:
        raise UserError("Those cells are not on the map any more.", "Select others.")
    tensors = Tensors(tuple(names))
    if edit.get("reset"):
        return cell_rules.reset(recipe, chosen, tensors)
    if edit.get("density") is not None:
        density = round(min(max(_number(edit["density"]), 0.01), 1.0), 6)
        return cell_rules.set_density(recipe, chosen, density, tensors)
    ref = _model(recipe, str(edit.get("model")))
    return cell_rules.set_cell_weight(recipe, chosen, ref, round(_number(edit["weight"]), 6), tensors)


def _number(said: Any) -> float:
    number = float(said)
    if not math.isfinite(number):
        raise ValueError(said)
    return number


def _model(recipe: Recipe, spelled: str) -> ModelRef:
    for entry in recipe.models:
        if str(entry.ref) == spelled:
            return entry.ref
    raise UserError("That model is not in the recipe any more.", "Choose another.")


def _fixed(recipe: Recipe) -> str:
    try:
        cell_rules.require_own_density(recipe)
    except UserError as error:
        return f"{error.message} {error.hint}"
    return ""


def _mean(values: Sequence[Any]) -> float:
    known = [float(value) for value in values if value is not None]
    return round(sum(known) / len(known), 6)
