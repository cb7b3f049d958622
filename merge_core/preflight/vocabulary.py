"""Whether models know the same tokens, told from their tokenizers' files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from merge_core.checkpoint import Checkpoint
from merge_core.errors import UserError
from merge_core.preflight.tokenizer_files import has_chat_template, same_settings, special_tokens
from merge_core.preflight.vocabulary_difference import Tokens, compare_vocabularies
from merge_core.recipe import ModelRef, Recipe

_ROLE_WORDS = {
    "bos_token": "begins texts with",
    "eos_token": "ends texts with",
    "unk_token": "marks the unknown with",
}


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
    for entry in recipe.models:
        if compare_vocabularies(checkpoints[first], checkpoints[entry.ref]) is not None:
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


def vocabulary_notes(template: Checkpoint, ref: ModelRef, checkpoint: Checkpoint) -> Iterator[str]:
    """What differs between a model's tokens and those of the model whose tokenizer the output takes over."""
    sentence = vocabulary_difference(template, ref, checkpoint)
    if sentence:
        yield f"{sentence} The output keeps the tokenizer of {template.ref}."
    if same_settings(template, checkpoint):  # then there is nothing to read
        return
    ours, theirs = special_tokens(template), special_tokens(checkpoint)
    for role, words in _ROLE_WORDS.items():
        if role in ours and role in theirs and ours[role] != theirs[role]:
            yield (
                f"{ref} {words} {_shown(theirs[role])}, {template.ref} with {_shown(ours[role])}: the latter is kept."
            )
    if has_chat_template(checkpoint) and not has_chat_template(template):
        yield f"{ref} has a chat template, {template.ref} has none, and the output takes over the latter's files."


def vocabulary_difference(template: Checkpoint, ref: ModelRef, checkpoint: Checkpoint) -> str:
    """In one sentence; "" where there is none, or none that can be told."""
    found = compare_vocabularies(template, checkpoint)
    if found is None:
        return ""
    if found.opaque:
        return f"{ref} has another tokenizer file than {template.ref}."
    parts = []
    if found.added.count:
        parts.append(f"knows {_tokens(found.added)} that {template.ref} does not")
    if found.lost.count:
        parts.append(f"lacks {_tokens(found.lost)} that {template.ref} knows")
    if found.moved.count:
        parts.append(
            f"keeps {_tokens(found.moved)} in other rows of its embedding, so that rows of different tokens meet"
        )
    ours, theirs = found.sizes
    sizes = f" ({theirs:,} tokens in all, against {ours:,})" if theirs != ours else ""
    return f"{ref} {', and '.join(parts)}{sizes}."


def _spelled(recipe: Recipe, first: ModelRef) -> str:
    """How `tokenizer_source` names the model whose tokenizer is taken anyway."""
    return "base" if recipe.tokenizer_source == "base" and first == recipe.base else str(first)


def _tokens(tokens: Tokens) -> str:
    named = ", ".join(map(_shown, tokens.first)) + (", …" if tokens.count > len(tokens.first) else "")
    return f"{tokens.count:,} token{'s' * (tokens.count != 1)} ({named})"


def _shown(token: str) -> str:
    """A token, which is a stranger's, short and on one line."""
    clean = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in token[:41])
    return clean if len(clean) <= 40 else clean[:39] + "…"
