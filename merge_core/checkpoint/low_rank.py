"""An adapted tensor's entries, base + scale · B·A in float32, for the rows that are asked for and no others."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from merge_core.checkpoint import Checkpoint, TensorSpec
from merge_core.checkpoint.checkpoint import LowRank
from merge_core.checkpoint.weight_file import STORED_AS
from merge_core.kernels.dtypes import widen_bf16, widen_f16
from merge_core.kernels.low_rank import add_low_rank

Array = np.ndarray[Any, np.dtype[Any]]
Stored = Callable[[Checkpoint, TensorSpec, int, int], Array]


def delta_of(owner: Checkpoint, spec: TensorSpec) -> LowRank | None:
    """What an adapter adds to a tensor; None where that is nothing."""
    return owner.adapted.deltas.get(spec.name) if owner.adapted is not None else None


def factor_bytes(owner: Checkpoint) -> int:
    """Bytes that the largest factor takes which `add_delta` reads whole, stored and as float32; 0 without any."""
    deltas = owner.adapted.deltas.values() if owner.adapted is not None else ()
    return max((_whole(delta) for delta in deltas), default=0)


def _whole(delta: LowRank) -> int:
    if delta.transposed:  # B once more, turned round
        return delta.b.nbytes + 2 * 4 * delta.b.numel
    return delta.a.nbytes + 4 * delta.a.numel


def add_delta(
    owner: Checkpoint, spec: TensorSpec, delta: LowRank, start: int, values: Array, stored: Stored
) -> None:
    """Turn a base's entries into those of the adapted model.

    Args:
        owner: the adapted model.
        spec: the tensor.
        delta: what the adapter adds to it.
        start: the first entry, in row-major order.
        values: float32 [n], the base's entries from there on; changed in place.
        stored: `stored(owner, spec, start, stop)` answers entries as they are stored, see `STORED_AS`.
    """
    if not values.size:
        return
    assert owner.adapted is not None
    adapter = owner.adapted.adapter

    def entries(half: TensorSpec, first: int, last: int) -> Array:
        return widened(half, stored(adapter, half, first, last))

    def factor(half: TensorSpec, first: int, last: int) -> Array:
        """Rows first … last − 1 of A or B, flattened to two dimensions."""
        width = math.prod(half.shape[1:])
        return entries(half, first * width, last * width).reshape(-1, width)

    columns = math.prod(spec.shape[1:])
    top, bottom = start // columns, -(-(start + values.size) // columns)
    if delta.transposed:  # entry (i, j) is A's column i times B's row j
        rank, width = delta.a.shape
        lines = [entries(delta.a, k * width + top, k * width + bottom) for k in range(rank)]
        left = np.ascontiguousarray(np.stack(lines).T)
        right = np.ascontiguousarray(factor(delta.b, 0, delta.b.shape[0]).T)
    else:
        left = factor(delta.b, top, bottom)
        right = factor(delta.a, 0, delta.a.shape[0])
    add_low_rank(left, right, np.float32(delta.scale), start - top * columns, values)


def widened(spec: TensorSpec, entries: Array) -> Array:
    """Stored entries as float32, a copy."""
    out = np.empty(entries.size, np.float32)
    if spec.dtype == "BF16":
        widen_bf16(entries, out)
    elif spec.dtype == "F16":
        widen_f16(entries, out)
    else:
        with np.errstate(over="ignore"):
            out[:] = entries.view(STORED_AS[spec.dtype])
    return out
