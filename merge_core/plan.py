"""Recipe × checkpoints → MergePlan: every number resolved, every output byte placed, nothing left to decide."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from merge_core.checkpoint import Checkpoint, TensorSpec, build_header
from merge_core.errors import UserError
from merge_core.layers import layer_count, locate
from merge_core.methods import METHODS, Method
from merge_core.methods.trimming import TrimRule
from merge_core.recipe import ModelRef, Recipe, write_recipe

SHARD_BYTES = 5 * 10**9
FLOATS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
DTYPE_NAMES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}


@dataclass(frozen=True)
class TensorPlan:
    """One output tensor.

    Args:
        name, shape, dtype: as it will be written; dtype is safetensors' name.
        base: the base model's tensor; None where the method works on weights.
        sources: one per model, in the plan's model order. A copied tensor has one source and no settings.
        settings: the method's parameters for this tensor; per-model ones are float64 [models].
        shard, offset: which output file, and the byte where the tensor starts in it.
        counted: False for a tied copy, which a whole-model statistic must not count twice.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    base: TensorSpec | None
    sources: tuple[TensorSpec, ...]
    settings: Mapping[str, Any] | None
    shard: int = 0
    offset: int = 0
    counted: bool = True

    @property
    def numel(self) -> int:
        """How many entries the tensor has."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def nbytes(self) -> int:
        """How many bytes it takes in the output."""
        return self.numel * FLOATS[self.dtype] if self.settings is not None else self.sources[0].nbytes


@dataclass(frozen=True)
class Shard:
    """One output weight file: its name, its header (written first) and its size in bytes."""

    file: str
    header: bytes
    size: int


@dataclass(frozen=True)
class MergePlan:
    """Everything a merge or an inspection needs, decided.

    Args:
        recipe: what the user asked for.
        method: the declared method.
        base: the base checkpoint, or None.
        models: the merged checkpoints in the plan's order, which does not depend on the order in the recipe.
        names: their spelling in the recipe, in the plan's order.
        listed: positions in `models`, in the recipe's order.
        tensors: in name order.
        shards: the output files.
    """

    recipe: Recipe
    method: Method
    base: Checkpoint | None
    models: tuple[Checkpoint, ...]
    names: tuple[str, ...]
    listed: tuple[int, ...]
    tensors: tuple[TensorPlan, ...]
    shards: tuple[Shard, ...]

    @property
    def template(self) -> Checkpoint:
        """The checkpoint whose configuration, tokenizer and other files the output takes over."""
        return self.base or self.models[self.listed[0]]

    @property
    def commits(self) -> dict[str, str | None]:
        """Each checkpoint as the recipe spells it → its Hub commit, None for a folder."""
        return {c.ref: c.commit for c in (*self.models, *([self.base] if self.base else []))}

    @property
    def bytes_in(self) -> int:
        """Bytes of weights that are read."""
        return sum(s.nbytes for t in self.tensors for s in (*t.sources, *([t.base] if t.base else [])))

    @property
    def bytes_out(self) -> int:
        """Bytes of weight files that are written."""
        return sum(s.size for s in self.shards)

    @property
    def fingerprint(self) -> str:
        """Changes when an input's content, the recipe or the output's layout does."""
        identities = [c.identity for c in (*self.models, *([self.base] if self.base else []))]
        layout = [(s.file, s.size) for s in self.shards]
        text = json.dumps([1, write_recipe(self.recipe), identities, layout])
        return hashlib.sha256(text.encode()).hexdigest()

    def trim(self, tensor: TensorPlan) -> TrimRule | None:
        """How the task vectors of `tensor` are trimmed; None for methods that do not trim."""
        if self.method.trim is None or tensor.settings is None:
            return None
        rule: TrimRule = self.method.trim(**tensor.settings)
        return rule


def make_plan(
    recipe: Recipe, checkpoints: Mapping[ModelRef, Checkpoint], shard_bytes: int = SHARD_BYTES
) -> MergePlan:
    """Resolve `recipe` over `checkpoints` (which preflight has found to fit together).

    Args:
        recipe: a checked recipe.
        checkpoints: an opened checkpoint for every reference of the recipe.
        shard_bytes: the size past which the output starts a new file.

    Raises:
        UserError: a setting that must be the same for all tensors is not.
    """
    method = METHODS[recipe.method]
    base = checkpoints[recipe.base] if recipe.base is not None and method.space == "delta" else None
    entries = [e for e in recipe.models if method.space == "weight" or e.ref != recipe.base]
    # In an order of the plan's own: a sum of floats must not depend on how the models were listed.
    order = sorted(
        range(len(entries)), key=lambda i: (checkpoints[entries[i].ref].identity, str(entries[i].ref))
    )
    refs = [entries[i].ref for i in order]
    models = tuple(checkpoints[r] for r in refs)
    template = base or models[order.index(0)]
    layers = layer_count(template.specs)

    tensors = []
    for name in sorted(template.specs):
        spec = template.specs[name]
        if spec.dtype not in FLOATS:
            tensors.append(TensorPlan(name, spec.shape, spec.dtype, None, (spec,), None))
            continue
        place = locate(name)
        settings = {
            _argument(p.name): (
                np.array(
                    [recipe.value(p, model=r, tensor=name, layer=place.layer, layers=layers) for r in refs],
                    np.float64,
                )
                if p.per_model
                else recipe.value(p, model=None, tensor=name, layer=place.layer, layers=layers)
            )
            for p in method.parameters
        }
        wanted = recipe.out_dtype or recipe.dtype
        tensors.append(
            TensorPlan(
                name=name,
                shape=spec.shape,
                dtype=DTYPE_NAMES[wanted] if wanted else spec.dtype,
                base=spec if base else None,
                sources=tuple(find_tensor(m, name) for m in models),
                settings=settings,
                counted=not (is_tied(template) and name in _tied_names(template)),
            )
        )
    placed, shards = _lay_out(tensors, shard_bytes)
    plan = MergePlan(
        recipe=recipe,
        method=method,
        base=base,
        models=models,
        names=tuple(str(r) for r in refs),
        listed=tuple(order.index(i) for i in range(len(entries))),
        tensors=tuple(placed),
        shards=tuple(shards),
    )
    _require_one_model_scope(plan)
    return plan


def is_tied(checkpoint: Checkpoint) -> bool:
    """Whether the model shares its input and output embeddings."""
    return bool(checkpoint.config.get("tie_word_embeddings"))


def find_tensor(checkpoint: Checkpoint, name: str) -> TensorSpec:
    """The tensor of that name; for a tied output embedding that is not stored, the input embedding it shares."""
    if name in checkpoint.specs:
        return checkpoint.specs[name]
    shared = (
        next((n for n in _embedding_names(checkpoint)), None) if name.endswith("lm_head.weight") else None
    )
    if shared is None:
        raise UserError(f"{checkpoint.ref} has no tensor {name}.", "Pick models of the same architecture.")
    return checkpoint.specs[shared]


def _embedding_names(checkpoint: Checkpoint) -> list[str]:
    endings = (
        "embed_tokens.weight",
        "wte.weight",
        "word_embeddings.weight",
        "shared.weight",
        "embed_in.weight",
    )
    return [n for n in checkpoint.specs if n.endswith(endings)]


def _tied_names(checkpoint: Checkpoint) -> list[str]:
    """Output embeddings that are stored although they share an input embedding of the same shape."""
    shapes = {checkpoint.specs[n].shape for n in _embedding_names(checkpoint)}
    return [n for n, s in checkpoint.specs.items() if n.endswith("lm_head.weight") and s.shape in shapes]


def _argument(parameter: str) -> str:
    return f"{parameter}_" if parameter == "lambda" else parameter


def _lay_out(tensors: Sequence[TensorPlan], shard_bytes: int) -> tuple[list[TensorPlan], list[Shard]]:
    """Place tensors in shards, in order; a tensor larger than a shard gets one of its own."""
    groups: list[list[TensorPlan]] = [[]]
    room = shard_bytes
    for tensor in tensors:
        if groups[-1] and tensor.nbytes > room:
            groups.append([])
            room = shard_bytes
        groups[-1].append(tensor)
        room -= tensor.nbytes
    placed, shards = [], []
    for number, group in enumerate(groups):
        header = build_header([(t.name, t.dtype, t.shape) for t in group], {"format": "pt"})
        offset = len(header)
        for tensor in group:
            placed.append(replace(tensor, shard=number, offset=offset))
            offset += tensor.nbytes
        file = (
            "model.safetensors"
            if len(groups) == 1
            else f"model-{number + 1:05}-of-{len(groups):05}.safetensors"
        )
        shards.append(Shard(file, header, offset))
    return placed, shards


def _require_one_model_scope(plan: MergePlan) -> None:
    """A trim over the whole model has one density per model, so no setting of it may vary from tensor to tensor."""
    rules = [r for t in plan.tensors if (r := plan.trim(t))]
    if not any(r.scope == "model" for r in rules):
        return
    first = rules[0]
    for rule in rules:
        same = (
            rule.scope == first.scope
            and rule.moments == first.moments
            and np.array_equal(rule.density, first.density)
        )
        if not same:
            raise UserError(
                "parameters: density, trim_scope and the election must be the same for every tensor when the trim ranks the "
                "whole model; here a gradient or filter makes them vary.",
                "Say `trim_scope: tensor`, or give each model one density.",
            )
