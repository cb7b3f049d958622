"""Exact trim thresholds: the k-th largest |τ| of each model within a scope, in memory that does not grow with the model.

A sample says where the threshold probably lies; one pass over the weights counts the bit patterns around it and, where the
sample misled or the bracket was too wide, further passes narrow it down (see `kernels.rank`). The sample saves time and
never decides anything.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from merge_core.kernels import rank
from merge_core.kernels.dtypes import MAGNITUDE
from merge_core.methods.trimming import Trimmed, TrimRule
from merge_core.vectors import Chunk, Piece, VectorReader

Array = np.ndarray[Any, np.dtype[Any]]
Result = TypeVar("Result")
# Applies a function to every piece, in any order, perhaps on several threads; answers in the pieces' order.
Each = Callable[[Callable[[Piece], Result], Sequence[Piece]], list[Result]]

PATTERNS = int(MAGNITUDE) + 1  # magnitudes of float32, infinities and NaNs included
BINS = 1 << 18  # of a bracket that a sample chose: wide enough for one pass, most of it never touched
FEW_BINS = 1 << 11  # of a bracket in a small scope, where a further pass costs less than clearing bins
SMALL_SCOPE = 1 << 16  # entries
SAMPLE_STRIPS = 256
SAMPLE_STRIP = 64
NONE_KEPT = np.uint32(MAGNITUDE)  # above every finite magnitude


@dataclass(frozen=True)
class Threshold:
    """What survives of one model's task vector within a scope.

    Args:
        pattern: the bits of the smallest surviving |τ|.
        equal: how many entries have exactly this magnitude.
        equal_kept: how many of those survive, lowest index first; equal to `equal` where all do.
    """

    pattern: int
    equal: int
    equal_kept: int


@dataclass(frozen=True)
class _Bracket:
    """Bit patterns low … low + bins·2^shift − 1, among which a threshold is looked for."""

    low: int
    shift: int
    bins: int

    @property
    def end(self) -> int:
        return self.low + (self.bins << self.shift)


def _bracket(low: int, end: int, bins: int) -> _Bracket:
    """The bracket of at most `bins` bins (a power of two) that covers the patterns low … end − 1, or a few more."""
    shift = max(0, (end - low - 1).bit_length() - bins.bit_length() + 1)
    return _Bracket(low, shift, -(-(end - low) >> shift))


def find_thresholds(
    rule: TrimRule, reader: VectorReader, pieces: Sequence[Piece], each: Each[Any]
) -> list[Threshold]:
    """The threshold of every model over the scope made of `pieces`.

    Args:
        rule: how many entries a model keeps.
        reader: reads the pieces.
        pieces: the whole scope, in index order.
        each: runs a function over pieces.
    """
    entries = sum(p.size for p in pieces)
    wanted = [min(entries, rule.kept(entries, float(q))) for q in rule.density]
    found: list[Threshold | None] = [_trivial(k, entries) for k in wanted]
    bins = BINS if entries > SMALL_SCOPE else FEW_BINS
    brackets = {m: _bracket(0, PATTERNS, bins) for m, f in enumerate(found) if f is None}
    if brackets and entries > SMALL_SCOPE:
        brackets = _guess(brackets, wanted, entries, reader, pieces)
    while brackets:
        counts = _count(brackets, reader, pieces, each)
        for m, (above, counted) in counts.items():
            answer = _narrow(wanted[m], brackets[m], above, counted, bins)
            if isinstance(answer, Threshold):
                found[m] = replace(answer, equal_kept=answer.equal) if rule.keep_equal else answer
                del brackets[m]
            else:
                brackets[m] = answer
    return [f for f in found if f is not None]


def _count(
    brackets: dict[int, _Bracket], reader: VectorReader, pieces: Sequence[Piece], each: Each[Any]
) -> dict[int, tuple[int, Array]]:
    """Per model: how many magnitudes lie above its bracket, and how many in each bin of it (int64)."""
    searched = dict(brackets)
    own = threading.local()
    tables: list[dict[int, tuple[Array, Array]]] = []  # one per thread, so that none waits for another

    def count(piece: Piece) -> None:
        if not hasattr(own, "table"):
            own.table = {m: (np.zeros(1, np.int64), np.zeros(b.bins, np.int64)) for m, b in searched.items()}
            tables.append(own.table)
        for chunk in reader.chunks(piece):
            for m, b in searched.items():
                above, bins = own.table[m]
                above += rank.count_bracket(chunk.vectors[m], np.uint32(b.low), np.uint32(b.shift), bins)

    each(count, pieces)
    return {m: (sum(int(t[m][0][0]) for t in tables), sum(t[m][1] for t in tables)) for m in searched}


def _trivial(kept: int, entries: int) -> Threshold | None:
    if kept <= 0:
        return Threshold(int(NONE_KEPT), 0, 0)
    return Threshold(0, 0, 0) if kept >= entries else None


def _guess(
    brackets: dict[int, _Bracket],
    wanted: list[int],
    entries: int,
    reader: VectorReader,
    pieces: Sequence[Piece],
) -> dict[int, _Bracket]:
    """Brackets in which the thresholds lie with near certainty, from a fixed sample of the scope."""
    samples: dict[int, list[Array]] = {m: [] for m in brackets}
    step = entries / SAMPLE_STRIPS
    strip = 0
    seen = 0
    for piece in pieces:
        while strip < SAMPLE_STRIPS and (strip + 0.5) * step < seen + piece.size:
            start = min(piece.start + int((strip + 0.5) * step) - seen, piece.stop - 1)
            sample = Piece(piece.tensor, start, min(start + SAMPLE_STRIP, piece.stop))
            for chunk in reader.chunks(sample):
                for m, taken in samples.items():
                    taken.append(chunk.vectors[m].view(np.uint32) & MAGNITUDE)
            strip += 1
        seen += piece.size
    guessed = {}
    for m in brackets:
        patterns = np.sort(np.concatenate(samples[m]))[::-1]
        share = wanted[m] / entries
        # Eight standard deviations of a binomial count: neighbours within a strip are not independent.
        slack = 8 * math.sqrt(patterns.size * share * (1 - share)) + 8
        first = int(share * patterns.size - slack)
        last = int(share * patterns.size + slack)
        high = int(patterns[first]) if first >= 0 else PATTERNS - 1
        low = int(patterns[last]) if last < patterns.size else 0
        guessed[m] = _bracket(low, high + 1, BINS)
    return guessed


def _narrow(wanted: int, bracket: _Bracket, above: int, bins: Array, finest: int) -> Threshold | _Bracket:
    """What counting a bracket taught: the threshold, or the smaller bracket it must lie in."""
    if wanted <= above:
        return _bracket(bracket.end, PATTERNS, finest)
    from_top = above + np.cumsum(bins[::-1])
    if wanted > from_top[-1]:
        return _bracket(0, bracket.low, finest)
    steps = int(np.searchsorted(from_top, wanted))
    index = bins.size - 1 - steps
    low = bracket.low + (index << bracket.shift)
    if bracket.shift:
        return _bracket(low, min(low + (1 << bracket.shift), PATTERNS), finest)
    equal = int(bins[index])
    return Threshold(low, equal, wanted - (int(from_top[steps]) - equal))


class Cut:
    """Where a piece's entries that equal the threshold stop surviving, as the piece is read from its start.

    Args:
        thresholds: one per model.
        before: per model, how many entries equal to the threshold lie in the scope before this piece.
    """

    def __init__(self, thresholds: Sequence[Threshold], before: Sequence[int]) -> None:
        self._patterns = [t.pattern for t in thresholds]
        self._all = [t.equal_kept >= t.equal for t in thresholds]
        self._left = [t.equal_kept - b for t, b in zip(thresholds, before, strict=True)]

    def segments(self, vectors: Array) -> Iterable[tuple[int, int, Array]]:
        """(start, stop, threshold uint32 [models]) runs of a chunk within which one threshold per model holds."""
        n = vectors.shape[1]
        least = np.array(self._patterns, np.uint32)
        ends: dict[int, list[int]] = {}
        for m, pattern in enumerate(self._patterns):
            if self._all[m]:
                continue
            if self._left[m] <= 0:
                least[m] += 1
                continue
            equal = int(rank.count_equal(vectors[m], np.uint32(pattern)))
            if equal > self._left[m]:
                last = int(rank.nth_equal(vectors[m], np.uint32(pattern), self._left[m]))
                ends.setdefault(last + 1, []).append(m)
            self._left[m] -= equal
        start = 0
        for end in sorted(ends):
            if end > start:
                yield start, end, least.copy()
            for m in ends[end]:
                least[m] += 1
            start = end
        if start < n:
            yield start, n, least


def equals_before(
    thresholds: Sequence[Threshold], reader: VectorReader, pieces: Sequence[Piece], each: Each[Any]
) -> list[list[int]]:
    """Per piece and model, how many entries equal to the threshold lie in the pieces before it."""
    cut = [m for m, t in enumerate(thresholds) if t.equal_kept < t.equal]
    if len(pieces) == 1 or not cut:
        return [[0] * len(thresholds) for _ in pieces]

    def count(piece: Piece) -> list[int]:
        found = [0] * len(thresholds)
        for chunk in reader.chunks(piece):
            for m in cut:
                found[m] += int(rank.count_equal(chunk.vectors[m], np.uint32(thresholds[m].pattern)))
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


def measure_trim(rule: TrimRule, reader: VectorReader, pieces: Sequence[Piece], each: Each[Any]) -> ScopeTrim:
    """Measure everything that `rule` asks for over the scope made of `pieces`."""
    thresholds = find_thresholds(rule, reader, pieces, each)
    before = dict(zip(pieces, equals_before(thresholds, reader, pieces, each), strict=True))
    zero = np.zeros(len(thresholds))
    patterns = np.array([t.pattern for t in thresholds], np.uint32)
    scope = ScopeTrim(tuple(thresholds), before, Trimmed(patterns, zero, zero, zero))
    if rule.moments:
        scope = replace(scope, trimmed=_moments(scope, reader, pieces, each))
    if rule.votes is not None:
        votes = rule.votes
        tallies = each(
            lambda piece: sum(votes(v, t) for _, _, v, t in trimmed_segments(scope, reader, piece)), pieces
        )
        scope = replace(scope, trimmed=replace(scope.trimmed, majority=int(np.sign(sum(tallies)))))
    return scope


def trimmed_segments(
    scope: ScopeTrim, reader: VectorReader, piece: Piece
) -> Iterable[tuple[Chunk, int, Array, Trimmed]]:
    """(chunk, where a run of it starts, the run's task vectors, Trimmed with its thresholds), over `piece` in order."""
    cut = Cut(scope.thresholds, scope.before[piece])
    for chunk in reader.chunks(piece):
        n = chunk.vectors.shape[1]
        for start, stop, least in cut.segments(chunk.vectors):
            whole = start == 0 and stop == n
            vectors = chunk.vectors if whole else np.ascontiguousarray(chunk.vectors[:, start:stop])
            yield chunk, start, vectors, replace(scope.trimmed, threshold=least)


def _moments(scope: ScopeTrim, reader: VectorReader, pieces: Sequence[Piece], each: Each[Any]) -> Trimmed:
    """Σ|τ|, Σ|τ̂| and Σ τ̂² per model; exactly rounded sums of per-chunk sums, whatever the threads and pieces were."""

    def sums(piece: Piece) -> list[Array]:
        rows: dict[int, Array] = {}
        for chunk, _, vectors, trimmed in trimmed_segments(scope, reader, piece):
            wide = np.abs(vectors.astype(np.float64))
            kept = np.where((vectors.view(np.uint32) & MAGNITUDE) >= trimmed.threshold[:, None], wide, 0.0)
            row = np.stack([wide.sum(1), kept.sum(1), (kept * kept).sum(1)])
            rows[chunk.start] = rows[chunk.start] + row if chunk.start in rows else row
        return list(rows.values())

    table = [row for rows in each(sums, pieces) for row in rows]
    models = len(scope.thresholds)
    totals = np.array([[math.fsum(row[k][m] for row in table) for m in range(models)] for k in range(3)])
    return replace(scope.trimmed, mass=totals[0], kept_mass=totals[1], kept_energy=totals[2])
