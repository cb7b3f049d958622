"""Which tokens a model knows, told from its tokenizer's files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from merge_core.checkpoint import Checkpoint
from merge_core.checkpoint.files import LARGEST_JSON
from merge_core.errors import UserError
from merge_core.recipe import ModelRef, Recipe

_OTHER_FORMS = ("tokenizer.model", "spiece.model", "vocab.json", "vocab.txt")


def tokenizer_problems(
    recipe: Recipe, first: ModelRef, checkpoints: Mapping[ModelRef, Checkpoint]
) -> Iterator[UserError]:
    """What stands against a `tokenizer_source`: models of other tokens, whose embeddings would have to be rearranged.

    Args:
        recipe: a checked recipe.
        first: the model whose tokenizer the output takes over.
        checkpoints: the opened models.
    """
    if recipe.tokenizer_source is None or recipe.tokenizer_source == _spelled(recipe, first):
        return
    known = vocabulary(checkpoints[first].root)
    for entry in recipe.models:
        other = vocabulary(checkpoints[entry.ref].root)
        if known is not None and other is not None and other != known:
            yield UserError(
                f"tokenizer_source is {recipe.tokenizer_source}, and {entry.ref} has another vocabulary than {first}: "
                "bringing them together rearranges embeddings, which Tiebreak does not do yet.",
                f"Leave tokenizer_source out to keep the tokenizer of {first}, or merge models of one vocabulary.",
            )
            return


def tokenizer_notes(recipe: Recipe, first: ModelRef) -> Iterator[str]:
    """What the output takes over although the recipe says something else."""
    source = recipe.tokenizer_source
    if source is not None and source != _spelled(recipe, first):
        yield f"tokenizer_source is {source}: the output takes over the tokenizer files of {first}."
    if recipe.chat_template is not None:
        yield f"chat_template is set aside: the output keeps that of {first}."


def vocabulary(folder: Path | None) -> Any:
    """Something that is equal for equal vocabularies; None where the folder does not tell."""
    if folder is None:
        return None
    try:
        file = folder / "tokenizer.json"
        if file.is_file() and file.stat().st_size <= LARGEST_JSON:
            return _tokens(json.loads(file.read_bytes()))
        forms = (folder / name for name in _OTHER_FORMS)
        return next((form.read_bytes() for form in forms if form.is_file()), None)
    except (OSError, ValueError, RecursionError, TypeError, KeyError, AttributeError):
        return None


def _spelled(recipe: Recipe, first: ModelRef) -> str:
    """How `tokenizer_source` names the model whose tokenizer is taken anyway."""
    return "base" if recipe.tokenizer_source == "base" and first == recipe.base else str(first)


def _tokens(tokenizer: Any) -> tuple[Any, list[tuple[int, str]]]:
    added = sorted((int(token["id"]), str(token["content"])) for token in tokenizer.get("added_tokens", ()))
    return tokenizer["model"]["vocab"], added
