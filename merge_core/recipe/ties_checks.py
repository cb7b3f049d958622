"""What the dialects of TIES do not allow, told from a recipe alone."""

from __future__ import annotations

from collections.abc import Iterator

from merge_core.methods.ties import DIALECTS, PRESETS, UNWEIGHTED_DIALECTS
from merge_core.recipe.lines import Path
from merge_core.recipe.model import Recipe, Settings
from merge_core.recipe.resolve import is_constant, values

Problem = tuple[Path, str, str]


def check_ties(recipe: Recipe) -> Iterator[Problem]:
    """Weights in a dialect that takes none; densities that differ within a scope that is ranked as one."""
    dialect = str(recipe.parameters.get("dialect", "mergekit"))
    scope = recipe.parameters.get("trim_scope", PRESETS[dialect].trim_scope)
    for path, settings in _levels(recipe):
        weight, density = settings.get("weight"), settings.get("density")
        if (
            weight is not None
            and dialect in UNWEIGHTED_DIALECTS
            and any(value != 1 for value in values(weight))
        ):
            weighing = ", ".join(name for name in DIALECTS if name not in UNWEIGHTED_DIALECTS)
            yield (
                (*path, "weight"),
                f"the {dialect} dialect of TIES takes no weights, every model counts as 1.",
                f"Leave the weights out, or choose a dialect that weighs: {weighing}.",
            )
        if density is not None and scope == "model" and not (is_constant(density) and path[0] != "slices"):
            yield (
                (*path, "density"),
                "magnitudes are ranked over the whole model, so density cannot differ from tensor to tensor.",
                "Give one number for each model, or set `trim_scope: tensor`.",
            )


def _levels(recipe: Recipe) -> Iterator[tuple[Path, Settings]]:
    for position, entry in enumerate(recipe.models):
        yield ("models", position), entry.parameters
    for position, part in enumerate(recipe.slices):
        yield ("slices", position), part.parameters
        for ref, settings in part.models.items():
            yield ("slices", position, str(ref)), settings
    yield ("parameters",), recipe.parameters
