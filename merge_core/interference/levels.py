"""Tables that say from which density on an entry survives, for all densities of the grid at once.

With ρ the rank of |τ| within its trim scope, an entry survives at density q once q keeps at least ρ entries. Two
counting passes find the exact thresholds of all 100 densities; nothing is sampled or rounded.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from merge_core.kernels import onset
from merge_core.kernels.onset import COARSE, CODES, FINE, LEVELS, LOW_BITS, LOW_MASK, NEVER, SOLE, TIED
from merge_core.methods.trimming import TrimRule
from merge_core.streaming.counters import Counters, count_over
from merge_core.streaming.cut import Threshold
from merge_core.streaming.pieces import Piece
from merge_core.streaming.pool import Each
from merge_core.streaming.vectors import VectorReader

Array = np.ndarray[Any, np.dtype[Any]]

MOST_LOW = 1 << 18  # patterns with lower bits that are kept
DENSITIES = tuple(j / LEVELS for j in range(1, LEVELS + 1))


@dataclass(frozen=True)
class LevelTable:
    """One model's levels over a trim scope; see `kernels.onset.levels` for the arrays.

    Args:
        where, codes: pattern → code.
        steps: per tie, the levels at which more of its entries survive.
        dealt: per tie, how many entries each of those levels gets.
        thresholds: number kept → the threshold that keeps as many, for every density that keeps some but not all.
    """

    where: Array
    codes: Array
    steps: tuple[tuple[int, ...], ...]
    dealt: tuple[tuple[int, ...], ...]
    thresholds: dict[int, Threshold]


def kept_at_each(rule: TrimRule, entries: int) -> Array:
    """How many of a scope's entries each density of the grid keeps: int64 [LEVELS], rising."""
    return _kept_at_each(rule.kept, entries)


@lru_cache
def _kept_at_each(kept: Callable[[int, float], int], entries: int) -> Array:
    return np.array([min(entries, kept(entries, q)) for q in DENSITIES], np.int64)


def measure_levels(
    rule: TrimRule, reader: VectorReader, pieces: Sequence[Piece], each: Each[Any]
) -> list[LevelTable]:
    """One table per model over the scope made of `pieces`."""
    entries = sum(p.size for p in pieces)
    kept = kept_at_each(rule, entries)
    models = len(rule.density)

    low = _LowPatterns(models)

    def count_coarse(piece: Piece, counters: Counters) -> None:
        room, listed = low.room(), np.zeros(models, np.int64)
        for chunk in reader.chunks(piece):
            counters.make_room(chunk.vectors.shape[1])
            onset.count_coarse(chunk.vectors, counters.table, room, listed)
        low.add(room, listed)

    coarse = [_Coarse(row, kept) for row in count_over((models, COARSE), pieces, each, count_coarse)]
    slots = np.full((models, COARSE), -1, np.int16)
    for m, found in enumerate(coarse):
        slots[m, found.chosen] = np.arange(found.chosen.size)
    rows = max(found.chosen.size for found in coarse)

    def count_fine(piece: Piece, counters: Counters) -> None:
        for chunk in reader.chunks(piece):
            counters.make_room(chunk.vectors.shape[1])
            onset.count_fine(chunk.vectors, slots, counters.table)

    fine = low.count(slots, rows)
    if fine is None:
        fine = count_over((models, rows, FINE), pieces, each, count_fine)
    return [_table(found, fine[m], kept, rule.keep_equal) for m, found in enumerate(coarse)]


class _LowPatterns:
    """The patterns that are not the first of their coarse bin, while they are few: they spare the second pass."""

    def __init__(self, models: int) -> None:
        self._found: list[list[Array]] = [[] for _ in range(models)]
        self._listed = 0
        self._lock = threading.Lock()

    def room(self) -> Array:
        """Where to list those of one piece: uint32 [models, …]."""
        return np.empty((len(self._found), MOST_LOW if self._listed <= MOST_LOW else 0), np.uint32)

    def add(self, room: Array, listed: Array) -> None:
        """Note what a piece holds: its first `listed` patterns of each model, int64 [models], lie in `room`."""
        with self._lock:
            self._listed += int(listed.sum())
            for m, count in enumerate(listed.tolist() if self._listed <= MOST_LOW else ()):
                self._found[m].append(room[m, :count].copy())

    def count(self, slots: Array, rows: int) -> Array | None:
        """What `onset.count_fine` would count: uint32 [models, rows, FINE]; None where there were too many."""
        if self._listed > MOST_LOW:
            return None
        fine = np.zeros((len(self._found), rows, FINE), np.uint32)
        for m, found in enumerate(self._found):
            patterns = np.concatenate(found)
            slot = slots[m, patterns >> LOW_BITS]
            inside = slot >= 0
            np.add.at(fine[m], (slot[inside], patterns[inside] & LOW_MASK), 1)
        return fine


class _Coarse:
    """What the first pass taught about one model.

    Args:
        counts: entries in each coarse bin.
        kept: int64 [LEVELS], how many entries each density keeps, rising.
    """

    def __init__(self, counts: Array, kept: Array) -> None:
        self.bins = np.flatnonzero(counts)[::-1]  # the occupied ones, largest magnitudes first
        self.through = np.cumsum(counts[self.bins], dtype=np.int64)  # entries in each and all larger ones
        self.before = self.through - counts[self.bins]
        wanted = kept[(kept > 0) & (kept <= (self.through[-1] if self.bins.size else 0))]
        at = np.unique(np.searchsorted(self.through, wanted))
        # The bin of zero is always looked at closely: a zero never survives.
        self.chosen = np.union1d(self.bins[at], 0).astype(np.int64)
        self.chosen_counts = counts[self.chosen].astype(np.int64)


