"""The levels of a scope's entries, chunk after chunk in index order; see `levels`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from merge_core.interference.levels import Dealer, LevelTable, kept_at_each
from merge_core.kernels import onset
from merge_core.kernels.dtypes import MAGNITUDE
from merge_core.methods.trimming import TrimRule
from merge_core.streaming.pieces import Piece
from merge_core.streaming.vectors import VectorReader

Array = np.ndarray[Any, np.dtype[Any]]


def any_ties(tables: Sequence[LevelTable]) -> bool:
    """Whether entries of one magnitude survive one after the other, so that what comes before a chunk counts."""
    return any(table.steps for table in tables)


def code_counts(tables: Sequence[LevelTable], reader: VectorReader, piece: Piece) -> Array:
    """Entries of a piece by code: int64 [models, CODES]."""
    found = np.zeros((len(tables), onset.CODES), np.int64)
    for chunk in reader.chunks(piece):
        for row, vectors, table in zip(found, chunk.vectors, tables, strict=True):
            onset.count_codes(vectors, table.where, table.codes, row)
    return found


class TableLevels:
    """Levels looked up in tables, chunk after chunk in index order.

    Args:
        tables: one per model.
        before: int64 [models, CODES], entries of the scope by code in what comes before the first chunk; None where no
            magnitude is cut, or nothing comes before.
    """

    def __init__(self, tables: Sequence[LevelTable], before: Array | None) -> None:
        self._dealers = [Dealer(table) for table in tables]
        for dealer, counts in zip(self._dealers, before if before is not None else (), strict=False):
            dealer.skip(counts)

    def of(self, vectors: Array, sign: Array) -> Array:
        """Levels of the next chunk, float32 [models, n] → uint8 [models, n]; `sign` see `Voting`."""
        level = np.empty(vectors.shape, np.uint8)
        for m, dealer in enumerate(self._dealers):
            dealer.levels(vectors[m], level[m])
            if sign[m] == 0:
                level[m] = onset.NEVER
        return level


class SortedLevels:
    """Levels of a small scope, by sorting it: the definition itself."""

    def __init__(self, rule: TrimRule, vectors: Array) -> None:
        entries = vectors.shape[1]
        level_of_rank = np.searchsorted(kept_at_each(rule, entries), np.arange(1, entries + 1)).astype(
            np.uint8
        )
        magnitudes = vectors.view(np.uint32) & MAGNITUDE
        self._levels = np.empty(vectors.shape, np.uint8)
        self._at = 0
        for m, row in enumerate(magnitudes):
            # Largest magnitude first, lowest index first among equals.
            keys = np.sort(
                (MAGNITUDE - row).astype(np.uint64) << np.uint64(32) | np.arange(entries, dtype=np.uint64)
            )
            order = (keys & np.uint64(0xFFFFFFFF)).astype(np.int64)
            rank = np.arange(entries)
            if rule.keep_equal:
                rank[1:][row[order[1:]] == row[order[:-1]]] = 0
                rank = np.maximum.accumulate(rank)
            self._levels[m, order] = level_of_rank[rank]
            self._levels[m, row == 0] = onset.NEVER

    def of(self, vectors: Array, sign: Array) -> Array:
        """As `TableLevels.of`."""
        n = vectors.shape[1]
        level = np.where(sign[:, None] == 0, onset.NEVER, self._levels[:, self._at : self._at + n])
        self._at += n
        return np.ascontiguousarray(level.astype(np.uint8))
