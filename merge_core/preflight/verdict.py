"""Whether the models of a recipe fit together, told from their headers and configurations.

Of weights only as much is looked at as tells two models on this machine apart.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from merge_core.checkpoint import Checkpoint
from merge_core.errors import UserError
from merge_core.methods import METHODS
from merge_core.network.layers import layer_count, locate, stack_depths
from merge_core.preflight.compatibility import (
    FLOAT_BYTES,
    copies,
    count,
    differences,
    misfits,
    quote,
    unreadable,
)
from merge_core.preflight.equal_weights import same_weights
from merge_core.preflight.provenance import lineage_notes, term_notes, terms, with_nearest
from merge_core.preflight.vocabulary import tokenizer_notes, tokenizer_problems
from merge_core.recipe import ModelRef, Recipe
from merge_core.recipe.checks import levels
from merge_core.recipe.resolve import unmatched_filters, varies

OUT_DTYPES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}


@dataclass(frozen=True)
class Verdict:
    """What preflight found.

    Args:
        problems: why these models cannot be merged so; empty where they can. The most telling one first.
        notes: what a person should know and need not mend.
        bytes_out: size of the merged weights.
        terms: what the licences and owners of all models ask, and whether they may be combined.
    """

    problems: tuple[UserError, ...]
    notes: tuple[str, ...]
    bytes_out: int = 0
    terms: tuple[str, ...] = ()

    @property
    def fits(self) -> bool:
        """True where nothing stands against the merge."""
        return not self.problems


def examine(recipe: Recipe, checkpoints: Mapping[ModelRef, Checkpoint]) -> Verdict:
    """Compare the headers and configurations of the recipe's models, before anything is downloaded or merged.

    Args:
        recipe: a checked recipe.
        checkpoints: an opened checkpoint for every reference of the recipe.
    """
    first = template_ref(recipe)
    template = checkpoints[first]
    others = {ref: checkpoints[ref] for ref in recipe.refs() if ref != first and _is_merged(recipe, ref)}
    delta = METHODS[recipe.method].space == "delta"
    problems = [*unreadable(first, template)]
    notes = [*recipe.notes, *copies(template)]
    for ref, checkpoint in others.items():
        found = misfits(template, ref, checkpoint)
        if found and delta:
            found = [with_nearest(error, first, template, checkpoint) for error in found]
        problems += found
        if not found:
            notes += differences(template, ref, checkpoint)
            notes += lineage_notes(first, template, ref, checkpoint) if delta else ()
            notes += term_notes(first, template, ref, checkpoint)
    problems += _layers(recipe, {first: template, **others})
    problems += tokenizer_problems(recipe, first, checkpoints)
    if not problems:
        problems += _settings(recipe, template)
    if not problems:
        notes += _same(recipe, first, checkpoints)
    notes += [*_filters(recipe, template), *tokenizer_notes(recipe, first)]
    named = {first: template, **others}
    return Verdict(tuple(problems), tuple(dict.fromkeys(notes)), bytes_out(recipe, template), terms(named))


def examine_each(recipe: Recipe, checkpoints: Mapping[ModelRef, Checkpoint]) -> dict[ModelRef, Verdict]:
    """The verdict on each listed model beside the one that the output takes after, as if it were merged alone.

    Args:
        recipe, checkpoints: see `examine`.
    """
    first = template_ref(recipe)
    found = {}
    for entry in recipe.models:
        kept = [e for e in recipe.models if e.ref in (entry.ref, first)]
        found[entry.ref] = examine(replace(recipe, models=tuple(kept), slices=(), notes=()), checkpoints)
    return found


def template_ref(recipe: Recipe) -> ModelRef:
    """The model whose tensors and other files the output takes after: the base of task vectors, else the first."""
    if recipe.base is not None and METHODS[recipe.method].space == "delta":
        return recipe.base
    return recipe.models[0].ref


def bytes_out(recipe: Recipe, template: Checkpoint) -> int:
    """Bytes of weights that a merge writes, without the headers of its files."""
    wanted = recipe.out_dtype or recipe.dtype
    width = FLOAT_BYTES[OUT_DTYPES[wanted]] if wanted else None
    return sum(
        spec.numel * width if width and spec.dtype in FLOAT_BYTES else spec.nbytes
        for spec in template.specs.values()
    )


def _is_merged(recipe: Recipe, ref: ModelRef) -> bool:
    """False for a base that the method does not read."""
    return any(entry.ref == ref for entry in recipe.models)


def _layers(recipe: Recipe, checkpoints: Mapping[ModelRef, Checkpoint]) -> Iterator[UserError]:
    if not recipe.slices:
        return
    covered = recipe.slices[-1].stop
    for ref, checkpoint in checkpoints.items():
        depths = stack_depths(checkpoint.specs)
        deepest = max(depths.values(), default=0)
        if deepest != covered:
            yield UserError(
                f"the slices cover {count(covered, 'layer')}, {ref} has {deepest}.",
                "Slices must cover every layer once: Tiebreak does not stack or drop layers yet.",
            )
            return


def _settings(recipe: Recipe, template: Checkpoint) -> Iterator[UserError]:
    """Required parameters that no filter gives to some tensor, and weights that cancel there."""
    method = METHODS[recipe.method]
    required = [parameter for parameter in method.parameters if parameter.required]
    tuned = [name for _, settings, _, _ in levels(recipe) for name in settings if varies(settings[name])]
    asked = [parameter for parameter in required if parameter.name in tuned]
    normalize = method.parameter("normalize")
    layers = layer_count(template.specs)
    for name, spec in template.specs.items() if asked else ():
        if spec.dtype not in FLOAT_BYTES:
            continue
        layer = locate(name).layer
        for parameter in asked:
            values = [
                recipe.value(parameter, model=entry.ref, tensor=name, layer=layer, layers=layers)
                for entry in recipe.models
            ]
            if None in values and parameter.default is None:
                ref = recipe.models[values.index(None)].ref
                yield UserError(
                    f"{ref}: no filter of {parameter.name} matches {quote(name)}.",
                    "End its list with a value without a filter, which holds for all other tensors.",
                )
                return
            if method.space != "weight" or parameter.name != "weight" or normalize is None:
                continue
            divided = recipe.value(normalize, model=None, tensor=name, layer=layer, layers=layers)
            if divided and abs(math.fsum(float(value) for value in values if value is not None)) < 1e-8:
                yield UserError(
                    f"parameters: the weights sum to 0 for {quote(name)}, and a normalised average divides by that.",
                    "Change a weight, or set `normalize: false`.",
                )
                return


def _same(recipe: Recipe, first: ModelRef, checkpoints: Mapping[ModelRef, Checkpoint]) -> Iterator[str]:
    """Models that hold the weights of another one, under whatever name and in whatever files."""
    delta = METHODS[recipe.method].space == "delta"
    seen = [first] if delta else []
    for entry in recipe.models:
        if entry.ref in seen:
            continue
        twin = next((ref for ref in seen if same_weights(checkpoints[entry.ref], checkpoints[ref])), None)
        if twin is None:
            seen.append(entry.ref)
        elif twin == first and delta:
            yield f"{entry.ref} has the same weights as the base {first}: its task vector is zero."
        else:
            yield f"{entry.ref} has the same weights as {twin}: they count twice."


def _filters(recipe: Recipe, template: Checkpoint) -> Iterator[str]:
    for _, settings, _, owner in levels(recipe):
        for name, setting in settings.items():
            for chosen in unmatched_filters(setting, template.specs):
                yield f"{owner + ': ' if owner else ''}the filter {quote(chosen)} of {name} matches no tensor."
