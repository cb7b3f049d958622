"""A checked recipe from plain values, such as a page's controls hold."""

from __future__ import annotations

from collections.abc import Sequence

from merge_core.recipe.checks import check_recipe
from merge_core.recipe.model import ModelEntry, Recipe, Settings
from merge_core.recipe.reference import ModelRef


def build_recipe(
    method: str,
    base: ModelRef | str | None,
    models: Sequence[tuple[ModelRef | str, Settings]],
    parameters: Settings | None = None,
    *,
    dtype: str | None = None,
    out_dtype: str | None = None,
    tokenizer_source: str | None = None,
    chat_template: str | None = None,
) -> Recipe:
    """The recipe of these values, checked as one that was read.

    Raises:
        UserError: see `check_recipe`.
    """

    def ref(model: ModelRef | str) -> ModelRef:
        return ModelRef.parse(model) if isinstance(model, str) else model

    recipe = Recipe(
        method=method,
        base=ref(base) if base else None,
        models=tuple(ModelEntry(ref(model), dict(settings)) for model, settings in models),
        parameters=dict(parameters or {}),
        dtype=dtype,
        out_dtype=out_dtype,
        tokenizer_source=tokenizer_source,
        chat_template=chat_template,
    )
    check_recipe(recipe)
    return recipe
