"""Recipe → changed recipe: what each control of the page does, as plain functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any

from components.tuning.cell_rules import has_rules, rest_of, with_rest
from merge_core.errors import UserError
from merge_core.methods import METHODS, Parameter
from merge_core.recipe import ModelEntry, ModelRef, Recipe, Scalar, write_recipe
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
    def missing(self) -> str:
        """What is still to be chosen, in the page's words; "" once there is something to check."""
        from_base = METHODS[self.recipe.method].space == "delta"
        if from_base and self.recipe.base is None:
            return "Add the base model first, the one that the others were fine-tuned from."
        if not self.recipe.models:
            return f"Add the models {'that were fine-tuned from the base' if from_base else 'to average'}."
        return ""

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


def set_dtype(recipe: Recipe, name: str) -> Recipe:
    """How the result is stored; "" leaves every tensor in the base's type."""
    return replace(recipe, dtype=name or None, out_dtype=None)


def cleared(recipe: Recipe) -> Recipe:
    """The recipe without any model, and without what depends on one."""
    bare = _without(replace(recipe, base=None, models=(), slices=()), "weight")
    return replace(bare, dtype=None, out_dtype=None, tokenizer_source=None, chat_template=None)


def without_left_out(recipe: Recipe) -> Recipe:
    """The recipe without models whose weight is 0 everywhere: left out on the page, they are no parents."""
    left = [e for e in recipe.models if shown_weight(recipe, e) == Shown(0.0)]
    for entry in left if len(left) < len(recipe.models) else ():
        recipe = _without_model(recipe, entry.ref)
    return recipe


def set_method(recipe: Recipe, name: str, earlier: Sequence[Recipe] = ()) -> Recipe:
    """Another method: with what it takes of the recipe, and else with what an earlier draft said.

    Args:
        earlier: drafts before this one, oldest first; what the present method cannot carry is looked up in them.
    """
    taken = {parameter.name for parameter in METHODS[name].parameters}
    after = replace(_settings(recipe, lambda _, settings: _only(settings, taken)), method=name)
    missing = taken - {parameter.name for parameter in METHODS[recipe.method].parameters}
    for parameter in sorted(missing):
        before = next(
            (r for r in reversed(earlier) if METHODS[r.method].parameter(parameter) is not None), None
        )
        if before is not None:
            after = _with_settings_of(after, before, parameter)
    return after


def set_parameter(recipe: Recipe, name: str, value: Any) -> Recipe:
    """One value for all models and layers, but for cells that have their own; None leaves it to the method."""
    if value is None:
        return _without(recipe, name)

    def change(level: _Level, settings: Mapping[str, Any]) -> dict[str, Any]:
        rest, said = _only(settings, settings.keys() - {name}), settings.get(name)
        common = level == (None, None)
        return {**rest, name: with_rest(said, value)} if common or has_rules(said) else rest

    return _settings(recipe, change)


def set_weight(recipe: Recipe, ref: ModelRef, weight: float) -> Recipe:
    """One model's weight, the same for all its tensors but in cells that have their own; the others keep theirs."""
    slices = tuple(
        replace(part, models={**part.models, ref: _with_weight(part.models.get(ref, {}), weight)})
        for part in recipe.slices
    )
    if slices:
        return replace(recipe, slices=slices)
    common = recipe.parameters.get("weight")
    inherited = {} if common is None else {"weight": common}
    entries = [
        ModelEntry(e.ref, {**inherited, **e.parameters}) if e.ref != ref else _weighed(e, weight)
        for e in recipe.models
    ]
    rest = {key: value for key, value in recipe.parameters.items() if key != "weight"}
    return replace(recipe, models=tuple(entries), parameters=rest)


def is_left_out(recipe: Recipe, entry: ModelEntry) -> bool:
    """True for a model that has weight 0 in all tensors: it is in the list and not in the merge."""
    shown = shown_weight(recipe, entry)
    return shown.value == 0 and not shown.note


def leave_out(recipe: Recipe, ref: ModelRef) -> Recipe:
    """The model stays in the list and has no say: weight 0 in all tensors."""
    recipe = _settings(
        recipe,
        lambda level, settings: (
            _only(settings, settings.keys() - {"weight"}) if level[1] == ref else dict(settings)
        ),
    )
    return set_weight(recipe, ref, 0.0)


def bring_back(recipe: Recipe, ref: ModelRef, earlier: Sequence[Recipe] = ()) -> Recipe:
    """The model with the weight it had before it was left out, in every tensor; else with weight 1.

    Args:
        earlier: drafts before this one, oldest first.
    """
    before = next(
        (
            draft
            for draft in reversed(earlier)
            if any(e.ref == ref and not is_left_out(draft, e) for e in draft.models)
        ),
        None,
    )
    if before is None:
        return set_weight(recipe, ref, 1.0)
    found = dict(_levels(before))
    common = before.parameters.get("weight", 1.0)

    def joined(level: _Level, settings: Mapping[str, Any]) -> dict[str, Any]:
        said = found.get(level, {}).get("weight", common if level[0] is None else None)
        return {**settings, "weight": said} if level[1] == ref and said is not None else dict(settings)

    return _settings(recipe, joined)


