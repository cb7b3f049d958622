"""Sentences that lead from what people write to what a recipe may say."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from merge_core.methods import METHODS
from merge_core.recipe.yaml_source import shorten

TOP_KEYS = (
    "merge_method",
    "base_model",
    "models",
    "slices",
    "modules",
    "parameters",
    "dtype",
    "out_dtype",
    "tokenizer_source",
    "tokenizer",
    "chat_template",
)
DTYPES = ("float32", "float16", "bfloat16")
TOKENIZER_CHOICES = ("base", "union")

IGNORED_TOP_KEYS = {"name": "it names the merge and changes no number"}
IGNORED_PARAMETERS = {"int8_mask": "it saves memory in mergekit and changes no number"}

# mergekit's methods that are not here, each with the relative a user may want instead
_MERGEKIT_METHODS = {
    "slerp": "linear",
    "nuslerp": "linear",
    "multislerp": "linear",
    "karcher": "linear",
    "breadcrumbs": "task_arithmetic",
    "breadcrumbs_ties": "ties",
    "della": "ties",
    "della_linear": "task_arithmetic",
    "sce": "ties",
    "model_stock": "linear",
    "nearswap": "linear",
    "arcee_fusion": "task_arithmetic",
    "passthrough": "linear",
    "ram": "ties",
    "ramplus_tl": "ties",
}
_MERGEKIT_PARAMETERS = {
    "t": "slerp, nuslerp and nearswap",
    "epsilon": "della",
    "gamma": "breadcrumbs",
    "select_topk": "sce",
    "filter_wise": "model_stock",
    "max_iter": "karcher",
    "tol": "karcher",
    "scale": "passthrough",
    "nuslerp_flatten": "nuslerp",
    "nuslerp_row_wise": "nuslerp",
}
_DTYPE_NICKNAMES = {
    "bf16": "bfloat16",
    "fp16": "float16",
    "f16": "float16",
    "half": "float16",
    "fp32": "float32",
    "f32": "float32",
    "float": "float32",
    "full": "float32",
}
_KNOWN_MISTAKES = {
    "lora": "Write an adapter behind its model: `model: path+lora`.",
    "adapter": "Write an adapter behind its model: `model: path+lora`.",
    "loras": "Write an adapter behind its model: `model: path+lora`.",
    "input_model_parameters": "Put a model's parameters under it: `models: [{model: …, parameters: {…}}]`.",
    "embed_slerp": "No method here reads it; leave it out.",
    "layer_range": "It belongs to a source: `slices: [{sources: [{model: …, layer_range: [0, 32]}]}]`.",
    "sources": "It belongs under `slices:`.",
    "model": "List it under `models:` as `- model: …`, or name the common ancestor in `base_model:`.",
    "method": "The key is `merge_method:`.",
    "base": "The key is `base_model:`.",
    "value": "`value` and `filter` belong under one parameter, as in `weight: [{filter: mlp, value: 0.5}]`.",
    "filter": "`value` and `filter` belong under one parameter, as in `weight: [{filter: mlp, value: 0.5}]`.",
}


def nearest(word: str, valid: Iterable[str]) -> str | None:
    """The valid name that `word` was probably meant to be; None where nothing is near."""
    names = {name.replace("_", "").lower(): name for name in valid}
    close = difflib.get_close_matches(word.replace("_", "").replace("-", "").lower()[:80], names, 1, 0.6)
    return names[close[0]] if close else None


def suggest(word: str, valid: Iterable[str]) -> str:
    """A hint for a misspelt name: the nearest, then all valid ones."""
    names = tuple(valid)
    meant = nearest(word, names)
    return (f"Did you mean {meant}? " if meant else "") + f"Valid here: {', '.join(names)}."


def about_method(name: str) -> tuple[str, str]:
    """(message, hint) for a `merge_method` that is not in `METHODS`."""
    have = f"Tiebreak has: {', '.join(METHODS)}."
    if name in _MERGEKIT_METHODS:
        relative = _MERGEKIT_METHODS[name]
        return f"Tiebreak does not have mergekit's method {name} yet.", f"The nearest is {relative}. {have}"
    meant = nearest(name, METHODS)
    return f"there is no merge method '{shorten(name)}'.", (f"Did you mean {meant}? " if meant else "") + have


def about_top_key(key: str) -> str:
    """Hint for a key that is not one of `TOP_KEYS`."""
    if any(method.parameter(key) for method in METHODS.values()):
        return f"It is a parameter: write it under `parameters:` as `{key}: …`."
    return _KNOWN_MISTAKES.get(key) or suggest(key, TOP_KEYS)


def about_entry_key(key: str, valid: Iterable[str]) -> str:
    """Hint for a key that does not belong to a model, a slice or a source."""
    if any(method.parameter(key) for method in METHODS.values()):
        return f"It is a parameter: write it one level deeper, `parameters: {{{key}: …}}`."
    if key in TOP_KEYS:
        return "It belongs at the top of the recipe, without indentation."
    return _KNOWN_MISTAKES.get(key) or suggest(key, valid)


def about_parameter(key: str, method: str) -> str:
    """Hint for a parameter that `method` does not have."""
    valid = [parameter.name for parameter in METHODS[method].parameters]
    others = [name for name, other in METHODS.items() if other.parameter(key)]
    if others or key in _MERGEKIT_PARAMETERS:
        owners = " and ".join(others) or f"mergekit's {_MERGEKIT_PARAMETERS[key]}"
        return f"It belongs to {owners}; {method} has: {', '.join(valid)}."
    if key in TOP_KEYS:
        return "It belongs at the top of the recipe, without indentation."
    return _KNOWN_MISTAKES.get(key) or suggest(key, valid)


def about_dtype(name: str) -> str:
    """Hint for a dtype that is none."""
    meant = _DTYPE_NICKNAMES.get(name.lower()) or nearest(name, DTYPES)
    return (f"Did you mean {meant}? " if meant else "") + f"Valid here: {', '.join(DTYPES)}."
