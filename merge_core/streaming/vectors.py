"""A merge's inputs as float32: weights, or task vectors (fine-tune minus base), formed where they are needed.

Nothing is kept: a chunk is read into memory that fits the second-level cache, and reading and forming it again costs
less than writing it to memory would.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from merge_core.checkpoint import Checkpoint, TensorSpec
from merge_core.checkpoint.checkpoint import LowRank
from merge_core.checkpoint.low_rank import add_delta, delta_of, widened
from merge_core.checkpoint.weight_file import STORED_AS
from merge_core.errors import UserError
from merge_core.kernels import rank
from merge_core.kernels.dtypes import INFINITE, MAGNITUDE
from merge_core.kernels.vectors import STORED, form_vectors
from merge_core.plan import MergePlan, TensorPlan
from merge_core.streaming import pieces
from merge_core.streaming.budget import Budget
from merge_core.streaming.counters import Counters
from merge_core.streaming.cut import Cut
from merge_core.streaming.inputs import InputFile, Inputs, rows_of
from merge_core.streaming.pieces import Piece

Array = np.ndarray[Any, np.dtype[Any]]

COPIED = 1 << 20  # bytes of a tensor that is copied as it is, at a time
APART = 4096 + 128  # bytes between rows' rooms beyond their size: alike addresses would crowd out each other


@dataclass(frozen=True)
class Span:
    """Entries start … stop − 1 of one tensor of every model, as the kernels are told where they lie.

    Args:
        address, stored, based: see `kernels.vectors.form_vectors`. Valid until the thread's next span.
        start, stop: which entries.
    """

    address: Array
    stored: Array
    based: bool
    start: int
    stop: int

    @property
    def where(self) -> tuple[Array, Array, bool, int, int]:
        """What most kernels are told first."""
        return self.address, self.stored, self.based, self.start, self.stop


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

    Args:
        owners, specs, files: per row.
        deltas: per row, what an adapter adds to it, or None.
        widths: int64 [rows], bytes of an entry as kernels are given it.
        stored: int64 [rows], as what: float32 where an adapter adds to it.
        based: whether there is a base.
    """

    owners: tuple[Checkpoint, ...]
    specs: tuple[TensorSpec, ...]
    files: tuple[InputFile, ...]
    deltas: tuple[LowRank | None, ...]
    widths: Array
    stored: Array
    based: bool


