"""Whether one model's tensors and configuration fit those that the output takes after."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from merge_core.checkpoint import Checkpoint
from merge_core.errors import UserError
from merge_core.network.correspondence import (
    counterpart,
    is_derived,
    is_embedding,
    is_output_embedding,
    is_tied,
    text_configs,
)
from merge_core.preflight.tensor_groups import grouped
from merge_core.preflight.vocabulary import vocabulary_difference, vocabulary_notes
from merge_core.recipe import ModelRef

FLOAT_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
COPIED = ("I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8", "BOOL")

# Settings that change what the same tensors compute, without changing their shapes.
_TELLING = (
    "num_attention_heads",
    "num_key_value_heads",
    "hidden_act",
    "rope_theta",
    "rope_scaling",
    "rms_norm_eps",
    "layer_norm_eps",
    "sliding_window",
)


def misfits(template: Checkpoint, ref: ModelRef, checkpoint: Checkpoint) -> list[UserError]:
    """Why `checkpoint` cannot be merged into a model like `template`; a difference of kind hides those of detail."""
    found = [*_architecture(template, ref, checkpoint), *unreadable(ref, checkpoint)]
    return found or [*_missing(template, ref, checkpoint), *_shapes(template, ref, checkpoint)]


def _architecture(template: Checkpoint, ref: ModelRef, checkpoint: Checkpoint) -> Iterator[UserError]:
    ours, theirs = template.config.get("model_type"), checkpoint.config.get("model_type")
    if ours and theirs and ours != theirs:
        yield UserError(
            f"{ref} is a model of type {quote(theirs)}, {template.ref} of type {quote(ours)}.",
            "Only fine-tunes of one model can be merged.",
        )
        return
    for key in ("num_hidden_layers", "hidden_size", "intermediate_size"):
        for mine, other in zip(text_configs(template.config), text_configs(checkpoint.config), strict=False):
            a, b = mine.get(key), other.get(key)
            if isinstance(a, int) and isinstance(b, int) and a != b:
                yield UserError(
                    f"{ref} has {key} {b}, {template.ref} has {a}: they are models of different size.",
                    "Only fine-tunes of one model can be merged.",
                )
                return


def unreadable(ref: ModelRef, checkpoint: Checkpoint) -> Iterator[UserError]:
    """Weights of a kind that no merge method works on."""
    if not checkpoint.specs:
        yield UserError(f"{ref} has no tensors.", "Pick a model with safetensors weights.")
        return
    quantised = checkpoint.config.get("quantization_config")
    if isinstance(quantised, Mapping) and quantised:
        how = quantised.get("quant_method", "some method")
        yield UserError(
            f"{ref} is quantised by {quote(how)}: its weights are packed, and packed weights cannot be averaged.",
            "Pick the model it was quantised from.",
        )
        return
    strange = [s for s in checkpoint.specs.values() if s.dtype not in FLOAT_BYTES and s.dtype not in COPIED]
    if strange:
        dtypes = ", ".join(sorted({quote(spec.dtype) for spec in strange}))
        yield UserError(
            f"{ref}: {count(len(strange), 'tensor')} of dtype {dtypes}, first {quote(strange[0].name)}; "
            f"read are {', '.join(FLOAT_BYTES)}.",
            "Pick the model in 16 or 32 bits.",
        )


def _missing(template: Checkpoint, ref: ModelRef, checkpoint: Checkpoint) -> Iterator[UserError]:
    absent = [
        name
        for name, spec in template.specs.items()
        if spec.dtype in FLOAT_BYTES and not is_derived(name) and counterpart(checkpoint, name) is None
    ]
    if absent:
        yield UserError(
            f"{ref} lacks {count(len(absent), 'tensor')} that {template.ref} has: {grouped(absent)}.",
            "Pick a fine-tune of the same model, stored whole.",
        )
    heads = [name for name in _extra(template, checkpoint) if is_output_embedding(name)]
    if heads:
        yield UserError(
            f"{ref} has an output embedding of its own, {quote(heads[0])}; {template.ref} shares its input embedding.",
            "Merge models that are alike in this.",
        )


def _shapes(template: Checkpoint, ref: ModelRef, checkpoint: Checkpoint) -> Iterator[UserError]:
    differing = []
    for name, spec in template.specs.items():
        found = counterpart(checkpoint, name)
        if found is None or spec.dtype not in FLOAT_BYTES or is_derived(name):
            continue
        if found.dtype not in FLOAT_BYTES:
            yield UserError(
                f"{quote(name)}: {template.ref} has dtype {spec.dtype}, {ref} has {found.dtype}.",
                "Pick a fine-tune whose weights are floating-point numbers.",
            )
            return
        if found.shape != spec.shape:
            differing.append((name, spec.shape, found.shape))
    if not differing:
        return
    name, ours, theirs = differing[0]
    more = ""
    if len(differing) > 1:
        others = grouped(each for each, _, _ in differing[1:])
        more = f" {count(len(differing) - 1, 'more tensor')} differ in shape: {others}."
    rows_only = len(ours) == len(theirs) and ours[1:] == theirs[1:]
    tokens = ""
    if rows_only and all(is_embedding(each) for each, _, _ in differing):
        difference = vocabulary_difference(template, ref, checkpoint)
        tokens = f" {difference}" if difference else " Added tokens?"
    yield UserError(
        f"{quote(name)}: {template.ref} has shape {ours}, {ref} has {theirs}.{more}{tokens}",
        "Pick a fine-tune with the base's vocabulary." if tokens else "Pick a fine-tune of the same model.",
    )


def copies(template: Checkpoint) -> Iterator[str]:
    """What is copied rather than merged."""
    copied = [name for name, spec in template.specs.items() if spec.dtype in COPIED]
    if copied:
        yield (
            f"{count(len(copied), 'tensor')} of whole numbers or truth values (first {quote(copied[0])}) "
            f"{'is' if len(copied) == 1 else 'are'} copied from {template.ref}."
        )


def differences(template: Checkpoint, ref: ModelRef, checkpoint: Checkpoint) -> Iterator[str]:
    """What differs and is no obstacle."""
    ours = {spec.dtype for spec in template.specs.values()} & FLOAT_BYTES.keys()
    theirs = {spec.dtype for spec in checkpoint.specs.values()} & FLOAT_BYTES.keys()
    if ours != theirs:
        yield f"{ref} is stored in {_list(theirs)}, {template.ref} in {_list(ours)}: both are merged in F32."
    extra = _extra(template, checkpoint)
    if extra:
        yield (
            f"{ref} has {count(len(extra), 'tensor')} that {template.ref} lacks, and which the merge leaves out: "
            f"{grouped(extra)}."
        )
    architectures = [each.config.get("architectures") for each in (checkpoint, template)]
    if all(architectures) and architectures[0] != architectures[1]:
        theirs_is, ours_is = (quote(each) for each in architectures)
        yield f"{ref} is a {theirs_is}, {template.ref} a {ours_is}: the output is the latter."
    if is_tied(template) != is_tied(checkpoint):
        tied, untied = (checkpoint, template) if is_tied(checkpoint) else (template, checkpoint)
        yield (
            f"{tied.ref} shares its input and output embeddings, {untied.ref} does not: "
            f"the output is like {template.ref}."
        )
    yield from vocabulary_notes(template, ref, checkpoint)
    for key in _TELLING:
        for mine, other in zip(text_configs(template.config), text_configs(checkpoint.config), strict=False):
            if key in mine and key in other and mine[key] != other[key]:
                values = f"{quote(other[key])} in {ref}, {quote(mine[key])} in {template.ref}"
                yield f"{key} is {values}: the latter is kept."


def _extra(template: Checkpoint, checkpoint: Checkpoint) -> list[str]:
    return [
        name
        for name, spec in checkpoint.specs.items()
        if spec.dtype in FLOAT_BYTES and not is_derived(name) and counterpart(template, name) is None
    ]


def count(number: int, noun: str) -> str:
    """`1 tensor`, `2 tensors`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _list(dtypes: set[str]) -> str:
    return " and ".join(sorted(dtypes)) or "no floating-point numbers"


def quote(value: object, most: int = 120) -> str:
    """A stranger's words, cut to fit a sentence and without characters that do not print."""
    text = str(value[0] if isinstance(value, list) and len(value) == 1 else value)[: most + 1]
    clean = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return clean if len(clean) <= most else clean[: most - 1] + "…"
