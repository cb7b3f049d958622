"""What a trim leaves of each task vector, piece by piece: all above the threshold, and some of what equals it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from merge_core.kernels import moments
from merge_core.methods.trimming import Trimmed
from merge_core.streaming.cut import Cut, Threshold
from merge_core.streaming.pieces import Piece
from merge_core.streaming.pool import Each
from merge_core.streaming.vectors import Chunk, VectorReader
from merge_core.trimming.thresholds import Ranking

SUMMED = (
    1 << 16
)  # entries whose sums are rounded together: part of what a result means, as the size of a chunk is not

Array = np.ndarray[Any, np.dtype[Any]]


def equals_before(
    thresholds: Sequence[Threshold], reader: VectorReader, pieces: Sequence[Piece], each: Each[Any]
) -> list[list[int]]:
    """Per piece and model, how many entries equal to the threshold lie in the pieces before it."""
    cut = [m for m, t in enumerate(thresholds) if t.equal_kept < t.equal]
    if len(pieces) == 1 or not cut:
        return [[0] * len(thresholds) for _ in pieces]

    patterns = np.array([t.pattern for t in thresholds], np.uint32)

    def count(piece: Piece) -> Array:
        found = np.zeros(len(thresholds), np.int64)
        reader.scan_equals(piece, patterns, found)
        return found

    counts = np.array(each(count, pieces))
    before: list[list[int]] = (np.cumsum(counts, axis=0) - counts).tolist()
    return before


@dataclass(frozen=True)
class ScopeTrim:
    """A measured trim of one scope: what every piece of it needs to know.

    Args:
        thresholds: one per model.
        before: piece → per model, entries equal to the threshold in the pieces before it.
        trimmed: what the method is told (its `threshold` is replaced segment by segment).
    """

    thresholds: tuple[Threshold, ...]
    before: dict[Piece, list[int]]
    trimmed: Trimmed


def untold(patterns: Array) -> Trimmed:
    """What a method is told where its rule asks for thresholds alone: uint32 [models]."""
    zero = np.zeros(patterns.size)
    return Trimmed(patterns, zero, zero, zero)


def measure_trim(ranking: Ranking, each: Each[Any]) -> ScopeTrim:
    """Measure everything that a rule asks for over a scope; `each` runs a function over pieces."""
    rule, reader, pieces = ranking.rule, ranking.reader, ranking.pieces
    thresholds = ranking.find(each)
    before = dict(zip(pieces, equals_before(thresholds, reader, pieces, each), strict=True))
    patterns = np.array([t.pattern for t in thresholds], np.uint32)
    trim = ScopeTrim(tuple(thresholds), before, untold(patterns))
    if rule.moments:
        trim = replace(trim, trimmed=_moments(trim, reader.on_processor, pieces, each))
    if rule.votes is not None:
        votes = rule.votes
        tallies = each(
            lambda piece: sum(votes(v, t) for _, _, v, t in trimmed_segments(trim, reader, piece)), pieces
        )
        trim = replace(trim, trimmed=replace(trim.trimmed, majority=int(np.sign(sum(tallies)))))
    return trim


def trimmed_segments(
    scope: ScopeTrim, reader: VectorReader, piece: Piece
) -> Iterable[tuple[Chunk, int, Array, Trimmed]]:
    """(chunk, where a run of it starts, the run's task vectors, Trimmed with its thresholds), over `piece` in order."""
    cut = Cut(scope.thresholds, scope.before[piece])
    for chunk in reader.chunks(piece):
        for start, vectors, least in reader.cut(cut, chunk.vectors):
            yield chunk, start, vectors, replace(scope.trimmed, threshold=least)


def segments_of(
    trim: ScopeTrim | None, reader: VectorReader, piece: Piece
) -> Iterable[tuple[Array | None, Array, Trimmed | None]]:
    """(base's entries or None, vectors, how they are trimmed or None) of consecutive runs of a piece."""
    if trim is None:
        for chunk in reader.chunks(piece):
            yield chunk.base, chunk.vectors, None
        return
    for chunk, start, vectors, trimmed in trimmed_segments(trim, reader, piece):
        base = None if chunk.base is None else chunk.base[start : start + vectors.shape[1]]
        yield base, vectors, trimmed


def _moments(scope: ScopeTrim, reader: VectorReader, pieces: Sequence[Piece], each: Each[Any]) -> Trimmed:
    """Σ|τ|, Σ|τ̂| and Σ τ̂² per model; exactly rounded sums of blocks' sums, whatever the threads and pieces were."""
    models = len(scope.thresholds)

    def sums(piece: Piece) -> list[Array]:
        rows: dict[int, Array] = {}
        for chunk, first, vectors, trimmed in trimmed_segments(scope, reader, piece):
            begin = chunk.start + first
            end = begin + vectors.shape[1]
            edges = [begin, *range(begin // SUMMED * SUMMED + SUMMED, end, SUMMED), end]
            for start, stop in pairwise(edges):
                part = np.ascontiguousarray(vectors[:, start - begin : stop - begin])
                row = rows.setdefault(start // SUMMED, np.zeros((3, models)))
                moments.add_moments(part, trimmed.threshold, row)
        return list(rows.values())

    table = [row for rows in each(sums, pieces) for row in rows]
    totals = np.array([[math.fsum(row[k, m] for row in table) for m in range(models)] for k in range(3)])
    return replace(scope.trimmed, mass=totals[0], kept_mass=totals[1], kept_energy=totals[2])