class VectorReader:
    """Reads a plan's tensors; safe to use from several threads.

    Args:
        plan: whose tensors are read.
        budget: how much may be in memory at once.
        inputs: its files; None where all of them are on this machine.
    """

    def __init__(self, plan: MergePlan, budget: Budget, inputs: Inputs | None = None) -> None:
        self._plan = plan
        self._inputs = inputs or Inputs(plan)
        self.budget = budget
        self._rows: dict[int, _Rows] = {}
        self._scratch = threading.local()

    @property
    def largest_chunk(self) -> int:
        """The most entries that `chunks` gives at a time."""
        return pieces.CHUNK

    def spans(self, piece: Piece) -> Iterator[Span]:
        """The spans of `piece`, in order, each of at most CHUNK entries.

        Raises:
            UserError: a file has become shorter than its header says.
        """
        rows = self._rows_of(piece.tensor)
        parts, first = self._rooms(rows, pieces.CHUNK)
        for start in range(piece.start, piece.stop, pieces.CHUNK):
            stop = min(start + pieces.CHUNK, piece.stop)
            for row, part in enumerate(parts):
                self._fill(part, piece.tensor, row, start, stop)
            yield Span(first - rows.widths * start, rows.stored, rows.based, start, stop)

    def chunks(self, piece: Piece) -> Iterator[Chunk]:
        """The chunks of `piece`, in order. What is one chunk is read once, as long as its thread asks for nothing else.

        Raises:
            UserError: an entry is infinite or not a number, or a difference overflows float32.
        """
        held, chunk = getattr(self._scratch, "held", (None, None))
        if chunk is not None and held == piece:
            yield chunk
            return
        for span in self.spans(piece):
            self._scratch.held = (None, None)
            rows, n = span.address.size, span.stop - span.start
            models = rows - span.based
            values = self._room("formed", rows * n, np.dtype(np.float32)).reshape(rows, n)
            top = form_vectors(span.address, span.stored, span.based, span.start, n, values)
            self.require_finite(top, piece.tensor, span.start, span.stop)
            chunk = Chunk(span.start, values[models] if span.based else None, values[:models])
            if n == piece.size and not self._inputs.streamed:
                self._scratch.held = (piece, chunk)
            yield chunk

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
            top = rank.scan_brackets(*span.where, low, shift, width, counters.table, above)
            self.require_finite(top, piece.tensor, span.start, span.stop)

    def scan_equals(self, piece: Piece, pattern: Array, found: Array) -> None:
        """Count what equals a pattern per model in a piece; see `kernels.rank.scan_equals`.

        Raises:
            UserError: as `chunks`.
        """
        for span in self.spans(piece):
            top = rank.scan_equals(*span.where, pattern, found)
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
        self._inputs.expect_sample([Piece(piece.tensor, start, start + strip) for start in starts.tolist()])
        size = starts.size * strip
        parts, first = self._rooms(rows, size)
        for row, (part, width) in enumerate(zip(parts, rows.widths.tolist(), strict=True)):
            for at, start in enumerate(starts.tolist()):
                self._fill(part[at * strip * width :], piece.tensor, row, start, start + strip)
        values = np.empty((len(parts), size), np.float32)
        top = form_vectors(first, rows.stored, rows.based, 0, size, values)
        self.require_finite(top, piece.tensor, piece.start, piece.stop)
        return values[: len(parts) - rows.based].view(np.uint32) & MAGNITUDE

    def require_finite(self, top: int, number: int, start: int, stop: int) -> None:
        """Raise the error for what made a kernel answer `top` over entries start … stop − 1 of tensor `number`.

        Raises:
            UserError: `top` is no finite magnitude; says which entry of which model is not.
        """
        if top < INFINITE:
            return
        tensor = self._plan.tensors[number]
        rows = self._rows_of(number)
        for first in range(start, stop, pieces.CHUNK):
            last = min(first + pieces.CHUNK, stop)
            for row, spec in enumerate(rows.specs):
                copied = self._copy(number, row, first, last)
                values = copied if rows.deltas[row] is not None else widened(spec, copied)
                if not np.isfinite(values).all():
                    raise _not_finite(rows.owners[row], tensor, spec, values, first)
        raise UserError(
            f"{tensor.name}: a fine-tune's difference from the base exceeds what float32 can hold.",
            "One of the models is damaged: download it again or pick another one.",
        )

    def raw(self, owner: Checkpoint, spec: TensorSpec) -> Iterator[Array]:
        """The stored bytes of one tensor, uint8, in parts."""
        for start in range(0, spec.nbytes, COPIED):
            size = min(COPIED, spec.nbytes - start)
            yield self._inputs.file(owner, spec).entries(spec.offset + start, size, np.dtype(np.uint8))

    def _fill(self, room: memoryview, number: int, row: int, start: int, stop: int) -> None:
        """Write a row's entries start … stop − 1 to the front of `room`, as kernels are given them."""
        rows = self._rows_of(number)
        spec = rows.specs[row]
        if rows.deltas[row] is None:
            width = STORED_AS[spec.dtype].itemsize
            rows.files[row].read_into(room[: (stop - start) * width], spec.offset + start * width)
        else:
            room[: (stop - start) * 4] = self._copy(number, row, start, stop).data.cast("B")

    def _rooms(self, rows: _Rows, entries: int) -> tuple[list[memoryview], Array]:
        """This thread's memory for so many entries of each row, and where each row's lies: int64 [rows]."""
        laid_out: dict[tuple[int, ...], tuple[list[memoryview], Array]] | None
        laid_out = getattr(self._scratch, "laid_out", None)
        key = (entries, *rows.widths.tolist())
        if laid_out is None or key not in laid_out:
            sizes = -(-rows.widths * entries // 64) * 64 + APART
            ends = np.cumsum(sizes)
            room = self._room("stored", int(ends[-1]), np.dtype(np.uint8))
            parts = [room[end - size : end].data for size, end in zip(sizes, ends, strict=True)]
            # The latest alone: the room of an earlier one may have been too small and be gone.
            laid_out = self._scratch.laid_out = {key: (parts, room.ctypes.data + ends - sizes)}
        return laid_out[key]

    def _copy(self, number: int, row: int, start: int, stop: int) -> Array:
        """A row's entries start … stop − 1 as they are stored; as float32 where an adapter changes them."""
        rows = self._rows_of(number)
        spec, delta = rows.specs[row], rows.deltas[row]
        owner = rows.owners[row]
        entries = self._entries(owner, spec, start, stop)
        if delta is None:
            return entries
        values = widened(spec, entries)
        add_delta(owner, spec, delta, start, values, self._entries)
        return values

    def _entries(self, owner: Checkpoint, spec: TensorSpec, start: int, stop: int) -> Array:
        stored = STORED_AS[spec.dtype]
        return self._inputs.file(owner, spec).entries(
            spec.offset + start * stored.itemsize, stop - start, stored
        )

    def _room(self, name: str, size: int, dtype: np.dtype[Any]) -> Array:
        """This thread's memory of that name."""
        room: Array | None = getattr(self._scratch, name, None)
        if room is None or room.size < size:
            room = np.empty(size, dtype)
            setattr(self._scratch, name, room)
        return room[:size]

    def _rows_of(self, number: int) -> _Rows:
        if number not in self._rows:
            tensor = self._plan.tensors[number]
            owned = rows_of(self._plan, tensor)
            specs = tuple(spec for _, spec in owned)
            files = tuple(self._inputs.file(o, s) for o, s in owned)
            deltas = tuple(delta_of(o, s) for o, s in owned)
            kept_as = ["F32" if delta else spec.dtype for delta, spec in zip(deltas, specs, strict=True)]
            self._rows[number] = _Rows(
                owners=tuple(owner for owner, _ in owned),
                specs=specs,
                files=files,
                deltas=deltas,
                widths=np.array([STORED_AS[kind].itemsize for kind in kept_as], np.int64),
                stored=np.array([STORED[kind] for kind in kept_as], np.int64),
                based=tensor.base is not None,
            )
        return self._rows[number]


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
