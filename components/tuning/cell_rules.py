"""Settings of single tensors: rules that hold for exactly those, in front of what a recipe says for all.

A rule's filter is a part of a tensor's name and the first rule that matches wins, as in mergekit. So every filter is
chosen with the names of all tensors in view, so that it is part of none but the chosen ones.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import cached_property

from merge_core.errors import UserError
from merge_core.methods import METHODS
from merge_core.methods.ties import PRESETS
from merge_core.network.layers import layer_count, locate
from merge_core.recipe import Filtered, ModelEntry, ModelRef, Recipe, Scalar, Setting
from merge_core.recipe.resolve import depth, resolve

Rules = tuple[Filtered, ...]


@dataclass(frozen=True)
class Tensors:
    """The names of all tensors that are merged, in order.

    Args:
        names: of all, or of those that a slice's parameters hold for.
        layers: the first of the slice and the one behind its last; None for all.
    """

    names: tuple[str, ...]
    layers: tuple[int, int] | None = None

    @cached_property
    def depth(self) -> Mapping[str, float]:
        """Where each stands between the first layer, 0, and the last, 1; gradients are read there."""
        first, stop = self.layers or (0, layer_count(self.names))
        return {name: depth(locate(name).layer, first, stop) for name in self.names}

    def resolved(self, rules: Setting) -> list[Scalar | None]:
        """What a setting is for each tensor; None where it says nothing."""
        return [resolve(rules, name, self.depth[name]) for name in self.names]


def set_density(recipe: Recipe, chosen: Set[str], density: float, tensors: Tensors) -> Recipe:
    """One density for the chosen tensors, of all models.

    Raises:
        UserError: the recipe's form or its trim does not let it differ between tensors.
    """
    require_own_density(recipe)

    def edit(recipe: Recipe, chosen: Set[str], tensors: Tensors) -> Recipe:
        return _change(
            recipe, "density", None, lambda setting: _with_value(setting, chosen, density, tensors)
        )

    return _by_slice(recipe, chosen, tensors, edit)


def set_cell_weight(
    recipe: Recipe, chosen: Set[str], ref: ModelRef, weight: float, tensors: Tensors
) -> Recipe:
    """One model's weight in the chosen tensors."""

    def edit(recipe: Recipe, chosen: Set[str], tensors: Tensors) -> Recipe:
        return _change(recipe, "weight", ref, lambda setting: _with_value(setting, chosen, weight, tensors))

    return _by_slice(recipe, chosen, tensors, edit)


def reset(recipe: Recipe, chosen: Set[str], tensors: Tensors) -> Recipe:
    """Density and weights of the chosen tensors as those of all others; in a recipe of slices, of all others there."""
    return _by_slice(recipe, chosen, tensors, _reset)


def _reset(recipe: Recipe, chosen: Set[str], tensors: Tensors) -> Recipe:
    def without(setting: Setting) -> Setting:
        rest = rest_of(setting)
        return setting if rest is None else _with_value(setting, chosen, rest, tensors)

    recipe = _change(recipe, "density", None, without) if _has_density(recipe) else recipe
    for entry in recipe.models:
        if isinstance(entry.parameters.get("weight", recipe.parameters.get("weight")), tuple):
            recipe = _change(recipe, "weight", entry.ref, without)
    return recipe


def _by_slice(
    recipe: Recipe,
    chosen: Set[str],
    tensors: Tensors,
    edit: Callable[[Recipe, Set[str], Tensors], Recipe],
) -> Recipe:
    """The edited recipe; each slice that holds for chosen tensors is edited as if it were a recipe of its own."""
    if not recipe.slices:
        return edit(recipe, chosen, tensors)
    slices = []
    for part in recipe.slices:
        names = tuple(name for name in tensors.names if recipe.slice_of(name, locate(name).layer) is part)
        mine = chosen & set(names)
        if mine:
            alone = replace(
                recipe,
                slices=(),
                parameters={**recipe.parameters, **part.parameters},
                models=tuple(ModelEntry(e.ref, part.models.get(e.ref, {})) for e in recipe.models),
            )
            edited = edit(alone, mine, Tensors(names, (part.first, part.stop)))
            own = {
                name: setting
                for name, setting in edited.parameters.items()
                if part.parameters.get(name) == setting or recipe.parameters.get(name) != setting
            }
            models = {e.ref: e.parameters for e in edited.models if e.parameters or e.ref in part.models}
            part = replace(part, parameters=own, models=models)
        slices.append(part)
    return replace(recipe, slices=tuple(slices))


