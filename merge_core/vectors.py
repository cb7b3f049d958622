"""Chunks of a merge's inputs as float32: weights, or task vectors (fine-tune minus base), formed where they are needed.

Nothing is kept: a chunk fits the second-level cache, and forming it again costs less than writing it to memory would.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from merge_core.checkpoint import Checkpoint, TensorSpec
from merge_core.checkpoint.mapped import STORED_AS, MappedFile
from merge_core.errors import UserError
from merge_core.kernels import dtypes
from merge_core.plan import MergePlan, TensorPlan

Array = np.ndarray[Any, np.dtype[Any]]

CHUNK = (
    1 << 14
)  # entries; with five models and the output a chunk takes 450 kB, half a core's second-level cache
PIECE = 1 << 24  # entries; what one thread takes at a time, and the unit of resumption
RELEASE_EVERY = 1 << 20  # entries between two hints to the system that mapped pages are done with


@dataclass(frozen=True)
class Piece:
    """Entries start … stop of the plan's tensor number `tensor`, in row-major order."""

    tensor: int
    start: int
    stop: int

    @property
    def size(self) -> int:
        """How many entries."""
        return self.stop - self.start


def pieces_of(number: int, tensor: TensorPlan) -> list[Piece]:
    """The pieces a tensor is cut into; one empty piece for a tensor without entries."""
    starts = range(0, max(tensor.numel, 1), PIECE)
    return [Piece(number, s, min(s + PIECE, tensor.numel)) for s in starts]


@dataclass(frozen=True)
class Chunk:
    """A chunk of one tensor.

    Args:
        start: index of its first entry in the tensor.
        base: float32 [n], the base model's entries; None where there is no base.
        vectors: float32 [models, n], task vectors, or weights where there is no base. Valid until the next chunk.
    """

    start: int
    base: Array | None
    vectors: Array


class VectorReader:
    """Reads chunks of a plan's tensors; safe to use from several threads.

    Args:
        plan: whose tensors are read.
        keep_mapped: entries already read may stay in memory until `release`; else they are given back as it goes.
    """

    def __init__(self, plan: MergePlan, keep_mapped: bool = False) -> None:
        self._plan = plan
        self._keep_mapped = keep_mapped
        self._files: dict[Path, MappedFile] = {}
        self._lock = threading.Lock()
        self._scratch = threading.local()

    def chunks(self, piece: Piece) -> Iterator[Chunk]:
        """The chunks of `piece`, in order.

        Raises:
            UserError: an entry is infinite or not a number, or a difference overflows float32.
        """
        tensor = self._plan.tensors[piece.tensor]
        sources = [*tensor.sources, *([tensor.base] if tensor.base else [])]
        owners = [*self._plan.models, *([self._plan.base] if self._plan.base else [])]
        files = [self._file(owner, spec) for owner, spec in zip(owners, sources, strict=True)]
        released = piece.start
        for start in range(piece.start, piece.stop, CHUNK):
            stop = min(start + CHUNK, piece.stop)
            yield self._chunk(tensor, sources, files, start, stop)
            if not self._keep_mapped and (stop - released >= RELEASE_EVERY or stop == piece.stop):
                _release(files, sources, released, stop)
                released = stop

    def release(self, piece: Piece) -> None:
        """Give back the memory that `piece`'s entries were mapped to."""
        tensor = self._plan.tensors[piece.tensor]
        sources = [*tensor.sources, *([tensor.base] if tensor.base else [])]
        owners = [*self._plan.models, *([self._plan.base] if self._plan.base else [])]
        files = [self._file(owner, spec) for owner, spec in zip(owners, sources, strict=True)]
        _release(files, sources, piece.start, piece.stop)

    def raw(self, owner: Checkpoint, spec: TensorSpec) -> Array:
        """The stored bytes of one tensor, uint8 [nbytes]."""
        return self._file(owner, spec).entries(spec.offset, spec.nbytes, np.dtype(np.uint8))

    def _file(self, owner: Checkpoint, spec: TensorSpec) -> MappedFile:
        path = owner.path(spec)
        with self._lock:
            if path not in self._files:
                last = max(s.offset + s.nbytes for s in owner.specs.values() if s.file == spec.file)
                self._files[path] = MappedFile(path, last)
            return self._files[path]

    def _chunk(
        self, tensor: TensorPlan, sources: list[TensorSpec], files: list[MappedFile], start: int, stop: int
    ) -> Chunk:
        n = stop - start
        models = len(tensor.sources)
        room = getattr(self._scratch, "room", None)
        if room is None or room.size < len(sources) * CHUNK:
            room = self._scratch.room = np.empty(len(sources) * CHUNK, np.float32)
        rows = room[: len(sources) * n].reshape(len(sources), n)
        for row, spec, file in zip(rows, sources, files, strict=True):
            stored = STORED_AS[spec.dtype]
            bits = file.entries(spec.offset + start * stored.itemsize, n, stored)
            if widen(spec.dtype, bits, row) >= dtypes.INFINITE:
                raise _not_finite(self._plan, tensor, spec, row, start)
        if tensor.base is None:
            return Chunk(start, None, rows)
        base = rows[models]
        for m in range(models):
            np.subtract(rows[m], base, out=rows[m])
        return Chunk(start, base, rows[:models])


def widen(dtype: str, stored: Array, out: Array) -> int:
    """Stored entries → float32 in `out`; answers the largest |value| bit pattern (see `kernels.dtypes`)."""
    if dtype == "BF16":
        return int(dtypes.widen_bf16(stored, out))
    if dtype == "F16":
        return int(dtypes.widen_f16(stored, out))
    with np.errstate(over="ignore"):  # a float64 too large for float32 turns infinite, and is refused as such
        np.copyto(out, stored, casting="same_kind")
    return int(dtypes.peak(out))


def _release(files: list[MappedFile], sources: list[TensorSpec], start: int, stop: int) -> None:
    for file, spec in zip(files, sources, strict=True):
        size = STORED_AS[spec.dtype].itemsize
        file.release(spec.offset + start * size, (stop - start) * size)


def _not_finite(plan: MergePlan, tensor: TensorPlan, spec: TensorSpec, row: Array, start: int) -> UserError:
    owners = [*plan.models, *([plan.base] if plan.base else [])]
    specs = [*tensor.sources, *([tensor.base] if tensor.base else [])]
    owner = next(o for o, s in zip(owners, specs, strict=True) if s is spec)
    index = int(np.flatnonzero(~np.isfinite(row))[0])
    place = tuple(int(i) for i in np.unravel_index(start + index, tensor.shape)) if tensor.shape else ()
    what = "not a number (NaN)" if np.isnan(row[index]) else "infinite"
    return UserError(
        f"{owner.ref}: {spec.name} in {spec.file} is {what} at index {list(place)}; a merge needs finite weights.",
        "The checkpoint is damaged or its training diverged: download it again or pick another one.",
    )
