"""Tables that say from which density on an entry survives, for all densities of the grid at once.

With ρ the rank of |τ| within its trim scope, an entry survives at density q once q keeps at least ρ entries. Two
counting passes find the exact thresholds of all 100 densities; nothing is sampled or rounded.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from merge_core.interference.stretches import MOST_BYTES, MOST_OF_SCOPE, Milestones
from merge_core.kernels.coarse import COARSE, FINE, LOW_BITS, LOW_MASK, scan_coarse, scan_fine
from merge_core.kernels.dtypes import MAGNITUDE
from merge_core.kernels.levels import TIED
from merge_core.kernels.onset import LEVELS, NEVER
from merge_core.methods.trimming import TrimRule
from merge_core.streaming.counters import Counters, count_over
from merge_core.streaming.cut import Threshold
from merge_core.streaming.pieces import Piece
from merge_core.streaming.pool import Each
from merge_core.streaming.vectors import VectorReader

Array = np.ndarray[Any, np.dtype[Any]]

MOST_LOW = 1 << 18  # patterns with lower bits that are kept
TOGETHER = 1 << 16  # patterns, about, that are told their levels at a time
DENSITIES = tuple(j / LEVELS for j in range(1, LEVELS + 1))


@dataclass(frozen=True)
class Tie:
    """Entries of one magnitude that survive one after the other, in index order.

    Args:
        pattern: the bits of their |τ|.
        steps: the levels that they get, rising.
        dealt: how many entries get each of these but the last, at least one.
    """

    pattern: int
    steps: tuple[int, ...]
    dealt: tuple[int, ...]


@dataclass(frozen=True)
class LevelTables:
    """Every model's levels over a trim scope; for the arrays see `kernels.levels.Levels`.

    Args:
        first: uint8 [models, COARSE]; for the pattern of a model's tie number k TIED + k.
        slot: int16 [models, COARSE].
        inner: uint8 [models, rows, FINE]; for the pattern of a model's tie number k TIED + k.
        ties: per model, at most one per density.
        thresholds: per model, number kept → the threshold that keeps as many, for every density of the grid that keeps
            some but not all.
    """

    first: Array
    slot: Array
    inner: Array
    ties: tuple[tuple[Tie, ...], ...]
    thresholds: tuple[dict[int, Threshold], ...]


def table_bytes(models: int) -> int:
    """What a thread needs while it measures levels and looks them up, beside the chunks that it reads."""
    counters = 4 * LEVELS * FINE
    looked_up = COARSE * (1 + 1 + 2) + LEVELS * FINE
    listed = 2 * 4 * MOST_LOW
    telling = 20 * LEVELS * FINE + 128 * (TOGETHER + FINE)  # of one model after the other
    return models * (counters + looked_up + listed) + telling + MOST_BYTES


def scope_bytes(models: int, tensors: int) -> int:
    """What an inspection keeps of a trim scope that is the whole model: sums of counters, and counts of ties."""
    return models * (8 * max(2 * COARSE, LEVELS * FINE) + 4 * int(TIED) * (MOST_OF_SCOPE + tensors))


def kept_at_each(rule: TrimRule, entries: int) -> Array:
    """How many of a scope's entries each density of the grid keeps: int64 [LEVELS], rising."""
    return _kept_at_each(rule.kept, entries)


@lru_cache
def _kept_at_each(kept: Callable[[int, float], int], entries: int) -> Array:
    return np.array([min(entries, kept(entries, q)) for q in DENSITIES], np.int64)


def largest_first(magnitudes: Array) -> Array:
    """int64 [n]: positions of uint32 [n], the bits of |τ|, from the largest down; the lowest first among equals."""
    # A stable sort by magnitude, in a third of the time of one.
    keyed = (MAGNITUDE - magnitudes).astype(np.uint64) << np.uint64(32)
    keyed |= np.arange(magnitudes.size, dtype=np.uint64)
    keyed.sort()
    return (keyed & np.uint64(0xFFFFFFFF)).astype(np.int64)


