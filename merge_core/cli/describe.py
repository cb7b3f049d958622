"""A merge plan in words: what `check` answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from merge_core.plan import MergePlan


def describe(plan: MergePlan) -> str:
    """What a merge would read, do and write, with every number that recipe and defaults resolve to."""
    return "\n".join([*_models(plan), *_method(plan), *_output(plan)])


def _models(plan: MergePlan) -> Iterator[str]:
    if plan.base is not None:
        yield f"base: {plan.base.ref}{_at(plan.base.commit)}"
    for m in plan.listed:
        yield f"model: {plan.names[m]}{_at(plan.models[m].commit)}"


def _at(commit: str | None) -> str:
    return f" at {commit}" if commit else ""


def _method(plan: MergePlan) -> Iterator[str]:
    yield f"method: {plan.method.title}"
    merged = [t for t in plan.tensors if t.settings is not None]
    for parameter in plan.method.parameters:
        values = [(t.settings or {})[parameter.argument] for t in merged]
        if not values:
            continue
        if parameter.per_model:
            table = np.array(values)[:, list(plan.listed)]
            text = ", ".join(_range(table[:, m].tolist()) for m in range(table.shape[1]))
        else:
            text = _range(values)
        yield f"  {parameter.name}: {text}"


def _range(values: list[Any]) -> str:
    """One value, or the least and the greatest of several."""
    distinct = sorted(set(values), key=lambda v: (v is None, v))
    shown = [
        f"{v:g}" if isinstance(v, float) else str(v).lower() if isinstance(v, bool) else str(v)
        for v in distinct
    ]
    if len(shown) == 1:
        return shown[0]
    numeric = all(isinstance(v, float) for v in distinct)
    return f"{shown[0]} … {shown[-1]}" if numeric else " or ".join(shown)


def _output(plan: MergePlan) -> Iterator[str]:
    merged = [t for t in plan.tensors if t.settings is not None]
    copied = [t for t in plan.tensors if t.settings is None]
    dtypes = " and ".join(sorted({t.dtype for t in merged})) or "no floating-point numbers"
    yield f"reads: {plan.bytes_in / 1e6:,.1f} MB of weights"
    yield f"merges: {len(merged):,} tensors, {sum(t.numel for t in merged):,} parameters, into {dtypes}"
    if copied:
        names = ", ".join(t.name for t in copied[:3]) + (", …" if len(copied) > 3 else "")
        yield f"copies: {len(copied):,} tensors from {plan.template.ref}: {names}"
    files = (
        plan.shards[0].file if len(plan.shards) == 1 else f"{len(plan.shards)} files, {plan.shards[0].file} …"
    )
    yield f"writes: {plan.bytes_out / 1e6:,.1f} MB in {files}"
    if plan.template.files:
        yield f"takes over from {plan.template.ref}: {', '.join(plan.template.files)}"