def _table(coarse: _Coarse, fine: Array, kept: Array, keep_equal: bool) -> LevelTable:
    """Turn counts of patterns into the code of each pattern.

    A pattern with a others above it and e entries of its own survives whole from the first density that keeps a + e,
    and in part from the first that keeps a + 1. Where these are the same density it has one level; else it is a tie,
    unless all equals are kept together.
    """
    where = np.full(COARSE, SOLE | np.uint32(NEVER), np.uint32)
    where[coarse.bins] = SOLE | np.minimum(np.searchsorted(kept, coarse.through), NEVER).astype(np.uint32)
    where[coarse.chosen] = CODES + np.arange(coarse.chosen.size) * FINE
    all_codes = np.full(CODES + coarse.chosen.size * FINE, NEVER, np.uint8)
    all_codes[:CODES] = np.arange(CODES)
    codes = all_codes[CODES:]

    fine = fine[: coarse.chosen.size]
    fine[:, 0] = coarse.chosen_counts - fine.sum(axis=1, dtype=np.int64)
    at = np.flatnonzero(fine)[::-1]  # patterns that occur, largest first
    top = coarse.chosen[at >> int(LOW_BITS)]
    counts = fine.ravel()[at].astype(np.int64)
    # Entries above a pattern: those in larger coarse bins, and those in its own that are larger.
    above_bin = np.zeros(COARSE, np.int64)
    above_bin[coarse.bins] = coarse.before
    within = np.cumsum(counts) - counts
    first = np.r_[True, top[1:] != top[:-1]] if at.size else np.zeros(0, bool)
    before = above_bin[top] + within - np.maximum.accumulate(np.where(first, within, 0))
    through = before + counts
    begins = np.searchsorted(kept, before + 1)  # the first density at which one of them survives
    ends = np.searchsorted(kept, through)  # … at which all do
    patterns = (top << int(LOW_BITS)) + (at & int(LOW_MASK))
    zero = patterns == 0
    codes[at] = np.where(zero, NEVER, np.minimum(begins if keep_equal else ends, NEVER))
    steps: list[tuple[int, ...]] = []
    dealt: list[tuple[int, ...]] = []
    for k in [] if keep_equal else np.flatnonzero((begins < ends) & ~zero).tolist():
        codes[at[k]] = TIED + len(steps)
        reached, parts = tie_steps(kept, int(before[k]), int(counts[k]), int(begins[k]), int(ends[k]))
        steps.append(reached)
        dealt.append(parts)
    return LevelTable(
        where, all_codes, tuple(steps), tuple(dealt), _thresholds(patterns, counts, through, kept)
    )


def tie_steps(
    kept: Array, above: int, equal: int, begins: int, ends: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(levels at which more of a tie's entries survive, how many each gets); see `LevelTable`.

    Args:
        kept: int64 [LEVELS], how many entries each density keeps, rising.
        above, equal: entries of larger magnitude, and of the tie's.
        begins, ends: the first levels at which one of them survives, and all.
    """
    reached = np.minimum(kept[begins : ends + 1] - above, equal)
    return tuple(range(begins, begins + reached.size)), tuple(np.diff(np.r_[0, reached]).tolist())


def _thresholds(patterns: Array, counts: Array, through: Array, kept: Array) -> dict[int, Threshold]:
    if not through.size:
        return {}
    wanted = np.unique(kept[(kept > 0) & (kept <= through[-1])])
    at = np.searchsorted(through, wanted)
    return {
        int(k): Threshold(int(patterns[i]), int(counts[i]), int(k - (through[i] - counts[i])))
        for k, i in zip(wanted, at, strict=True)
    }


class Dealer:
    """Gives out levels over a scope, chunk after chunk in index order."""

    def __init__(self, table: LevelTable) -> None:
        self._table = table
        ties = len(table.steps)
        width = max((len(s) for s in table.steps), default=0)
        self._now = np.arange(CODES, dtype=np.uint8)
        self._left = np.full(CODES, np.iinfo(np.int64).max)
        self._steps = np.full((max(ties, 1), width + 1), NEVER, np.int64)
        self._steps[:, -1] = -1
        # A step of no entries is passed over, so it must not be counted down from: see `left` below.
        self._dealt = np.zeros((max(ties, 1), width), np.int64)
        for tie in range(ties):
            count = len(table.steps[tie])
            self._steps[tie, :count] = table.steps[tie]
            self._dealt[tie, :count] = table.dealt[tie]
            self._turn(TIED + tie)

    def skip(self, counts: Array) -> None:
        """Deal out the entries of a part of the scope that is not looked at, counted by code: int64 [CODES]."""
        for code in range(TIED, TIED + len(self._table.steps)):
            count = int(counts[code])
            while count >= self._left[code]:
                count -= int(self._left[code])
                self._left[code] = 0
                self._turn(code)
            self._left[code] -= count

    def levels(self, values: Array, out: Array) -> None:
        """Write the levels of the next entries, float32 [n] → uint8 [n]."""
        t = self._table
        onset.levels(values, t.where, t.codes, self._now, self._left, self._steps, self._dealt, out)

    def _turn(self, code: int) -> None:
        self._left[code] = 0
        while self._left[code] == 0:
            onset.advance(np.int64(code), self._now, self._left, self._steps, self._dealt)