def stated(recipe: Recipe, name: str) -> list[Scalar]:
    """Every value that the recipe has for a parameter, at any level, whatever its filter or depth."""
    settings = [level[name] for _, level in _levels(recipe) if name in level]
    return [value for setting in settings for value in values(setting)]


def shown_parameter(recipe: Recipe, parameter: Parameter, spelled: Callable[[Any], str] = str) -> Shown:
    """What a control for all models shows of a parameter that a recipe may set by model, layer or tensor.

    Args:
        spelled: how the control writes a value.
    """
    settings = [level[parameter.name] for _, level in _levels(recipe) if parameter.name in level]
    own = [e.parameters[parameter.name] for e in recipe.models if parameter.name in e.parameters]
    said = stated(recipe, parameter.name)
    if not said:
        return Shown(None)
    # Of slices the first is shown, whatever cells of others have: what is shown must not jump when a cell is edited.
    rules = next(
        (setting for setting in settings[: 1 if recipe.slices else None] if has_rules(setting)), None
    )
    if rules is not None and (rest := rest_of(rules)) is not None:
        return Shown(rest, "Some cells of the map have their own.")
    everyone = parameter.name in recipe.parameters or len(own) == len(recipe.models)
    if everyone and len(set(said)) == 1 and all(is_constant(setting) for setting in settings):
        return Shown(said[0])
    differs = ", ".join(dict.fromkeys(map(spelled, said)))
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
    if not recipe.slices and has_rules(settings[0]) and (rest := rest_of(settings[0])) is not None:
        return Shown(float(rest), "differs in some cells")
    said = [float(value) for setting in settings for value in values(setting)]
    constant = len(set(said)) == 1 and all(is_constant(setting) for setting in settings)
    return Shown(said[0]) if constant else Shown(sum(said) / len(said), "varies by layer")


def _weighed(entry: ModelEntry, weight: float) -> ModelEntry:
    return ModelEntry(entry.ref, _with_weight(entry.parameters, weight))


def _with_weight(settings: Mapping[str, Any], weight: float) -> dict[str, Any]:
    return {**settings, "weight": with_rest(settings.get("weight"), weight)}


def _without_model(recipe: Recipe, ref: ModelRef) -> Recipe:
    slices = tuple(
        replace(part, models={r: p for r, p in part.models.items() if r != ref}) for part in recipe.slices
    )
    return replace(recipe, models=tuple(e for e in recipe.models if e.ref != ref), slices=slices)


def _without(recipe: Recipe, name: str) -> Recipe:
    """The recipe with nothing said about a parameter, at any level."""
    return _settings(recipe, lambda _, settings: _only(settings, settings.keys() - {name}))


def _with_settings_of(recipe: Recipe, other: Recipe, name: str) -> Recipe:
    """The recipe with what `other` says about one parameter, at every level that both have."""
    found = dict(_levels(other))

    def joined(level: _Level, settings: Mapping[str, Any]) -> dict[str, Any]:
        said = found.get(level, {})
        return {**settings, **({name: said[name]} if name in said else {})}

    return _settings(recipe, joined)


# Where a setting stands: the first and last layer of its slice, if it is in one, and its model, if it is one's own.
_Level = tuple[tuple[int, int] | None, ModelRef | None]


def _levels(recipe: Recipe) -> Iterator[tuple[_Level, Mapping[str, Any]]]:
    """Every level of a recipe with its settings."""
    yield (None, None), recipe.parameters
    yield from (((None, e.ref), e.parameters) for e in recipe.models)
    for part in recipe.slices:
        yield ((part.first, part.stop), None), part.parameters
        yield from ((((part.first, part.stop), r), p) for r, p in part.models.items())


def _settings(recipe: Recipe, change: Callable[[_Level, Mapping[str, Any]], dict[str, Any]]) -> Recipe:
    """The recipe with changed settings at every level."""
    return replace(
        recipe,
        parameters=change((None, None), recipe.parameters),
        models=tuple(ModelEntry(e.ref, change((None, e.ref), e.parameters)) for e in recipe.models),
        slices=tuple(
            replace(
                s,
                parameters=change(((s.first, s.stop), None), s.parameters),
                models={r: change(((s.first, s.stop), r), p) for r, p in s.models.items()},
            )
            for s in recipe.slices
        ),
    )


def _only(settings: Mapping[str, Any], names: Set[str]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key in names}
