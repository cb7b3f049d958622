"""Where the bytes of a sample lie: in models, or in a base and an adapter to it, in folders or on the Hub."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from merge_core.checkpoint import Checkpoint, TensorSpec
from merge_core.checkpoint.checkpoint import LowRank
from merge_core.checkpoint.lora import parts_of
from merge_core.checkpoint.low_rank import delta_of
from merge_core.checkpoint.remote import FIRST_READ
from merge_core.checkpoint.weight_file import STORED_AS
from merge_core.interference.sampling.design import Cost
from merge_core.plan import MergePlan, TensorPlan

Extent = tuple[Checkpoint, TensorSpec, int, int]
"""Entries first … last − 1 of a tensor, and the checkpoint in whose files they are."""


@dataclass(frozen=True)
class Row:
    """One tensor in one model.

    Args:
        owner: the model.
        spec: the tensor as it is stored.
        holder: in whose files: the model's own, or those of the base or the adapter that it is made of.
        delta: what an adapter adds to it; or None.
    """

    owner: Checkpoint
    spec: TensorSpec
    holder: Checkpoint
    delta: LowRank | None

    def needed(self, runs: Iterable[tuple[int, int]]) -> Iterator[Extent]:
        """What entries from `start` to `stop` of each run are made of."""
        runs = list(runs)
        for start, stop in runs:
            yield self.holder, self.spec, start, stop
        if self.delta is None or self.owner.adapted is None:
            return
        adapter, a, b = self.owner.adapted.adapter, self.delta.a, self.delta.b
        yield adapter, a, 0, a.numel
        if self.delta.transposed:
            yield adapter, b, 0, b.numel
            return
        columns, rank = math.prod(self.spec.shape[1:]), math.prod(b.shape[1:])
        for start, stop in runs:
            yield adapter, b, start // columns * rank, -(-stop // columns) * rank


def rows_of(plan: MergePlan, tensor: TensorPlan) -> tuple[Row, ...]:
    """A tensor in each model, and in the base."""
    assert plan.base is not None, "task vectors need a base"
    assert tensor.base is not None, "task vectors need a base"
    owned = zip((*plan.models, plan.base), (*tensor.sources, tensor.base), strict=True)
    return tuple(Row(owner, spec, _holder(owner, spec), delta_of(owner, spec)) for owner, spec in owned)


def _holder(owner: Checkpoint, spec: TensorSpec) -> Checkpoint:
    if owner.adapted is None:
        return owner
    base, adapter = owner.adapted.base, owner.adapted.adapter
    return base if base.specs.get(spec.name) == spec else adapter


def holders(plan: MergePlan) -> tuple[Checkpoint, ...]:
    """Every checkpoint that is read, once."""
    owners = (*plan.models, *([plan.base] if plan.base else []))
    return tuple({part.identity: part for owner in owners for part in parts_of(owner)}.values())


def cost_of(rows: Sequence[Row]) -> Cost:
    """Bytes that a sample of one tensor takes; what models share is read once."""
    shared = {(row.holder.identity, row.spec.file, row.spec.offset): row.spec for row in rows}
    once = in_row = 0
    for row in rows:
        if row.delta is not None:
            a, b = row.delta.a, row.delta.b
            once += a.nbytes + (b.nbytes if row.delta.transposed else 0)
            in_row += 0 if row.delta.transposed else b.nbytes // max(1, b.shape[0])
    return Cost(
        entry=sum(STORED_AS[spec.dtype].itemsize for spec in shared.values()),
        once=once,
        row=in_row,
        columns=max(1, math.prod(rows[-1].spec.shape[1:])),
    )


def header_bytes(checkpoint: Checkpoint) -> int:
    """At most so many bytes were read to open `checkpoint`: headers, an index, the configuration."""
    headers: dict[str, int] = {}
    for spec in checkpoint.specs.values():
        headers[spec.file] = min(spec.offset, headers.get(spec.file, spec.offset))
    index = sum(headers.values()) if len(headers) > 1 else 0  # names each tensor once, as the headers do
    if checkpoint.root is None:
        return sum(max(FIRST_READ, header) for header in headers.values()) + index + 50_000
    return sum(headers.values()) + index
