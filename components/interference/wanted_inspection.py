"""Which inspection the map needs for a draft, and how far that is."""

from __future__ import annotations

from dataclasses import replace

from components.tuning.editing import set_parameter, without_left_out
from merge_core.interference import inspectable
from merge_core.methods import METHODS
from merge_core.methods.ties import PRESETS
from merge_core.recipe import ModelEntry, Recipe, write_recipe
from merge_core.recipe.resolve import values

# What decides where task vectors meet; everything else leaves the map as it is.
DECISIVE = ("weight", "dialect", "trim_scope")
ELECTING = ("elect", "rescale")  # what decides besides who is outvoted


def question(recipe: Recipe, *, elections: bool = False) -> str:
    """The recipe, as YAML, of the inspection behind the map: equal for all drafts that have the same map.

    Density is left out since a report holds every density; of a weight only its sign counts, if that.

    Args:
        recipe: the draft's.
        elections: whether the map says who is outvoted; that depends on weights and the election as well.

    Raises:
        UserError: there is no base model to measure differences from.
    """
    recipe = taking_part(recipe)
    asked = inspectable(recipe)
    for parameter in METHODS[asked.method].parameters:
        if parameter.name not in DECISIVE + ELECTING * elections:
            asked = set_parameter(asked, parameter.name, None)
    signs = [_signs(recipe, entry) if weighs_votes(recipe) else {1.0} for entry in recipe.models]
    if all(len(found) == 1 for found in signs) and not elections:
        bare = set_parameter(asked, "weight", None)
        entries = zip(recipe.models, signs, strict=True)
        asked = replace(
            bare, models=tuple(ModelEntry(e.ref, {"weight": s}) for e, (s,) in entries), slices=()
        )
    return write_recipe(replace(asked, out_dtype=None, dtype=None, tokenizer_source=None, chat_template=None))


def weighs_votes(recipe: Recipe) -> bool:
    """Whether weights count in the election; else only afterwards, in the mean."""
    return PRESETS[str(recipe.parameters.get("dialect", "mergekit"))].weigh_votes


def taking_part(recipe: Recipe) -> Recipe:
    """The recipe of the models that are on the map.

    One that is left out stays there with nothing on it where its weight of 0 keeps it from voting. Elsewhere it would
    vote, but the page merges without it.
    """
    return recipe if weighs_votes(recipe) else without_left_out(recipe)


def _signs(recipe: Recipe, entry: ModelEntry) -> set[float]:
    """The signs of a model's weights in all its tensors."""
    settings = [entry.parameters.get("weight", recipe.parameters.get("weight", 1.0))]
    if recipe.slices:
        settings = [
            part.models.get(entry.ref, {}).get("weight", part.parameters.get("weight", settings[0]))
            for part in recipe.slices
        ]
    return {_sign(float(value)) for setting in settings for value in values(setting)}


def _sign(weight: float) -> float:
    return 1.0 if weight > 0 else -1.0 if weight < 0 else 0.0
