"""Vectors of a piece → merged entries in the output's dtype, written where they belong."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from merge_core.engine.output import OutputFolder
from merge_core.errors import UserError
from merge_core.kernels import dtypes
from merge_core.kernels.vectors import add_to_base
from merge_core.methods.drawing import Draw
from merge_core.methods.trimming import Trimmed
from merge_core.plan import FLOATS, MergePlan, TensorPlan
from merge_core.streaming.pieces import Piece

Array = np.ndarray[Any, np.dtype[Any]]

WRITE_ENTRIES = 1 << 19  # entries that are gathered before they are written


class Combiner:
    """Applies a plan's method and writes what comes of it; safe to use from several threads.

    Args:
        plan: what is merged.
        output: where to.
        largest_chunk: the most entries that come at a time.
        check: called now and then; raises where the work must stop.
    """

    def __init__(
        self, plan: MergePlan, output: OutputFolder, largest_chunk: int, check: Callable[[], None]
    ) -> None:
        self._plan = plan
        self._output = output
        self._room = max(WRITE_ENTRIES, largest_chunk)
        self._check = check

    def write(self, piece: Piece, segments: Iterable[tuple[Array | None, Array, Trimmed | None]]) -> None:
        """Compute and write consecutive runs of a piece.

        Args:
            piece: which.
            segments: (the base's entries or None, vectors, how they are trimmed or None), from the piece's start on.

        Raises:
            UserError: a merged value does not fit the output's dtype, or the disk is full.
        """
        tensor = self._plan.tensors[piece.tensor]
        function = self._plan.method.function
        settings = tensor.settings or {}
        itemsize = FLOATS[tensor.dtype]
        room = np.empty(min(self._room, piece.size), _NARROW[tensor.dtype])
        filled = 0
        start = piece.start
        position = tensor.offset + piece.start * itemsize
        for base, vectors, trimmed in segments:
            told = settings if trimmed is None else {**settings, "trimmed": trimmed}
            if self._plan.method.draws:
                told = {**told, "draw": Draw(tensor.repeats or tensor.name, self._plan.drawn_as, start)}
            merged = _applied(base, function(vectors, **told))
            n = merged.size
            start += n
            if filled + n > room.size:
                self._output.write(tensor.shard, position, room[:filled])
                position += filled * itemsize
                filled = 0
                self._check()
            if narrow(tensor.dtype, merged, room[filled : filled + n]) >= dtypes.INFINITE:
                raise _overflow(tensor)
            filled += n
        if filled:
            self._output.write(tensor.shard, position, room[:filled])


def _applied(base: Any, merged: Any) -> Array:
    """Base and merged task vector → merged weights, float32 in this machine's memory."""
    if isinstance(merged, np.ndarray):
        if base is not None:
            add_to_base(base, merged)
        return merged
    from merge_core.kernels import on_torch

    applied = merged if base is None else on_torch.add_to_base(base, merged)
    found: Array = applied.cpu().numpy()
    return found


_NARROW: dict[str, Any] = {"F64": np.float64, "F32": np.float32, "F16": np.uint16, "BF16": np.uint16}


def narrow(dtype: str, values: Array, out: Array) -> int:
    """float32 → stored entries in `out`, rounded once; answers the largest |value| bit pattern (`kernels.dtypes`)."""
    if dtype == "BF16":
        return int(dtypes.narrow_bf16(values, out))
    if dtype == "F16":
        return int(dtypes.narrow_f16(values, out))
    np.copyto(out, values)
    return int(dtypes.peak(values))


def _overflow(tensor: TensorPlan) -> UserError:
    name = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}[tensor.dtype]
    hint = (
        "Say `out_dtype: bfloat16` or float32."
        if tensor.dtype == "F16"
        else "Use smaller weights or a smaller lambda."
    )
    return UserError(f"{tensor.name}: the merged values exceed what {name} can hold.", hint)
