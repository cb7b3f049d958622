"""Tables that say from which density on an entry survives, for all densities of the grid at once.

With ρ the rank of |τ| within its trim scope, an entry survives at density q once q keeps at least ρ entries. Two
counting passes find the exact thresholds of all 100 densities; nothing is sampled or rounded.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from merge_core.kernels import onset, rank
from merge_core.kernels.onset import COARSE, LEVELS, LOW_BITS, NEVER, TIED
from merge_core.methods.trimming import TrimRule
from merge_core.trim import Each
from merge_core.vectors import Piece, VectorReader

Array = np.ndarray[Any, np.dtype[Any]]

DENSITIES = tuple(j / LEVELS for j in range(1, LEVELS + 1))


@dataclass(frozen=True)
class LevelTable:
    """One model's thresholds at every density of the grid; see `kernels.onset.levels` for the arrays.

    Args:
        coarse, slots, fine, steps: as the kernel reads them.
        dealt: int64 [ties, s], how many of a tie's entries survive anew at each of its steps.
        patterns: uint32 [ties], the magnitude each tie stands for.
    """

    coarse: Array
    slots: Array
    fine: Array
    steps: Array
    dealt: Array
    patterns: Array


def measure_levels(
    rule: TrimRule, reader: VectorReader, pieces: Sequence[Piece], each: Each[Any]
) -> list[LevelTable]:
    """One table per model over the scope made of `pieces`."""
    entries = sum(p.size for p in pieces)
    kept = np.array([min(entries, rule.kept(entries, q)) for q in DENSITIES], np.int64)
    models = len(rule.density)
    coarse = _sum_over(
        each,
        pieces,
        lambda: np.zeros((models, COARSE), np.int64),
        lambda piece, table: _count_coarse(reader, piece, table),
    )
    slots = np.full((models, COARSE), -1, np.int16)
    rows = 1
    for m in range(models):
        bins = np.unique(_coarse_bins(coarse[m], kept))
        slots[m, bins] = np.arange(bins.size)
        rows = max(rows, bins.size)
    fine = _sum_over(
        each,
        pieces,
        lambda: np.zeros((models, rows, 1 << int(LOW_BITS)), np.int64),
        lambda piece, table: _count_fine(reader, piece, slots, table),
    )
    return [_table(coarse[m], slots[m], fine[m], kept, rule.keep_equal) for m in range(models)]


def _sum_over(each: Each[Any], pieces: Sequence[Piece], zeros: Any, add: Any) -> Array:
    """Σ over pieces of what `add(piece, table)` adds to a table of the thread's own."""
    own = threading.local()
    tables: list[Array] = []

    def run(piece: Piece) -> None:
        if not hasattr(own, "table"):
            own.table = zeros()
            tables.append(own.table)
        add(piece, own.table)

    each(run, pieces)
    total = tables[0]
    for table in tables[1:]:
        total += table
    return total


def _count_coarse(reader: VectorReader, piece: Piece, table: Array) -> None:
    for chunk in reader.chunks(piece):
        for m, row in enumerate(table):
            rank.count_bracket(chunk.vectors[m], np.uint32(0), LOW_BITS, row)


def _count_fine(reader: VectorReader, piece: Piece, slots: Array, table: Array) -> None:
    for chunk in reader.chunks(piece):
        for m, row in enumerate(table):
            onset.count_fine(chunk.vectors[m], slots[m], row)


def _coarse_bins(counts: Array, kept: Array) -> Array:
    """The coarse bins in which the kept-th largest magnitudes lie, for every kept > 0."""
    from_top = np.cumsum(counts[::-1])
    wanted = kept[kept > 0]
    return counts.size - 1 - np.searchsorted(from_top, wanted)


def _table(coarse: Array, slots: Array, fine: Array, kept: Array, keep_equal: bool) -> LevelTable:
    """Turn counts of patterns into the level of each pattern.

    A pattern with a others above it and e entries of its own survives whole from the first density that keeps a + e,
    and in part from the first that keeps a + 1. Where these are the same density it has one level; else it is a tie, unless
    all equals are kept together.
    """
    from_top = np.cumsum(coarse[::-1])[::-1]  # entries in this bin and above
    above = from_top - coarse
    whole = np.searchsorted(kept, from_top)  # first density that keeps all of a bin; LEVELS where none does
    coarse_level = np.minimum(whole, NEVER).astype(np.uint8)
    fine_level = np.full(fine.shape, NEVER, np.uint8)
    steps: list[list[int]] = []
    dealt: list[list[int]] = []
    patterns: list[int] = []
    for top in np.flatnonzero(slots >= 0):
        counts = fine[slots[top]]
        through = above[top] + np.cumsum(counts[::-1])[::-1]  # entries at this pattern and above
        before = through - counts
        begins = np.searchsorted(kept, before + 1)  # the first density at which one of them survives
        ends = np.searchsorted(kept, through)  # … at which all do
        row = np.minimum(begins if keep_equal else ends, NEVER).astype(np.uint8)
        if not keep_equal:
            for low in np.flatnonzero((begins < ends) & (counts > 0)):
                row[low] = TIED + len(steps)
                levels = range(int(begins[low]), min(int(ends[low]) + 1, LEVELS))
                reached = np.minimum(kept[list(levels)] - before[low], counts[low])
                steps.append(list(levels))
                dealt.append(np.diff(reached, prepend=0).tolist())
                patterns.append((int(top) << int(LOW_BITS)) + int(low))
        fine_level[slots[top]] = row
    width = max((len(s) for s in steps), default=1)
    return LevelTable(
        coarse=coarse_level,
        slots=slots,
        fine=fine_level,
        steps=np.array([s + [NEVER] * (width - len(s)) for s in steps] or [[NEVER]], np.uint8),
        dealt=np.array([d + [0] * (width - len(d)) for d in dealt] or [[0]], np.int64),
        patterns=np.array(patterns, np.uint32),
    )