def measure_levels(
    rule: TrimRule,
    reader: VectorReader,
    pieces: Sequence[Piece],
    each: Each[Any],
    milestones: Milestones | None = None,
) -> LevelTables:
    """The levels of every model over the scope made of `pieces`.

    Args:
        rule: how many entries a density keeps.
        reader: reads the pieces.
        pieces: the whole scope, in index order.
        each: runs a function over pieces; one after the other if there are milestones.
        milestones: told how far the counts are.
    """
    entries = sum(p.size for p in pieces)
    kept = kept_at_each(rule, entries)
    models = len(rule.density)

    low = _LowPatterns(models)

    def count_coarse(piece: Piece, counters: Counters) -> None:
        room, listed = low.room(), np.zeros(models, np.int64)
        for span in reader.spans(piece):
            counters.make_room(span.stop - span.start)
            top = scan_coarse(*span.where, counters.table, room, listed)
            reader.require_finite(top, piece.tensor, span.start, span.stop)
            if milestones is not None:
                milestones.pass_by(counters.table[:, 0])
        low.add(room, listed)

    counted = count_over((models, 2, COARSE), pieces, each, count_coarse)
    found = [_Coarse(first, other, kept) for first, other in counted]
    slot = np.full((models, COARSE), -1, np.int16)
    for m, coarse in enumerate(found):
        slot[m, coarse.cut] = np.arange(coarse.cut.size)
    rows = max(1, *(coarse.cut.size for coarse in found))

    def count_fine(piece: Piece, counters: Counters) -> None:
        for span in reader.spans(piece):
            counters.make_room(span.stop - span.start)
            scan_fine(*span.where, slot, counters.table)

    listed: Iterable[tuple[Array, Array]] | None = low.counted(slot)
    if listed is None:
        fine = count_over((models, rows, FINE), pieces, each, count_fine)
        listed = (_inside(coarse.cut, row) for coarse, row in zip(found, fine, strict=True))
    first = np.full((models, COARSE), NEVER, np.uint8)
    inner = np.full((models, rows, FINE), NEVER, np.uint8)
    told = []
    for m, (coarse, (others, having)) in enumerate(zip(found, listed, strict=True)):
        told.append(_Telling(coarse, kept, rule.keep_equal, first[m], slot[m], inner[m]))
        told[-1].tell(others, having)
    ties, thresholds = tuple(tuple(t.ties) for t in told), tuple(t.thresholds for t in told)
    return LevelTables(first, slot, inner, ties, thresholds)


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

    def counted(self, slot: Array) -> list[tuple[Array, Array]] | None:
        """Per model, the patterns in bins with a slot, and how many entries each has; None if there were too many."""
        if self._listed > MOST_LOW:
            return None
        patterns = [np.concatenate(found) for found in self._found]
        return [
            np.unique(p[row[p >> LOW_BITS] >= 0], return_counts=True)
            for p, row in zip(patterns, slot, strict=True)
        ]


def _inside(cut: Array, fine: Array) -> tuple[Array, Array]:
    """The patterns that `scan_fine` counted in a model's bins `cut`, rising, and how many entries each has."""
    at = np.flatnonzero(fine[: cut.size]).astype(np.uint32)
    upper = (cut.astype(np.uint32) << LOW_BITS)[at >> LOW_BITS]
    return upper | (at & LOW_MASK), fine.ravel()[at]


class _Coarse:
    """What the first pass taught about one model.

    Args:
        first: entries that are the first pattern of each coarse bin.
        other: its other entries.
        kept: int64 [LEVELS], how many entries each density keeps, rising.
    """

    def __init__(self, first: Array, other: Array, kept: Array) -> None:
        self.bins = np.flatnonzero(first | other)[::-1]  # the occupied ones, largest magnitudes first
        counts = first[self.bins].astype(np.int64) + other[self.bins]
        self.through = np.cumsum(counts)  # entries in each and all larger ones
        wanted = kept[(kept > 0) & (kept <= (self.through[-1] if self.bins.size else 0))]
        at = np.unique(np.searchsorted(self.through, wanted))
        # The bin of zero is always looked at closely: a zero never survives.
        self.chosen = np.union1d(self.bins[at], 0).astype(np.int64)
        self.chosen_first = first[self.chosen].astype(np.int64)
        self.cut = self.chosen[other[self.chosen] > 0]  # those that need a table of their own
        # Entries in larger bins than each chosen one.
        larger = np.searchsorted(-self.bins, -self.chosen)
        self.chosen_before = np.r_[0, self.through][larger]


