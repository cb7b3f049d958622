"""How often magnitudes occur in each stretch of a tensor: which ties can reach their next step there."""

from __future__ import annotations

import sys
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np

from merge_core.kernels.coarse import LOW_BITS
from merge_core.streaming import pieces

Array = np.ndarray[Any, np.dtype[Any]]

MOST = 128  # stretches of a tensor whose counts are noted
MOST_OF_SCOPE = 1024  # … and of a whole scope, whose counts are kept, unless it has more tensors
MOST_BYTES = 16 << 20  # of a thread's notes: where they would take more, stretches are longer
# Each thread's notes, kept from tensor to tensor: fresh memory would be cleared first.
_rooms = threading.local()
UNKNOWN = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Stretches:
    """How many entries of each tie each part of a tensor holds.

    Args:
        counts: int64 or uint32 [stretches, models, ties]; UNKNOWN where nobody counted.
        spans: how many spans a stretch is.
    """

    counts: Array
    spans: int = sys.maxsize


def unknown(shape: tuple[int, ...]) -> Stretches:
    """Of ties, [models, ties], that nobody counted."""
    return Stretches(np.full((1, *shape), UNKNOWN))


def spans_each(entries: int, most: int) -> int:
    """Spans of a stretch where so many entries are cut into at most so many stretches."""
    return max(1, -(-entries // (pieces.CHUNK * most)))


class Milestones:
    """Running counts of first patterns (see `kernels.coarse`), noted at the end of each stretch of a tensor.

    Args:
        numel: entries of the tensor, fewer than a 32-bit counter can count; its spans pass by in index order.
    """

    def __init__(self, numel: int) -> None:
        self._spans = -(-numel // pieces.CHUNK)
        self._stretch = spans_each(numel, MOST)
        self._passed = 0
        self._begin, self._end = 0, 1  # the bins that are noted: those that the first stretch occupies
        self._noted: list[Array] = []

    def pass_by(self, counts: Array) -> None:
        """Take note after a span: uint32 [models, COARSE], the counts so far."""
        self._passed += 1
        if self._passed % self._stretch and self._passed < self._spans:
            return
        if not self._noted:
            occupied = np.flatnonzero(counts[:, 1:].any(axis=0)) + 1  # zeros are no tie
            if occupied.size:
                self._begin, self._end = int(occupied[0]), int(occupied[-1]) + 1
            if self._lengthened(4 * len(counts) * (self._end - self._begin)):
                return
        noted = self._room(len(counts) * (self._end - self._begin)).reshape(len(counts), -1)
        noted[:] = counts[:, self._begin : self._end]
        self._noted.append(noted)

    def _lengthened(self, note: int) -> bool:
        """Whether stretches had to become longer than what has passed, so that notes of so many bytes find room."""
        notes = -(-self._spans // self._stretch)
        self._stretch *= -(-notes // max(1, MOST_BYTES // note))
        return self._passed % self._stretch > 0 and self._passed < self._spans

    def _room(self, size: int) -> Array:
        """Memory for the next note."""
        used = size * len(self._noted)
        room: Array | None = getattr(_rooms, "room", None)
        if room is None or room.size < used + size:
            # What was noted of this tensor stays where it is; else the old room goes before the new one comes.
            _rooms.room = room = None
            room = _rooms.room = np.empty(size * (self._spans // self._stretch + 1), np.uint32)
        return room[used : used + size]

    def stretches(self, patterns: Array) -> Stretches:
        """How often each stretch holds each pattern: uint32 [models, ties], first ones of their bins."""
        place = (patterns >> LOW_BITS).astype(np.int64) - self._begin
        seen = (place >= 0) & (place < self._end - self._begin)
        rows = np.arange(len(patterns))[:, None]
        noted = np.array([counts[rows, np.where(seen, place, 0)] for counts in self._noted], np.int64)
        return Stretches(np.where(seen, np.diff(noted, axis=0, prepend=0), UNKNOWN), self._stretch)
