"""Recipe × checkpoints → MergePlan: every number resolved, every output byte placed, nothing left to decide."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from merge_core import __version__
from merge_core.checkpoint import Checkpoint, TensorSpec
from merge_core.errors import UserError
from merge_core.methods import METHODS, Method, Parameter
from merge_core.methods.trimming import TrimRule
from merge_core.network.correspondence import counterpart, is_derived, repeated_embedding
from merge_core.network.layers import layer_count, locate
from merge_core.plan.layout import Shard, Stored, lay_out
from merge_core.recipe import ModelRef, Recipe, write_recipe
from merge_core.recipe.published import published_models, published_recipe

FORMAT = 1  # raise it when the same plan comes to mean other bytes
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
        repeats: the tensor of which this is a tied copy, which a whole-model statistic must not count twice; or None.
        trim: how its task vectors are trimmed; None for methods that do not trim.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    base: TensorSpec | None
    sources: tuple[TensorSpec, ...]
    settings: Mapping[str, Any] | None
    shard: int = 0
    offset: int = 0
    repeats: str | None = None
    trim: TrimRule | None = None

    @property
    def counted(self) -> bool:
        """Whether a statistic over the whole model counts it."""
        return self.repeats is None

    @property
    def numel(self) -> int:
        """How many entries the tensor has."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """How many bytes it takes in the output."""
        return self.numel * FLOATS[self.dtype] if self.settings is not None else self.sources[0].nbytes


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
        """Each checkpoint, and each adapter, as the recipe spells it → its Hub commit, None for a folder."""
        return commits_of((*self.models, *([self.base] if self.base else [])))

    @cached_property
    def drawn_as(self) -> tuple[str, ...]:
        """What random draws know `models` by: names that are the same once the recipe is pinned or published."""
        names = {
            str(ref): "+".join(f"{part.name}@{part.commit or ''}" for part in model.parts)
            for ref, model in published_models(self.recipe, self.commits).items()
        }
        return tuple(names[name] for name in self.names)

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
        """Changes with everything that decides a byte of the weight files: inputs, recipe, layout and program."""
        inputs = [c.identity for c in self.models], self.base.identity if self.base else None
        headers = [[s.file, hashlib.sha256(s.header).hexdigest()] for s in self.shards]
        text = json.dumps([__version__, FORMAT, write_recipe(self.recipe), inputs, headers])
        return hashlib.sha256(text.encode()).hexdigest()


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
    order = sorted(range(len(entries)), key=lambda i: str(entries[i].ref))
    refs = [entries[i].ref for i in order]
    models = tuple(checkpoints[r] for r in refs)
    template = base or models[order.index(0)]
    layers = layer_count(template.specs)
    wanted = recipe.out_dtype or recipe.dtype

    def settle(name: str) -> tuple[dict[str, Any], TrimRule | None]:
        layer = locate(name).layer

        def value(parameter: Parameter, model: ModelRef | None) -> Any:
            return recipe.value(parameter, model=model, tensor=name, layer=layer, layers=layers)

        said = {
            p.argument: np.array([value(p, r) for r in refs], np.float64) if p.per_model else value(p, None)
            for p in method.parameters
        }
        settings = method.resolve(said)
        return settings, method.trim(**settings) if method.trim is not None else None

    same = settle("") if recipe.uniform else None
    tensors = []
    for name, spec in sorted(template.specs.items()):
        if spec.dtype not in FLOATS or is_derived(name):
            tensors.append(TensorPlan(name, spec.shape, spec.dtype, None, (spec,), None))
            continue
        settings, trim = same or settle(name)
        tensors.append(
            TensorPlan(
                name=name,
                shape=spec.shape,
                dtype=DTYPE_NAMES[wanted] if wanted else spec.dtype,
                base=spec if base else None,
                sources=tuple(_source(m, name) for m in models),
                settings=settings,
                repeats=repeated_embedding(template, name),
                trim=trim,
            )
        )
    commits = commits_of(checkpoints.values())
    ordered = replace(recipe, models=tuple(entries[i] for i in order))
    metadata = {"format": "pt", "merge": write_recipe(published_recipe(ordered, commits))}
    stored = [Stored(t.name, t.dtype, t.shape, t.nbytes) for t in tensors]
    places, shards = lay_out(stored, shard_bytes, metadata)
    plan = MergePlan(
        recipe=recipe,
        method=method,
        base=base,
        models=models,
        names=tuple(str(r) for r in refs),
        listed=tuple(order.index(i) for i in range(len(entries))),
        tensors=tuple(replace(t, shard=places[t.name][0], offset=places[t.name][1]) for t in tensors),
        shards=shards,
    )
    _require_one_model_scope(plan)
    return plan


def commits_of(checkpoints: Iterable[Checkpoint]) -> dict[str, str | None]:
    """Each checkpoint, and each adapter, as the recipe spells it → its Hub commit, None for a folder."""
    found = {}
    for checkpoint in checkpoints:
        found[checkpoint.ref] = checkpoint.commit
        if checkpoint.adapted is not None:
            found[checkpoint.adapted.adapter.ref] = checkpoint.adapted.adapter.commit
    return found


def _source(checkpoint: Checkpoint, name: str) -> TensorSpec:
    found = counterpart(checkpoint, name)
    if found is None:
        raise UserError(f"{checkpoint.ref} has no tensor {name}.", "Pick models of the same architecture.")
    return found


def _require_one_model_scope(plan: MergePlan) -> None:
    """A trim over the whole model has one density per model, so no setting of it may vary from tensor to tensor."""
    rules = [t.trim for t in plan.tensors if t.trim is not None]
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
                "parameters: density, trim_scope and the election must be the same for every tensor when the trim "
                "ranks the whole model; here a gradient or filter makes them vary.",
                "Say `trim_scope: tensor`, or give each model one density.",
            )
