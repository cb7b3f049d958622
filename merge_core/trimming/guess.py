"""One sweep instead of two: merge by thresholds that a sample makes likely, count on the way, and mend what was wrong.

Task vectors of 16-bit models have few distinct magnitudes. So a sample nearly always tells which of them is the
threshold; of those that equal it, it tells only roughly where the last one lies that survives. One sweep merges as
guessed and counts exactly, chunk by chunk. The counts then say whether the magnitude was right, which they decide and
not the sample, and which chunks lie between the guessed and the true end of the surviving equals: those are merged
again.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from merge_core.kernels import rank
from merge_core.methods.trimming import Trimmed
from merge_core.streaming.cut import Threshold
from merge_core.streaming.pieces import Piece
from merge_core.streaming.pool import Each
from merge_core.streaming.vectors import Chunk, VectorReader
from merge_core.trimming.thresholds import Ranking
from merge_core.trimming.trim import ScopeTrim, untold

Array = np.ndarray[Any, np.dtype[Any]]

# A larger scope is ranked first: until a guess has proved right, a killed merge has nothing to continue from.
MOST_ENTRIES = 1 << 32


@dataclass(frozen=True)
class Guess:
    """Likely thresholds of a scope.

    Args:
        patterns: uint32 [models], the bits of the smallest surviving |τ|.
        ends: int64 [models]; equals survive in so many first entries of the scope.
        position: piece → how many entries of the scope come before it.
    """

    patterns: Array
    ends: Array
    position: dict[Piece, int]


@dataclass(frozen=True)
class Counted:
    """A chunk's first entry within its tensor; int64 [2, models], its entries above the patterns and equal to them."""

    start: int
    found: Array


def guess_thresholds(ranking: Ranking) -> Guess | None:
    """What a sample makes likely; None where it leaves that open, or where the thresholds are known."""
    if ranking.any_known or not ranking.sampled or ranking.entries > MOST_ENTRIES:
        return None
    patterns, ends = [], []
    for ordered, wanted in zip(ranking.sample, ranking.wanted, strict=True):
        size, share = ordered.size, wanted / ranking.entries
        rank_sought = share * size
        pattern = ordered[size - 1 - min(int(rank_sought), size - 1)]
        through = size - int(np.searchsorted(ordered, pattern, side="left"))
        above = size - int(np.searchsorted(ordered, pattern, side="right"))
        deviation = math.sqrt(size * share * (1 - share))  # of the sample's rank
        if not above + deviation <= rank_sought <= through - deviation:
            return None
        part = 1.0 if ranking.rule.keep_equal else (rank_sought - above) / (through - above)
        patterns.append(pattern)
        ends.append(round(part * ranking.entries))
    sizes = [p.size for p in ranking.pieces]
    position = dict(zip(ranking.pieces, (np.cumsum(sizes) - sizes).tolist(), strict=True))
    return Guess(np.array(patterns, np.uint32), np.array(ends, np.int64), position)


def guessed_chunks(
    guess: Guess, reader: VectorReader, piece: Piece, counts: list[Counted]
) -> Iterator[tuple[Chunk, Trimmed]]:
    """(chunk, as what it is trimmed), over `piece` in order.

    Args:
        guess: for the scope of `piece`.
        reader: reads it.
        piece: which.
        counts: gets what each chunk holds.
    """
    trimmed = untold(guess.patterns)
    for chunk in reader.chunks(piece):
        found = np.zeros((2, guess.patterns.size), np.int64)
        rank.count_around(chunk.vectors, guess.patterns, found)
        counts.append(Counted(chunk.start, found))
        dropped = guess.position[piece] + chunk.start - piece.start >= guess.ends
        yield chunk, replace(trimmed, threshold=guess.patterns + dropped)


def vote_by_guess(ranking: Ranking, each: Each[Any]) -> ScopeTrim | None:
    """A trim whose majority was counted in the same sweep as the thresholds that a sample made likely.

    Args:
        ranking: what is sought; learns the thresholds.
        each: runs a function over pieces.

    Returns:
        None where the rule asks for anything else than a majority, or the guess was open or wrong.
    """
    votes, reader = ranking.rule.votes, ranking.reader
    told = votes is not None and not ranking.rule.moments and reader.on_processor is reader
    guess = guess_thresholds(ranking) if told else None
    if guess is None or votes is None:
        return None

    def count(piece: Piece) -> tuple[list[Counted], int]:
        counts: list[Counted] = []
        signs = sum(votes(c.vectors, t) for c, t in guessed_chunks(guess, reader, piece, counts))
        return counts, signs

    found = each(count, ranking.pieces)
    settled = settle(guess, ranking, [counts for counts, _ in found])
    if settled is None or settled[1]:  # votes of entries that do not survive were counted
        return None
    trim, _ = settled
    majority = int(np.sign(sum(signs for _, signs in found)))
    return replace(trim, trimmed=replace(trim.trimmed, majority=majority))


def settle(
    guess: Guess, ranking: Ranking, counts: Sequence[list[Counted]]
) -> tuple[ScopeTrim, list[Piece]] | None:
    """(the true trim, the parts that must be merged again), or None where a guessed magnitude was wrong.

    Args:
        guess: as merged.
        ranking: what was sought; learns the thresholds.
        counts: per piece, from `guessed_chunks`.
    """
    models = guess.patterns.size
    table = np.array([chunk.found for piece in counts for chunk in piece], np.int64).reshape(-1, 2, models)
    above, equal = table.sum(axis=0)
    wanted = np.array(ranking.wanted)
    if np.any(wanted <= above) or np.any(wanted > above + equal):
        return None
    exact = wanted - above
    for model, (pattern, equals, part) in enumerate(zip(guess.patterns, equal, exact, strict=True)):
        ranking.learn(model, Threshold(int(pattern), int(equals), int(part)))
    kept = equal if ranking.rule.keep_equal else exact
    through = np.cumsum(table[:, 1], axis=0)
    before = np.concatenate([through - table[:, 1], through[-1:]])
    thresholds = tuple(
        Threshold(int(p), int(e), int(k)) for p, e, k in zip(guess.patterns, equal, kept, strict=True)
    )
    trim = ScopeTrim(thresholds, {}, untold(guess.patterns))
    again = []
    at = 0
    for piece, chunks in zip(ranking.pieces, counts, strict=True):
        rows = slice(at, at + len(chunks))
        trim.before[piece] = before[at].tolist()
        starts = np.array([chunk.start for chunk in chunks], np.int64)
        survived = (guess.position[piece] + starts - piece.start)[:, None] < guess.ends
        right = np.where(survived, through[rows] <= kept, before[rows] >= kept) | (table[rows, 1] == 0)
        for first, last in _runs(~right.all(axis=1)):
            stop = piece.stop if last == len(chunks) else int(starts[last])
            part = replace(piece, start=int(starts[first]), stop=stop)
            trim.before[part] = before[at + first].tolist()
            again.append(part)
        at += len(chunks)
    return trim, again


def _runs(chosen: Array) -> Iterator[tuple[int, int]]:
    """(first, behind the last) of each run of true entries."""
    edges = np.flatnonzero(np.diff(np.r_[False, chosen, False].astype(np.int8)))
    yield from zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
