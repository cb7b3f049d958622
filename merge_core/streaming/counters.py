"""Counts that several threads make side by side, exactly: 32-bit tables, which stay in the cache, and 64-bit sums."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from merge_core.streaming.pieces import Piece
from merge_core.streaming.pool import Each

Array = np.ndarray[Any, np.dtype[Any]]

BEFORE_FOLDING = 1 << 31  # entries; up to here no 32-bit counter can overflow

# Each thread's tables, kept from scope to scope: fresh memory would be cleared twice.
_rooms = threading.local()


class Counters:
    """One thread's table.

    Args:
        shape: of the table.
        room: uint32, at least as large; used and cleared.
    """

    def __init__(self, shape: tuple[int, ...], room: Array) -> None:
        self.table = room[: int(np.prod(shape))].reshape(shape)
        self.table[:] = 0
        self._total: Array | None = None
        self._entries = 0

    def make_room(self, entries: int) -> None:
        """To be told before `entries` more are counted."""
        self._entries += entries
        if self._entries >= BEFORE_FOLDING:
            self._total = self.sums()
            self.table[:] = 0
            self._entries = entries

    @property
    def sole(self) -> bool:
        """Whether the table alone holds everything counted so far."""
        return self._total is None

    def sums(self) -> Array:
        """Everything counted so far."""
        return self.table.astype(np.int64) if self._total is None else self._total + self.table


def count_over(
    shape: tuple[int, ...], pieces: Sequence[Piece], each: Each[Any], count: Callable[[Piece, Counters], None]
) -> Array:
    """The sum over `pieces` of what `count` adds to a table of `shape`, as integers of 32 or 64 bits.

    Valid until the calling thread counts something else.
    """
    own = threading.local()
    tables: list[Counters] = []

    def run(piece: Piece) -> None:
        if not hasattr(own, "counters"):
            room = getattr(_rooms, "room", None)
            if room is None or room.size < int(np.prod(shape)):
                room = _rooms.room = np.empty(int(np.prod(shape)), np.uint32)
            own.counters = Counters(shape, room)
            tables.append(own.counters)
        count(piece, own.counters)

    each(run, pieces)
    if len(tables) == 1 and tables[0].sole:
        return tables[0].table
    total = tables[0].sums()
    for table in tables[1:]:
        total += table.sums()
    return total