class _Telling:
    """Turns one model's counts into codes, ties and thresholds.

    Args:
        coarse: what the first pass taught.
        kept, keep_equal: how many entries each density keeps, and whether all equals are kept together.
        first, slot, inner: the model's, see `LevelTables`; `first` and `inner` are written.
    """

    def __init__(
        self, coarse: _Coarse, kept: Array, keep_equal: bool, first: Array, slot: Array, inner: Array
    ) -> None:
        self._coarse = coarse
        self._kept = kept
        self._keep_equal = keep_equal
        self._first, self._slot, self._inner = first, slot, inner
        self.ties: list[Tie] = []
        self.thresholds: dict[int, Threshold] = {}
        first[coarse.bins] = np.minimum(np.searchsorted(kept, coarse.through), NEVER)

    def tell(self, others: Array, having: Array) -> None:
        """`others`: the patterns in the chosen bins but the first of each, rising; `having`: how many entries each has.

        A few bins at a time, the largest magnitudes first: what 32-bit models have in all of them would not fit the
        cache.
        """
        chosen = self._coarse.chosen
        reached = np.searchsorted(others, chosen.astype(np.uint32) << LOW_BITS)
        upto, end = chosen.size, others.size
        while upto > 0:
            begin = min(int(np.searchsorted(reached, max(0, end - TOGETHER))), upto - 1)
            start = int(reached[begin])
            self._tell_bins(slice(begin, upto), others[start:end], having[start:end])
            upto, end = begin, start

    def _tell_bins(self, bins: slice, others: Array, having: Array) -> None:
        """A pattern with a others above it and e entries of its own survives whole from the first density that keeps
        a + e, and in part from the first that keeps a + 1. Where these are the same density it has one level; else it
        is a tie, unless all equals are kept together.
        """
        chosen, counted = self._coarse.chosen[bins], self._coarse.chosen_first[bins]
        occur = counted > 0
        patterns = np.r_[chosen[occur] << int(LOW_BITS), others.astype(np.int64)]
        order = np.argsort(-patterns)  # the largest first
        patterns = patterns[order]
        if not patterns.size:
            return
        counts = np.r_[counted[occur], having.astype(np.int64)][order]
        top = patterns >> int(LOW_BITS)
        # Entries above a pattern: those in larger bins, and those in its own that are larger.
        within = np.cumsum(counts) - counts
        opens = np.r_[True, top[1:] != top[:-1]] if top.size else np.zeros(0, bool)
        before = self._coarse.chosen_before[bins][np.searchsorted(chosen, top)] + within
        before -= np.maximum.accumulate(np.where(opens, within, 0))
        through = before + counts
        begins = np.searchsorted(self._kept, before + 1)  # the first density at which one of them survives
        ends = np.searchsorted(self._kept, through)  # … at which all do
        zero = patterns == 0
        codes = np.where(zero, NEVER, np.minimum(begins if self._keep_equal else ends, NEVER))
        for k in [] if self._keep_equal else np.flatnonzero((begins < ends) & ~zero).tolist():
            codes[k] = TIED + len(self.ties)
            tie = tie_of(int(patterns[k]), int(before[k]), int(counts[k]), self._kept, int(begins[k]))
            self.ties.append(tie)
        low = patterns & int(LOW_MASK)
        self._first[top[low == 0]] = codes[low == 0]
        self._inner[self._slot[top[low > 0]], low[low > 0]] = codes[low > 0]
        cut = np.unique(self._kept[(self._kept > before[:1]) & (self._kept <= through[-1:])])
        for k, at in zip(cut.tolist(), np.searchsorted(through, cut).tolist(), strict=True):
            equal = int(counts[at])
            self.thresholds[k] = Threshold(int(patterns[at]), equal, k - int(through[at]) + equal)


def tie_of(pattern: int, before: int, count: int, kept: Array, level: int) -> Tie:
    """How the `count` entries of a magnitude survive, of which `before` are larger, from `level` on."""
    steps, dealt, gone = [], [], 0
    for through in kept[level:].tolist():
        reached = min(through - before, count)
        if reached > gone:
            steps.append(level)
            dealt.append(reached - gone)
        gone, level = reached, level + 1
        if gone == count:
            return Tie(pattern, tuple(steps), tuple(dealt[:-1]))
    return Tie(pattern, (*steps, NEVER), tuple(dealt))
