"""Recipe → changed recipe: what each control of the page does, as plain functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from merge_core.errors import UserError
from merge_core.methods import METHODS, Parameter
from merge_core.recipe import ModelEntry, ModelRef, Recipe, write_recipe
from merge_core.recipe.checks import check_recipe
from merge_core.recipe.resolve import is_constant, values


@dataclass(frozen=True)
class Draft:
    """A recipe being edited; it may be unfinished. Two drafts with the same text are the same.

    Args:
        text: the recipe as YAML, which links and jobs carry.
        recipe: the same, read.
    """

    text: str
    recipe: Recipe = field(compare=False)

    @classmethod
    def of(cls, recipe: Recipe) -> Draft:
        """The draft of a recipe."""
        return cls(write_recipe(recipe), recipe)

    @property
    def problem(self) -> UserError | None:
        """What keeps this from being a recipe that can be run."""
        try:
            check_recipe(self.recipe)
        except UserError as error:
            return error
        return None


@dataclass(frozen=True)
class Shown:
    """A parameter as one control can show it.

    Args:
        value: one value for the control; None where the method's default stands.
        note: says so where the recipe has several values, by model, layer or tensor; else empty.
    """

    value: Any
    note: str = ""


def add_model(recipe: Recipe, ref: ModelRef) -> Recipe:
    """`ref` as one more fine-tune, with the weight the others have as a rule: 1.

    Raises:
        UserError: it is in the recipe already.
    """
    if ref in recipe.refs():
        raise UserError(f"{ref} is in the list already.", "Choose another model.")
    own = {} if "weight" in recipe.parameters else {"weight": 1.0}
    slices = tuple(replace(part, models={**part.models, ref: own}) for part in recipe.slices)
    return replace(recipe, models=(*recipe.models, ModelEntry(ref, own)), slices=slices)


def set_base(recipe: Recipe, ref: ModelRef | None) -> Recipe:
    """`ref` as the base model; it is no fine-tune any more if it was one."""
    return replace(recipe if ref is None else _without_model(recipe, ref), base=ref)


def remove(recipe: Recipe, ref: ModelRef) -> Recipe:
    """The recipe without `ref`, be it the base or a fine-tune."""
    return set_base(recipe, None) if ref == recipe.base else _without_model(recipe, ref)


def set_method(recipe: Recipe, name: str) -> Recipe:
    """Another method; parameters that it does not take are dropped."""
    taken = {parameter.name for parameter in METHODS[name].parameters}

    def fitting(settings: Mapping[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in settings.items() if key in taken}

    return replace(
        recipe,
        method=name,
        parameters=fitting(recipe.parameters),
        models=tuple(ModelEntry(e.ref, fitting(e.parameters)) for e in recipe.models),
        slices=tuple(
            replace(s, parameters=fitting(s.parameters), models={r: fitting(p) for r, p in s.models.items()})
            for s in recipe.slices
        ),
    )


def set_parameter(recipe: Recipe, name: str, value: Any) -> Recipe:
    """One value for all models and layers; None leaves it to the method."""
    bare = _without(recipe, name)
    return bare if value is None else replace(bare, parameters={**bare.parameters, name: value})


def set_weight(recipe: Recipe, ref: ModelRef, weight: float) -> Recipe:
    """One model's weight, the same for all its tensors; the others keep theirs."""
    slices = tuple(
        replace(part, models={**part.models, ref: {**part.models.get(ref, {}), "weight": weight}})
        for part in recipe.slices
    )
    if slices:
        return replace(recipe, slices=slices)
    common = recipe.parameters.get("weight")
    inherited = {} if common is None else {"weight": common}
    entries = [
        ModelEntry(e.ref, {**inherited, **e.parameters, **({"weight": weight} if e.ref == ref else {})})
        for e in recipe.models
    ]
    rest = {key: value for key, value in recipe.parameters.items() if key != "weight"}
    return replace(recipe, models=tuple(entries), parameters=rest)


def shown_parameter(recipe: Recipe, parameter: Parameter) -> Shown:
    """What a control for all models shows of a parameter that a recipe may set by model, layer or tensor."""
    levels = [recipe.parameters, *(e.parameters for e in recipe.models)]
    for part in recipe.slices:
        levels += [part.parameters, *part.models.values()]
    settings = [level[parameter.name] for level in levels if parameter.name in level]
    own = [e.parameters[parameter.name] for e in recipe.models if parameter.name in e.parameters]
    said = [value for setting in settings for value in values(setting)]
    if not said:
        return Shown(None)
    everyone = parameter.name in recipe.parameters or len(own) == len(recipe.models)
    if everyone and len(set(said)) == 1 and all(is_constant(setting) for setting in settings):
        return Shown(said[0])
    differs = ", ".join(
        dict.fromkeys(f"{value:g}" if isinstance(value, float) else str(value) for value in said)
    )
    return Shown(said[0], f"The recipe sets {differs} for different models or layers.")


def shown_weight(recipe: Recipe, entry: ModelEntry) -> Shown:
    """What a model's weight slider shows: its weight, or the mean of those it has in different layers."""
    common = recipe.parameters.get("weight", 1.0)
    settings = [entry.parameters.get("weight", common)]
    if recipe.slices:
        settings = [
            part.models.get(entry.ref, {}).get("weight", part.parameters.get("weight", common))
            for part in recipe.slices
        ]
    said = [float(value) for setting in settings for value in values(setting)]
    constant = len(set(said)) == 1 and all(is_constant(setting) for setting in settings)
    return Shown(said[0]) if constant else Shown(sum(said) / len(said), "varies by layer")


def _without_model(recipe: Recipe, ref: ModelRef) -> Recipe:
    slices = tuple(
        replace(part, models={r: p for r, p in part.models.items() if r != ref}) for part in recipe.slices
    )
    return replace(recipe, models=tuple(e for e in recipe.models if e.ref != ref), slices=slices)


def _without(recipe: Recipe, name: str) -> Recipe:
    """The recipe with nothing said about a parameter, at any level."""

    def bare(settings: Mapping[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in settings.items() if key != name}

    return replace(
        recipe,
        parameters=bare(recipe.parameters),
        models=tuple(ModelEntry(e.ref, bare(e.parameters)) for e in recipe.models),
        slices=tuple(
            replace(s, parameters=bare(s.parameters), models={r: bare(p) for r, p in s.models.items()})
            for s in recipe.slices
        ),
    )
