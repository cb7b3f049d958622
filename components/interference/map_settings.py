"""What the question behind a map says of it: who votes, with what weight, and how the trim ranks."""

from __future__ import annotations

from collections.abc import Sequence

from components.interference.map_payload import brief_names
from components.tuning.editing import shown_weight
from merge_core.interference import InterferenceReport
from merge_core.methods import METHODS
from merge_core.network.layers import layer_count, locate
from merge_core.recipe import Recipe


def in_words(recipe: Recipe, report: InterferenceReport) -> list[str]:
    """What decides a map besides density; weights and election only where the question holds them."""
    names = brief_names(report.models)
    said = {name: shown_weight(recipe, entry) for name, entry in zip(names, recipe.models, strict=False)}
    voting = [_weighed(name, float(weight.value)) for name, weight in said.items() if weight.value != 0]
    dialect, scope, elect = (recipe.parameters.get(name) for name in ("dialect", "trim_scope", "elect"))
    found = [", ".join(voting)]
    if scope:
        found.append(f"trim within each {scope}" if scope == "tensor" else "trim within the whole model")
    if elect:
        found.append("no election" if elect == "none" else f"elected by {elect}")
    return [*found, f"{dialect} dialect"] if dialect else found


def _weighed(name: str, weight: float) -> str:
    size = abs(weight)
    return f"{'−' if weight < 0 else ''}{'' if size == 1 else f'{size:g} × '}{name}"


def voters(recipe: Recipe) -> int:
    """How many models have a weight other than zero."""
    common = recipe.parameters.get("weight", 1.0)
    return sum(entry.parameters.get("weight", common) != 0 for entry in recipe.models)


def weights(recipe: Recipe, names: Sequence[str]) -> list[list[float]]:
    """Per tensor of the map, what each of its models is multiplied by in the merge, whatever its sign."""
    parameter = METHODS[recipe.method].parameter("weight")
    assert parameter is not None, "a question is asked of a method that weighs"
    layers = layer_count(names)

    def weight(name: str, layer: int | None) -> list[float]:
        found = [
            recipe.value(parameter, model=e.ref, tensor=name, layer=layer, layers=layers)
            for e in recipe.models
        ]
        return [1.0 if value is None else abs(float(value)) for value in found]

    return [weight(name, locate(name).layer) for name in names]
