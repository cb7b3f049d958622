"""What a recipe says of single tensors: densities and weights of their own, and whether density follows depth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from components.tuning.cell_rules import Tensors, rest_of, rules_of
from merge_core.methods import METHODS
from merge_core.network.layers import layer_count, locate
from merge_core.recipe import ModelEntry, ModelRef, Recipe, Scalar, Setting
from merge_core.recipe.resolve import Gradient


def own_densities(recipe: Recipe, tensors: Tensors, rest: float | None = None) -> dict[str, float]:
    """Tensor → its density, the mean over the models, for those that have another than most.

    Args:
        rest: what the others have; default what holds where no filter matches. A recipe of slices has no such value.
    """
    parameter = METHODS[recipe.method].parameter("density")
    if parameter is None or not _differs(recipe, "density"):
        return {}
    layers = layer_count(tensors.names)
    found = {}
    for name in tensors.names:
        layer = locate(name).layer
        values = [
            recipe.value(parameter, model=e.ref, tensor=name, layer=layer, layers=layers)
            for e in recipe.models
        ]
        said = [float(value) for value in values if value is not None]
        if said:
            found[name] = round(sum(said) / len(said), 6)
    if rest is not None:
        return {name: value for name, value in found.items() if value != rest}
    common = recipe.parameters.get("density")
    rests = [rest_of(e.parameters.get("density", common)) for e in recipe.models]
    said = [float(rest) for rest in rests if rest is not None]
    rest = round(sum(said) / len(said), 6) if said else None
    return {name: value for name, value in found.items() if value != rest}


def follows_depth(recipe: Recipe) -> bool:
    """True where density is a gradient or differs between slices, whatever single cells have."""
    found = [_density_of_most(recipe, entry) for entry in recipe.models]
    return any(len(set(said)) > 1 or any(isinstance(one, tuple) for one in said) for said in found)


def density_of_each(recipe: Recipe) -> list[float | None]:
    """Every model's density, None for one that varies within the model; [] where all models have the same."""
    found = [_density_of_most(recipe, entry) for entry in recipe.models]
    if all(said == found[0] for said in found):
        return []
    return [_alone(said) for said in found]


def _alone(said: Sequence[Scalar | Gradient | None]) -> float | None:
    first = said[0]
    return None if len(set(said)) > 1 or first is None or isinstance(first, tuple) else float(first)


def _density_of_most(recipe: Recipe, entry: ModelEntry) -> list[Scalar | Gradient | None]:
    """One model's density where no filter matches, in each slice of a recipe that has slices."""
    parameter = METHODS[recipe.method].parameter("density")
    common = recipe.parameters.get("density", parameter.default if parameter else None)
    settings = [entry.parameters.get("density", common)]
    if recipe.slices:
        settings = [
            part.models.get(entry.ref, {}).get("density", part.parameters.get("density", settings[0]))
            for part in recipe.slices
        ]
    return [_where_no_filter_matches(setting) for setting in settings]


def _where_no_filter_matches(setting: Setting | None) -> Scalar | Gradient | None:
    if setting is None or not isinstance(setting, tuple):
        return setting
    return next((rule.value for rule in rules_of(setting) if rule.matches_all), None)


def common_weights(recipe: Recipe, tensors: Tensors) -> dict[ModelRef, float]:
    """Each model's weight in most tensors, for a recipe of slices, where no level holds for all of them."""
    common = {}
    for entry in recipe.models if recipe.slices and tensors.names else ():
        values = Counter(_weights(recipe, entry.ref, tensors))
        common[entry.ref] = values.most_common(1)[0][0]
    return common


def _weights(recipe: Recipe, ref: ModelRef, tensors: Tensors) -> list[float]:
    """A model's weight in every tensor, 1 where the method has none."""
    parameter = METHODS[recipe.method].parameter("weight")
    layers = layer_count(tensors.names)

    def weight(name: str) -> float:
        if parameter is None:
            return 1.0
        layer = locate(name).layer
        found = recipe.value(parameter, model=ref, tensor=name, layer=layer, layers=layers)
        return 1.0 if found is None else float(found)

    return [weight(name) for name in tensors.names]


def own_weights(recipe: Recipe, tensors: Tensors) -> dict[str, dict[str, float]]:
    """Tensor → model → its weight there, for those that have another weight there than in most."""
    found: dict[str, dict[str, float]] = {}
    for ref, rest in common_weights(recipe, tensors).items():
        for name, value in zip(tensors.names, _weights(recipe, ref, tensors), strict=True):
            if value != rest:
                found.setdefault(name, {})[str(ref)] = value
    if recipe.slices:
        return found
    for entry in recipe.models:
        setting = entry.parameters.get("weight", recipe.parameters.get("weight"))
        if not isinstance(setting, tuple):
            continue
        rest = rest_of(setting)
        for name, value in zip(tensors.names, tensors.resolved(setting), strict=True):
            if value is not None and value != rest:
                found.setdefault(name, {})[str(entry.ref)] = float(value)
    return found


def _differs(recipe: Recipe, name: str) -> bool:
    levels = [recipe.parameters, *(e.parameters for e in recipe.models)]
    in_slices = [level for part in recipe.slices for level in (part.parameters, *part.models.values())]
    return any(name in level for level in in_slices) or any(
        isinstance(level.get(name), tuple) for level in levels
    )
