"""The levels of a scope's entries, span after span in index order; see `levels`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from merge_core.interference.levels import LevelTables, kept_at_each, largest_first
from merge_core.interference.stretches import MOST_OF_SCOPE, Stretches, spans_each
from merge_core.kernels.coarse import LOW_BITS, LOW_MASK
from merge_core.kernels.dtypes import MAGNITUDE
from merge_core.kernels.levels import (
    CODES,
    TIED,
    Levels,
    advance,
    deal_inner,
    deal_watched,
    look_up,
    scan_codes,
)
from merge_core.kernels.onset import NEVER
from merge_core.methods.trimming import TrimRule
from merge_core.streaming.pieces import Piece
from merge_core.streaming.vectors import Span, VectorReader

Array = np.ndarray[Any, np.dtype[Any]]

NOTHING_KNOWN = np.zeros((0, 0), np.uint8)
ENDLESS = np.iinfo(np.int64).max
NO_TIE = MAGNITUDE + np.uint32(1)  # a pattern that no magnitude has
# What levels would be looked up in, were they not known.
NO_TABLES = Levels(
    np.zeros((0, 0), np.uint8),
    np.zeros((0, 0), np.int16),
    np.zeros((0, 0, 0), np.uint8),
    *(np.zeros((0, 0), kind) for kind in (np.uint32, np.int64, np.uint8, np.int64, np.int64)),
    *(np.zeros((0, 0, 0), kind) for kind in (np.uint8, np.int64)),
)


def tie_patterns(tables: LevelTables) -> Array:
    """The bits of each tie's magnitude, uint32 [models, ties], at least one column; NO_TIE where a model has fewer."""
    most = max(1, max(len(own) for own in tables.ties))
    found = np.full((len(tables.ties), most), NO_TIE, np.uint32)
    for m, own in enumerate(tables.ties):
        found[m, : len(own)] = [tie.pattern for tie in own]
    return found


def count_ties(tables: LevelTables, reader: VectorReader, pieces: Sequence[Piece], entries: int) -> Stretches:
    """How many entries of each tie there are in consecutive pieces of a tensor.

    Args:
        tables: of the scope.
        reader: reads the pieces.
        pieces: which.
        entries: of all that is counted like this and kept, which decides how long a stretch is.
    """
    each = spans_each(entries, MOST_OF_SCOPE)
    models, ties = tie_patterns(tables).shape
    kept: list[Array] = []
    counts = np.zeros((models, CODES), np.int64)
    spans = ((piece, span) for piece in pieces for span in reader.spans(piece))
    for number, (piece, span) in enumerate(spans if any(tables.ties) else ()):
        if number % each == 0:
            kept.append(np.zeros((models, ties), np.uint32))
        counts[:] = 0
        top = scan_codes(*span.where, tables.first, tables.slot, tables.inner, counts)
        reader.require_finite(top, piece.tensor, span.start, span.stop)
        kept[-1] += counts[:, TIED : TIED + ties].astype(np.uint32)
    return Stretches(np.array(kept, np.uint32).reshape(-1, models, ties), each)


class TableLevels:
    """Levels looked up in tables, span after span in index order.

    Args:
        tables: of the scope.
        stretches: what is known of how many entries of each tie come when.
        before: int64 [models, ties], entries of each tie in what comes before the first span of the scope that is asked
            for; None where nothing does.
    """

    def __init__(self, tables: LevelTables, stretches: Stretches, before: Array | None = None) -> None:
        self._stretches = stretches
        self._asked = 0
        pattern = tie_patterns(tables)
        width = 1 + max((len(tie.steps) for own in tables.ties for tie in own), default=0)
        steps = np.full((*pattern.shape, width), NEVER, np.uint8)
        dealt = np.full((*pattern.shape, width), ENDLESS, np.int64)
        first = tables.first.copy()
        for m, own in enumerate(tables.ties):
            for k, tie in enumerate(own):
                steps[m, k, : len(tie.steps)] = tie.steps
                dealt[m, k, : len(tie.dealt)] = tie.dealt
                if tie.pattern & LOW_MASK == 0:
                    first[m, tie.pattern >> LOW_BITS] = tie.steps[0]
        self._sole = (pattern != NO_TIE) & (pattern & LOW_MASK == 0)  # ties of first patterns
        self._levels = Levels(
            first,
            tables.slot,
            tables.inner,
            pattern,
            watched=np.full(pattern.shape, -1, np.int64),
            now=steps[:, :, 0].copy(),
            left=dealt[:, :, 0].copy(),
            at=np.zeros(pattern.shape, np.int64),
            steps=steps,
            dealt=dealt,
        )
        if before is not None:
            for m, k in np.argwhere(before > 0).tolist():
                advance(m, k, before[m, k], self._levels)

    def told(self, span: Span) -> tuple[Levels, Array]:
        """What `scan_tally` is told of the next span: where to look up its levels."""
        self._turn()
        return self._levels, NOTHING_KNOWN

    def of(self, vectors: Array, sign: Array) -> Array:
        """Levels of the next span, float32 [models, n] → uint8 [models, n]; `sign` see `Voting`."""
        self._turn()
        t = self._levels
        level = np.full(vectors.shape, NEVER, np.uint8)
        for m in np.flatnonzero(sign).tolist():
            if look_up(vectors[m], t.first[m], t.slot[m], t.inner[m], level[m]):
                deal_inner(m, t, level[m])
            deal_watched(vectors[m], m, t, level[m])
        return level

    def _turn(self) -> None:
        """Deal out at once what a stretch holds of ties that cannot reach their next step in it; watch the others."""
        number, into = divmod(self._asked, self._stretches.spans)
        self._asked += 1
        if into or not self._sole.any():
            return
        counts, t = self._stretches.counts[number], self._levels
        near = self._sole & (counts >= t.left)
        far = self._sole & ~near
        t.left[far] -= counts[far]
        t.watched[:] = -1
        for m, row in enumerate(near):
            watched = np.flatnonzero(row)
            t.watched[m, : watched.size] = watched


class SortedLevels:
    """Levels of a small scope, by sorting it: the definition itself."""

    def __init__(self, rule: TrimRule, vectors: Array) -> None:
        entries = vectors.shape[1]
        level_of_rank = np.searchsorted(kept_at_each(rule, entries), np.arange(1, entries + 1)).astype(
            np.uint8
        )
        self._levels = np.empty(vectors.shape, np.uint8)
        for m, row in enumerate(vectors.view(np.uint32) & MAGNITUDE):
            order = largest_first(row)
            rank = np.arange(entries)
            if rule.keep_equal:
                rank[1:][row[order[1:]] == row[order[:-1]]] = 0
                rank = np.maximum.accumulate(rank)
            self._levels[m, order] = level_of_rank[rank]
            self._levels[m, row == 0] = NEVER

    def told(self, span: Span) -> tuple[Levels, Array]:
        """What `scan_tally` is told of a span: levels that it need not look up."""
        return NO_TABLES, np.ascontiguousarray(self._levels[:, span.start : span.stop])
