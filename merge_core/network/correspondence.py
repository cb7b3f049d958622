"""Which tensor of a model answers to a tensor of the base: by name, but for tied embeddings and derived buffers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from merge_core.checkpoint import Checkpoint, TensorSpec

_INPUT_EMBEDDINGS = (
    "embed_tokens.weight",
    "wte.weight",
    "word_embeddings.weight",
    "shared.weight",
    "embed_in.weight",
)
_OUTPUT_EMBEDDINGS = ("lm_head.weight", "embed_out.weight")
# Computed from the configuration; some versions of transformers store them and others do not.
_DERIVED = ("rotary_emb.inv_freq", "attn.masked_bias")


def is_derived(name: str) -> bool:
    """True for a buffer that is computed rather than trained: copied from the base, and no loss where it is absent."""
    return name.endswith(_DERIVED)


def is_output_embedding(name: str) -> bool:
    """True for the weight that turns hidden states into scores of tokens."""
    return name.endswith(_OUTPUT_EMBEDDINGS)


def is_embedding(name: str) -> bool:
    """True for a weight with one row per token."""
    return name.endswith((*_INPUT_EMBEDDINGS, *_OUTPUT_EMBEDDINGS))


def is_tied(checkpoint: Checkpoint) -> bool:
    """Whether the model shares its input and output embeddings."""
    return any(bool(part.get("tie_word_embeddings")) for part in text_configs(checkpoint.config))


def text_configs(config: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """The configuration, and within it the language model's of a model that also sees or hears."""
    inner = config.get("text_config")
    return (config, inner) if isinstance(inner, Mapping) else (config,)


def counterpart(checkpoint: Checkpoint, name: str) -> TensorSpec | None:
    """The tensor called `name`, or the input embedding a tied output embedding shares; None where there is neither."""
    found = checkpoint.specs.get(name)
    if found is None and is_output_embedding(name) and is_tied(checkpoint):
        shared = next((each for each in checkpoint.specs if each.endswith(_INPUT_EMBEDDINGS)), None)
        found = checkpoint.specs[shared] if shared is not None else None
    return found


def repeated_embedding(checkpoint: Checkpoint, name: str) -> str | None:
    """The input embedding that `name`, an output embedding which a tied model stores all the same, repeats; else None.

    Such a copy must be counted once.
    """
    if not is_output_embedding(name) or not is_tied(checkpoint):
        return None
    shape = checkpoint.specs[name].shape
    same = (
        each
        for each, spec in checkpoint.specs.items()
        if each.endswith(_INPUT_EMBEDDINGS) and spec.shape == shape
    )
    return next(same, None)