def rest_of(setting: Setting | None) -> Scalar | None:
    """The one value that holds where no filter matches; None where there is none, or a gradient."""
    if not isinstance(setting, tuple):
        return setting
    rules = [rule for rule in setting if isinstance(rule, Filtered)]
    last = next((rule.value for rule in rules if rule.matches_all), None)
    return None if isinstance(last, tuple) else last


def has_rules(setting: Setting | None) -> bool:
    """True for a setting that gives some tensors a value of their own."""
    return isinstance(setting, tuple) and any(
        isinstance(rule, Filtered) and not rule.matches_all for rule in setting
    )


def with_rest(setting: Setting | None, value: Scalar) -> Setting:
    """The setting with another value where no filter matches; its other rules stay."""
    rules = [rule for rule in setting if isinstance(rule, Filtered)] if isinstance(setting, tuple) else []
    kept = tuple(rule for rule in rules if not rule.matches_all)
    return (*kept, Filtered(value)) if kept else value


def require_own_density(recipe: Recipe) -> None:
    """Say why density cannot differ from tensor to tensor.

    Raises:
        UserError: it cannot.
    """
    if METHODS[recipe.method].parameter("density") is None:
        raise UserError(
            f"{METHODS[recipe.method].title} has no density.", "Choose a method that trims, such as TIES."
        )
    trim = METHODS[recipe.method].trim
    if trim is not None and effective(recipe, "trim_scope") == "model":
        raise UserError(
            "The trim ranks each model's changes over the whole model, so a cell cannot have its own density.",
            "Trim within each tensor to set densities by cell.",
        )


def effective(recipe: Recipe, name: str) -> str:
    """`trim_scope` or `elect` as the merge takes it: the recipe's, else that of its dialect of TIES."""
    said = recipe.parameters.get(name)
    return str(
        said
        if said is not None
        else getattr(PRESETS[str(recipe.parameters.get("dialect", "mergekit"))], name)
    )


def _has_density(recipe: Recipe) -> bool:
    return METHODS[recipe.method].parameter("density") is not None


def _change(recipe: Recipe, name: str, ref: ModelRef | None, change: Callable[[Setting], Setting]) -> Recipe:
    """Change a parameter where it holds: at the model's own level, or for all models at every level that sets it."""
    parameter = METHODS[recipe.method].parameter(name)
    default = None if parameter is None else parameter.default
    common = recipe.parameters.get(name, 1.0 if default is None else default)
    models = recipe.models
    if ref is not None:
        models = tuple(
            ModelEntry(e.ref, {**e.parameters, name: change(e.parameters.get(name, common))})
            if e.ref == ref
            else e
            for e in models
        )
        return replace(recipe, models=models)
    models = tuple(
        ModelEntry(e.ref, {**e.parameters, name: change(e.parameters[name])}) if name in e.parameters else e
        for e in models
    )
    if models and all(name in e.parameters for e in models):
        return replace(recipe, models=models)
    return replace(recipe, models=models, parameters={**recipe.parameters, name: change(common)})


def _with_value(setting: Setting, chosen: Set[str], value: Scalar, tensors: Tensors) -> Setting:
    """The setting with `value` for the chosen tensors, and what it was for all others."""
    rules = rules_of(setting)
    now = dict(zip(tensors.names, tensors.resolved(rules), strict=True))
    added = []
    for text, is_chosen in filters_for(chosen, tensors.names):
        stays = value if is_chosen else now[text]
        if stays is not None:
            added.append(Filtered(stays, text))
    kept = _effective((*added, *rules), tensors)
    return kept[0].value if len(kept) == 1 and kept[0].matches_all else kept


