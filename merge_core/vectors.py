"""A merge's inputs as float32: weights, or task vectors (fine-tune minus base), formed where they are needed.

Nothing is kept: a chunk fits the second-level cache, and forming it again costs less than writing it to memory would.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from merge_core.budget import Budget
from merge_core.checkpoint import Checkpoint, TensorSpec
from merge_core.checkpoint.checkpoint import LowRank
from merge_core.checkpoint.mapped import STORED_AS, MappedFile
from merge_core.errors import UserError
from merge_core.kernels import rank
from merge_core.kernels.dtypes import INFINITE, MAGNITUDE
from merge_core.kernels.vectors import STORED, form_vectors
from merge_core.low_rank import add_delta, delta_of, widened
from merge_core.plan import MergePlan, TensorPlan

if TYPE_CHECKING:
    from merge_core.counters import Counters
    from merge_core.trim import Cut

Array = np.ndarray[Any, np.dtype[Any]]

CHUNK = 1 << 16  # entries a method is given at a time; fewer would cost more calls than they save misses
PIECE = 1 << 25  # most entries that one thread takes at a time; a piece is the unit of resumption
COPIED = 1 << 18  # most entries copied at a time, where some must be: a copy that leaves the cache costs double
SAMPLED_BETWEEN_RELEASES = 64  # strips; around each, the system maps a neighbourhood of each model's file


@dataclass(frozen=True)
class Piece:
    """Entries start … stop − 1 of the plan's tensor number `tensor`, in row-major order."""

    tensor: int
    start: int
    stop: int

    @property
    def size(self) -> int:
        """How many entries."""
        return self.stop - self.start


