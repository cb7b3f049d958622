"""A recipe and what its checkpoints' headers say → the rows of the model list."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from components import wording
from components.colours import BASE, model_colours
from components.models.names import distinct_names, owner_of
from components.tuning.editing import is_left_out, shown_weight
from merge_core.checkpoint import Checkpoint
from merge_core.errors import UserError
from merge_core.methods import METHODS
from merge_core.preflight import examine
from merge_core.recipe import ModelEntry, ModelRef, Recipe

Found = Mapping[ModelRef, Checkpoint | UserError]
_DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}


def facts(checkpoint: Checkpoint) -> str:
    """Parameters, number type and where it came from: "457 k parameters · float32 · local"."""
    numbers = sum(spec.numel for spec in checkpoint.specs.values())
    dtypes = Counter[str]()
    for spec in checkpoint.specs.values():
        dtypes[spec.dtype] += spec.numel
    dtype = dtypes.most_common(1)[0][0] if dtypes else "empty"
    where = checkpoint.commit[:7] if checkpoint.commit else "local"
    return f"{wording.count(numbers)} parameters · {_DTYPES.get(dtype, dtype)} · {where}"


def verdict(recipe: Recipe, found: Found, entry: ModelEntry | None) -> tuple[str, str, str]:
    """(chip, tone, why) of the base (`entry` None) or of one fine-tune beside the base.

    What is wrong with one model is found by examining it with the base alone.
    """
    ref = recipe.base if entry is None else entry.ref
    opened = found.get(ref) if ref else None
    if isinstance(opened, UserError):
        return "not readable", "bad", str(opened)
    if entry is None:
        return "base", "", "The model that the fine-tunes started from."
    base = found.get(recipe.base) if recipe.base else None
    needs_base = METHODS[recipe.method].space == "delta"
    if opened is None or isinstance(base, UserError) or (needs_base and base is None):
        return "waiting for a base", "", "It can be checked once there is a base model."
    others = {r: c for r, c in found.items() if not isinstance(c, UserError)}
    alone = examine(replace(recipe, models=(entry,), slices=()), others)
    if alone.problems:
        return "cannot be merged", "bad", " ".join(str(p) for p in alone.problems)
    if alone.notes:
        return "ready, with a note", "warn", " ".join(alone.notes)
    return "ready", "ok", "Its tensors fit those of the base."


def model_rows(recipe: Recipe, found: Found) -> dict[str, Any]:
    """What `picker.js` draws: the base first, then the fine-tunes in recipe order."""
    entries: list[ModelEntry | None] = [None] if recipe.base else []
    entries += recipe.models
    colours = model_colours([str(e.ref) for e in recipe.models])
    names = distinct_names(recipe.refs())
    return {"models": [_row(recipe, found, entry, colours, names) for entry in entries]}


def _telling_facts(
    recipe: Recipe, found: Found, ref: ModelRef, opened: Checkpoint | UserError | None, name: str
) -> str:
    """A model's facts, with its owner where its name lacks it; nothing where the base above it says the same."""
    if not isinstance(opened, Checkpoint):
        return wording.without_commits(str(ref))
    base = found.get(recipe.base) if recipe.base and ref != recipe.base else None
    own = facts(opened)
    if isinstance(base, Checkpoint) and facts(base) == own:
        return ""
    return " · ".join(filter(None, ("" if "/" in name else owner_of(ref), own)))


def _row(
    recipe: Recipe,
    found: Found,
    entry: ModelEntry | None,
    colours: Mapping[str, str],
    names: Mapping[ModelRef, str],
) -> dict[str, Any]:
    ref = entry.ref if entry else recipe.base
    assert ref is not None
    opened = found.get(ref)
    chip, tone, why = verdict(recipe, found, entry)
    weight = shown_weight(recipe, entry) if entry else None
    return {
        "key": str(ref),
        "name": names[ref],
        "full": wording.without_commits(str(ref)) if owner_of(ref) else names[ref],
        "spelled": str(ref),
        "role": "model" if entry else "base",
        "colour": colours[str(ref)] if entry else BASE,
        "facts": _telling_facts(recipe, found, ref, opened, names[ref]),
        "chip": chip,
        "tone": tone,
        "why": wording.without_commits(why),
        "weight": float(weight.value) if weight else None,
        "weight_note": weight.note if weight else "",
        "left_out": entry is not None and is_left_out(recipe, entry),
    }