def rules_of(setting: Setting) -> Rules:
    """The rules of a setting that gives some tensors their own value, or the one that any other setting is."""
    if isinstance(setting, tuple) and isinstance(setting[0], Filtered):
        return tuple(rule for rule in setting if isinstance(rule, Filtered))
    return (Filtered(setting),)


def _effective(rules: Rules, tensors: Tensors) -> Rules:
    """The rules without those that change no tensor's value; one for all tensors stays."""
    matched = [[n for n in tensors.names if rule.matches_all or (rule.filter or "") in n] for rule in rules]
    matching: dict[str, list[int]] = {}  # name → the rules that match it, in order
    for place, names in enumerate(matched):
        for name in names:
            matching.setdefault(name, []).append(place)
    dropped = True
    gone: set[int] = set()
    while dropped:
        dropped = False
        for place, rule in enumerate(rules):
            if rule.matches_all or place in gone:
                continue
            # It decides where no other rule comes first; without it, the next one would.
            rest = ([p for p in matching[name] if p not in gone] + [None] for name in matched[place])
            decided = [
                (name, found[1])
                for name, found in zip(matched[place], rest, strict=True)
                if found[0] == place
            ]
            if all(_same(rule, after, rules, tensors.depth[name], name) for name, after in decided):
                gone.add(place)
                dropped = True
    return tuple(rule for place, rule in enumerate(rules) if place not in gone)


def _same(rule: Filtered, after: int | None, rules: Rules, at: float, name: str) -> bool:
    return after is not None and resolve((rule,), name, at) == resolve((rules[after],), name, at)


def filters_for(chosen: Set[str], names: Sequence[str]) -> list[tuple[str, bool]]:
    """Filters that together match the chosen names and, the first that matches winning, no other.

    Args:
        chosen: some of the names.
        names: of all tensors.

    Returns:
        (filter, True), or (filter, False) for another tensor that must be named before, because a chosen name is part
        of its name. Few and short, whole words, and from the name's beginning where that makes no difference.
    """
    left = [name for name in names if name in chosen]
    others = [name for name in names if name not in chosen]
    holders: dict[str, list[str]] = {}  # filter → chosen names that hold it as whole words
    for name in left:
        for text in _words_of(name):
            holders.setdefault(text, []).append(name)
    open_names, found = set(left), []

    def reach(text: str) -> int:
        return sum(name in open_names for name in holders[text])

    # The widest first; what it reaches is counted anew only when its turn has come.
    queue = [
        (-len(names_), not names_[0].startswith(text), len(text), text) for text, names_ in holders.items()
    ]
    heapq.heapify(queue)
    while open_names and queue:
        wide, inner, length, text = heapq.heappop(queue)
        now = reach(text)
        if now == 0:
            continue
        if now < -wide:
            heapq.heappush(queue, (-now, inner, length, text))
        elif not any(text in other for other in others):
            found.append((text, True))
            open_names -= {name for name in open_names if text in name}
    return found + _hidden(open_names, others)


def _hidden(left: Set[str], others: Sequence[str]) -> list[tuple[str, bool]]:
    """Filters for names that are part of other names: the longest are named first, be they chosen or not."""
    longer = [other for other in others if any(name in other for name in left)]
    found = [*((other, False) for other in longer), *((name, True) for name in left)]
    return sorted(found, key=lambda one: (-len(one[0]), one[0]))


def _words_of(name: str) -> Iterable[str]:
    """Runs of the name's parts between its dots, with the dots at their ends."""
    parts = name.split(".")
    for first in range(len(parts)):
        for stop in range(first + 1, len(parts) + 1):
            yield "." * (first > 0) + ".".join(parts[first:stop]) + "." * (stop < len(parts))
