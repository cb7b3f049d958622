"""Merging on another device through torch: `--device cuda`.

The walk is the same; only what is done to a chunk happens there. Stored bytes travel through pinned memory, a chunk's
transfer beside the work on the one before it, and are widened on the device.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from merge_core.checkpoint.weight_file import STORED_AS
from merge_core.errors import UserError
from merge_core.kernels import on_torch
from merge_core.kernels.dtypes import INFINITE
from merge_core.plan import MergePlan
from merge_core.streaming.budget import Budget
from merge_core.streaming.cut import Cut
from merge_core.streaming.inputs import Inputs
from merge_core.streaming.pieces import Piece
from merge_core.streaming.vectors import Array, Chunk, VectorReader

CHUNK = 1 << 22  # entries; launching work on a device takes too long for less
VIEWED_AS = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


def torch_device(name: str) -> torch.device:
    """The device of that name.

    Raises:
        UserError: this machine or this torch has none.
    """
    if not torch.cuda.is_available():
        raise UserError(
            f"There is no {name} device here that torch can use.",
            "Leave out --device: the processor does as well.",
        )
    return torch.device(name)


class TorchReader(VectorReader):
    """Task vectors as torch tensors on a device."""

    def __init__(self, plan: MergePlan, budget: Budget, device: str, inputs: Inputs | None = None) -> None:
        super().__init__(plan, budget, inputs)
        self._device = torch_device(device)
        self._on_processor = VectorReader(plan, budget, self._inputs)

    @property
    def on_processor(self) -> VectorReader:
        """Reads what is done by the processor all the same: a sample, and sums that few recipes ask for."""
        return self._on_processor

    @property
    def largest_chunk(self) -> int:
        """As `VectorReader.largest_chunk`."""
        return CHUNK

    def chunks(self, piece: Piece) -> Iterator[Chunk]:
        """As `VectorReader.chunks`; `base` and `vectors` are tensors on the device."""
        waiting: tuple[int, list[Any]] | None = None
        for start in range(piece.start, piece.stop, CHUNK):
            sent = (start, self._send(piece, start, min(start + CHUNK, piece.stop)))
            if waiting is not None:
                yield self._chunk(piece, *waiting)
            waiting = sent
        if waiting is not None:
            yield self._chunk(piece, *waiting)

    def scan_brackets(
        self, piece: Piece, low: Array, shift: Array, width: Array, counters: Any, above: Array
    ) -> None:
        """As `VectorReader.scan_brackets`."""
        for chunk in self.chunks(piece):
            counters.make_room(chunk.vectors.shape[1])
            for m in np.flatnonzero(width).tolist():
                at = (on_torch.magnitudes(chunk.vectors[m]) - int(low[m])) >> int(shift[m])
                above[m] += int((at >= int(width[m])).sum().item())
                inside = at[(at >= 0) & (at < int(width[m]))]
                counted = torch.bincount(inside, minlength=int(width[m])).cpu().numpy()
                counters.table[m, : width[m]] += counted.astype(np.uint32)

    def scan_equals(self, piece: Piece, pattern: Array, found: Array) -> None:
        """As `VectorReader.scan_equals`."""
        for chunk in self.chunks(piece):
            for m, wanted in enumerate(pattern.tolist()):
                found[m] += int((on_torch.magnitudes(chunk.vectors[m]) == wanted).sum().item())

    def cut(self, cut: Cut, vectors: Any) -> Iterator[tuple[int, Any, Array]]:
        """As `VectorReader.cut`: all of the chunk in one run, what does not survive replaced by zero."""
        kept = torch.zeros_like(vectors)
        for m, row in enumerate(vectors):
            bits = on_torch.magnitudes(row)
            equal = bits == cut.patterns[m]
            survives = bits > cut.patterns[m]
            if cut.all_equal[m]:
                survives |= equal
            elif cut.left[m] > 0:
                survives |= equal & (equal.cumsum(0) <= cut.left[m])
                cut.left[m] -= int(equal.sum().item())
            kept[m] = torch.where(survives, row, 0.0)
        yield 0, kept, np.zeros(len(vectors), np.uint32)

    def _send(self, piece: Piece, start: int, stop: int) -> list[Any]:
        """Every row's stored entries, on their way to the device."""
        sent = []
        rows = self._rows_of(piece.tensor)
        for row, spec in enumerate(rows.specs):
            width = STORED_AS[spec.dtype].itemsize
            adapted = rows.deltas[row] is not None
            size = (stop - start) * (4 if adapted else width)
            host = torch.empty(size, dtype=torch.uint8, pin_memory=self._device.type == "cuda")
            if adapted:
                host.numpy()[:] = self._copy(piece.tensor, row, start, stop).view(np.uint8)
            else:
                rows.files[row].read_into(memoryview(host.numpy()), spec.offset + start * width)
            sent.append(
                host.to(self._device, non_blocking=True).view(VIEWED_AS["F32" if adapted else spec.dtype])
            )
        return sent

    def _chunk(self, piece: Piece, start: int, sent: list[Any]) -> Chunk:
        based = self._plan.tensors[piece.tensor].base is not None
        values = torch.stack([row.float() for row in sent])
        base = values[-1] if based else None
        vectors = values[:-1] - base if base is not None else values
        top = int(on_torch.magnitudes(vectors).max().item()) if vectors.numel() else 0
        if top >= INFINITE:
            self.require_finite(top, piece.tensor, start, start + values.shape[1])
        return Chunk(start, base, vectors)