def pieces_of(number: int, tensor: TensorPlan) -> list[Piece]:
    """The pieces a tensor is cut into, alike in size; one empty piece for a tensor without entries."""
    count = max(1, -(-tensor.numel // PIECE))
    size = max(1, -(-tensor.numel // (count * CHUNK))) * CHUNK
    starts = range(0, max(tensor.numel, 1), size)
    return [Piece(number, s, min(s + size, tensor.numel)) for s in starts]


@dataclass(frozen=True)
class Span:
    """Entries start … stop − 1 of one tensor of every model, as the kernels are told where they lie.

    Args:
        address, stored, based: see `kernels.vectors.form_vectors`. Valid until the next span.
        start, stop: which entries.
    """

    address: Array
    stored: Array
    based: bool
    start: int
    stop: int


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


@dataclass(frozen=True)
class _Rows:
    """Where a tensor's rows lie: every model's, then the base's.

    `copied` are the rows that kernels cannot read where they lie: unaligned ones, and those that an adapter changes,
    whose deltas are not None.
    """

    specs: tuple[TensorSpec, ...]
    files: tuple[MappedFile, ...]
    deltas: tuple[LowRank | None, ...]
    address: Array
    stored: Array
    copied: tuple[int, ...]

    def release(self, start: int, stop: int) -> None:
        """Give back the memory that entries start … stop − 1 are mapped to."""
        for file, spec in zip(self.files, self.specs, strict=True):
            width = STORED_AS[spec.dtype].itemsize
            file.release(spec.offset + start * width, (stop - start) * width)


class VectorReader:
    """Reads a plan's tensors; safe to use from several threads.

    Args:
        plan: whose tensors are read.
        budget: how much may be in memory at once.
    """

    def __init__(self, plan: MergePlan, budget: Budget) -> None:
        self._plan = plan
        self.budget = budget
        self._files: dict[Path, MappedFile] = {}
        self._rows: dict[int, _Rows] = {}
        self._lock = threading.Lock()
        self._scratch = threading.local()
        self._kept: set[int] = set()

    @contextmanager
    def kept(self, number: int) -> Iterator[None]:
        """Leave what is read of tensor `number` mapped until this ends, if it fits the budget."""
        rows = self._rows_of(number)
        if sum(spec.nbytes for spec in rows.specs) > self.budget.kept:
            yield
            return
        self._kept.add(number)
        try:
            yield
        finally:
            self._kept.discard(number)
            rows.release(0, self._plan.tensors[number].numel)

    @property
    def largest_chunk(self) -> int:
        """The most entries that `chunks` gives at a time."""
        return CHUNK

    def spans(self, piece: Piece) -> Iterator[Span]:
        """The spans of `piece`, in order; each is in memory from when it is read to when the next one is asked for."""
        rows = self._rows_of(piece.tensor)
        based = self._plan.tensors[piece.tensor].base is not None
        size = min(self.budget.span, COPIED) if rows.copied else self.budget.span
        for start in range(piece.start, piece.stop, size):
            stop = min(start + size, piece.stop)
            address, copies = rows.address, []
            if rows.copied:
                address = address.copy()
                for row in rows.copied:
                    copies.append(self._copy(piece.tensor, row, start, stop))
                    address[row] = copies[-1].ctypes.data - start * copies[-1].itemsize
            yield Span(address, rows.stored, based, start, stop)
            if piece.tensor not in self._kept:
                rows.release(start, stop)

    def chunks(self, piece: Piece) -> Iterator[Chunk]:
        """The chunks of `piece`, in order.

        Raises:
            UserError: an entry is infinite or not a number, or a difference overflows float32.
        """
        for span in self.spans(piece):
            rows = span.address.size
            models = rows - span.based
            for start in range(span.start, span.stop, CHUNK):
                n = min(CHUNK, span.stop - start)
                values = self._room(rows * n).reshape(rows, n)
                top = form_vectors(span.address, span.stored, span.based, start, n, values)
                self.require_finite(top, piece.tensor, start, start + n)
                yield Chunk(start, values[models] if span.based else None, values[:models])

    @property
    def on_processor(self) -> VectorReader:
        """The reader of the same plan whose chunks are numpy arrays."""
        return self

    def scan_brackets(
        self, piece: Piece, low: Array, shift: Array, width: Array, counters: Counters, above: Array
    ) -> None:
        """Count the magnitudes of a piece; see `kernels.rank.scan_brackets`.

        Raises:
            UserError: as `chunks`.
        """
        for span in self.spans(piece):
            counters.make_room(span.stop - span.start)
            top = rank.scan_brackets(*_where(span), low, shift, width, counters.table, above)
            self.require_finite(top, piece.tensor, span.start, span.stop)

    def scan_equals(self, piece: Piece, pattern: Array, found: Array) -> None:
        """Count what equals a pattern per model in a piece; see `kernels.rank.scan_equals`.

        Raises:
            UserError: as `chunks`.
        """
        for span in self.spans(piece):
            top = rank.scan_equals(*_where(span), pattern, found)
            self.require_finite(top, piece.tensor, span.start, span.stop)

    def cut(self, cut: Cut, vectors: Any) -> Iterable[tuple[int, Any, Array]]:
        """Runs of a chunk within which one threshold per model holds; see `trim.Cut`."""
        return cut.runs(vectors)

    def sample(self, piece: Piece, starts: Array, strip: int) -> Array:
        """Bit patterns of the magnitudes of a few strips of `piece`, uint32 [models, strips·strip].

        Raises:
            UserError: as `chunks`.
        """
        rows = self._rows_of(piece.tensor)
        based = self._plan.tensors[piece.tensor].base is not None
        out = np.empty((rows.address.size - based, starts.size * strip), np.uint32)
        if rows.copied:
            for at, start in enumerate(starts.tolist()):
                (chunk,) = self.chunks(Piece(piece.tensor, start, start + strip))
                out[:, at * strip : (at + 1) * strip] = chunk.vectors.view(np.uint32) & MAGNITUDE
            return out
        for at in range(0, starts.size, SAMPLED_BETWEEN_RELEASES):
            group = starts[at : at + SAMPLED_BETWEEN_RELEASES]
            part = np.empty((len(out), group.size * strip), np.uint32)
            top = rank.scan_sample(rows.address, rows.stored, based, group, strip, part)
            if piece.tensor not in self._kept:
                rows.release(int(group[0]), int(group[-1]) + strip)
            self.require_finite(top, piece.tensor, piece.start, piece.stop)
            out[:, at * strip : at * strip + part.shape[1]] = part
        return out

    def require_finite(self, top: int, number: int, start: int, stop: int) -> None:
        """Raise the error for what made a kernel answer `top` over entries start … stop − 1 of tensor `number`.

        Raises:
            UserError: `top` is no finite magnitude; says which entry of which model is not.
        """
        if top < INFINITE:
            return
        tensor = self._plan.tensors[number]
        rows = self._rows_of(number)
        for first in range(start, stop, CHUNK):
            last = min(first + CHUNK, stop)
            for row, spec in enumerate(rows.specs):
                copied = self._copy(number, row, first, last)
                values = copied if rows.deltas[row] is not None else widened(spec, copied)
                if not np.isfinite(values).all():
                    raise _not_finite(self._owners(tensor)[row], tensor, spec, values, first)
        raise UserError(
            f"{tensor.name}: a fine-tune's difference from the base exceeds what float32 can hold.",
            "One of the models is damaged: download it again or pick another one.",
        )

    def raw(self, owner: Checkpoint, spec: TensorSpec) -> Array:
        """The stored bytes of one tensor, uint8 [nbytes]."""
        return self._file(owner, spec).entries(spec.offset, spec.nbytes, np.dtype(np.uint8))

    def _copy(self, number: int, row: int, start: int, stop: int) -> Array:
        """A row's entries start … stop − 1 as they are stored; as float32 where an adapter changes them."""
        rows = self._rows_of(number)
        spec, delta = rows.specs[row], rows.deltas[row]
        owner = self._owners(self._plan.tensors[number])[row]
        entries = self._entries(owner, spec, start, stop)
        if delta is None:
            return entries.copy()
        values = widened(spec, entries)
        add_delta(owner, spec, delta, start, values, self._entries)
        return values

    def _entries(self, owner: Checkpoint, spec: TensorSpec, start: int, stop: int) -> Array:
        stored = STORED_AS[spec.dtype]
        return self._file(owner, spec).entries(spec.offset + start * stored.itemsize, stop - start, stored)

    def _room(self, size: int) -> Array:
        room = getattr(self._scratch, "room", None)
        if room is None or room.size < size:
            room = self._scratch.room = np.empty(size, np.float32)
        return room[:size]

    def _owners(self, tensor: TensorPlan) -> tuple[Checkpoint, ...]:
        return (*self._plan.models, self._plan.base) if tensor.base and self._plan.base else self._plan.models

    def _rows_of(self, number: int) -> _Rows:
        if number not in self._rows:
            tensor = self._plan.tensors[number]
            specs = (*tensor.sources, tensor.base) if tensor.base else tensor.sources
            owned = list(zip(self._owners(tensor), specs, strict=True))
            files = tuple(self._file(o, s) for o, s in owned)
            deltas = tuple(delta_of(o, s) for o, s in owned)
            kinds = ["F32" if delta else spec.dtype for delta, spec in zip(deltas, specs, strict=True)]
            address = np.array([f.address(s.offset) for f, s in zip(files, specs, strict=True)], np.int64)
            widths = np.array([STORED_AS[s.dtype].itemsize for s in specs])
            self._rows[number] = _Rows(
                specs=specs,
                files=files,
                deltas=deltas,
                address=address,
                stored=np.array([STORED[kind] for kind in kinds], np.int64),
                copied=tuple(r for r, delta in enumerate(deltas) if delta or address[r] % widths[r]),
            )
        return self._rows[number]

    def _file(self, owner: Checkpoint, spec: TensorSpec) -> MappedFile:
        path = owner.path(spec)
        with self._lock:
            if path not in self._files:
                last = max(s.offset + s.nbytes for s in owner.specs.values() if s.file == spec.file)
                self._files[path] = MappedFile(path, last)
            return self._files[path]


def _where(span: Span) -> tuple[Array, Array, bool, int, int]:
    return span.address, span.stored, span.based, span.start, span.stop


def _not_finite(
    owner: Checkpoint, tensor: TensorPlan, spec: TensorSpec, values: Array, start: int
) -> UserError:
    index = int(np.flatnonzero(~np.isfinite(values))[0])
    place = [int(i) for i in np.unravel_index(start + index, tensor.shape)] if tensor.shape else []
    what = "not a number (NaN)" if np.isnan(values[index]) else "infinite"
    where = f"at index {place}" if place else "its only entry"
    return UserError(
        f"{owner.ref}: {spec.name} in {spec.file} is {what}, {where}; a merge needs finite weights.",
        "The checkpoint is damaged or its training diverged: download it again or pick another one.",
    )
