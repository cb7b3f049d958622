"""Exact trim thresholds: the k-th largest |τ| of each model within a scope, in memory that does not grow with it.

A sample says where the threshold probably lies; one pass over the weights counts the bit patterns around it and, where
the sample misled or the bracket was too wide, further passes narrow it down (see `kernels.rank`). The sample saves time
and never decides anything.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from merge_core.counters import Counters, count_over
from merge_core.kernels import moments, rank
from merge_core.kernels.dtypes import MAGNITUDE
from merge_core.methods.trimming import Trimmed, TrimRule
from merge_core.vectors import Chunk, Piece, VectorReader

if TYPE_CHECKING:
    from merge_core.known import KnownThresholds

Array = np.ndarray[Any, np.dtype[Any]]
Result = TypeVar("Result")
# Applies a function to every piece, in any order, perhaps on several threads; answers in the pieces' order.
Each = Callable[[Callable[[Piece], Result], Sequence[Piece]], list[Result]]

PATTERNS = int(MAGNITUDE) + 1  # magnitudes of float32, infinities and NaNs included
SMALL_SCOPE = 1 << 16  # entries; below this a sample is not worth its while …
FEW_BINS = 1 << 11  # … and a further pass costs less than clearing many counters
SAMPLE_STRIP = 64
MOST_STRIPS = 512
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
    rule: TrimRule,
    reader: VectorReader,
    pieces: Sequence[Piece],
    each: Each[Any],
    known: KnownThresholds,
    scope: int,
) -> list[Threshold]:
    """The threshold of every model over the scope made of `pieces`.

    Args:
        rule: how many entries a model keeps.
        reader: reads the pieces.
        pieces: the whole scope, in index order.
        each: runs a function over pieces.
        known, scope: where thresholds of this scope are looked up first, and kept.
    """
    entries = sum(p.size for p in pieces)
    wanted = [min(entries, rule.kept(entries, float(q))) for q in rule.density]
    found = [_trivial(k, entries) or known.get(m, scope, k) for m, k in enumerate(wanted)]
    bins = reader.budget.bins if entries > SMALL_SCOPE else FEW_BINS
    brackets = {m: _bracket(0, PATTERNS, bins) for m, f in enumerate(found) if f is None}
    if brackets and entries > SMALL_SCOPE:
        brackets = _guess(brackets, wanted, entries, reader, pieces, bins)
    while brackets:
        counts = _count(brackets, reader, pieces, each)
        for m, (above, counted) in counts.items():
            answer = _narrow(wanted[m], brackets[m], above, counted, bins)
            if isinstance(answer, Threshold):
                found[m] = answer
                known.add(m, scope, {wanted[m]: answer})
                del brackets[m]
            else:
                brackets[m] = answer
    thresholds = [f for f in found if f is not None]
    return [replace(t, equal_kept=t.equal) for t in thresholds] if rule.keep_equal else thresholds


def _count(
    brackets: dict[int, _Bracket], reader: VectorReader, pieces: Sequence[Piece], each: Each[Any]
) -> dict[int, tuple[int, Array]]:
    """Per model: how many magnitudes lie above its bracket, and how many in each bin of it."""
    models = max(brackets) + 1
    searched = [brackets.get(m, _Bracket(0, 0, 0)) for m in range(models)]
    low = np.array([b.low for b in searched], np.uint32)
    shift = np.array([b.shift for b in searched], np.uint32)
    width = np.array([b.bins for b in searched], np.int64)
    aboves: list[Array] = []

    def count(piece: Piece, counters: Counters) -> None:
        above = np.zeros(models, np.int64)
        for span in reader.spans(piece):
            counters.make_room(span.stop - span.start)
            where = (span.address, span.stored, span.based, span.start, span.stop)
            top = rank.scan_brackets(*where, low, shift, width, counters.table, above)
            reader.require_finite(top, piece.tensor, span.start, span.stop)
        aboves.append(above)

    counted = count_over((models, int(width.max())), pieces, each, count)
    above = np.sum(aboves, axis=0)
    return {m: (int(above[m]), counted[m, : b.bins]) for m, b in brackets.items()}


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
    bins: int,
) -> dict[int, _Bracket]:
    """Brackets in which the thresholds lie with near certainty, from a fixed sample of the scope."""
    samples = _sample(entries, reader, pieces)
    guessed = {}
    for m in brackets:
        size = samples.shape[1]
        share = wanted[m] / entries
        # Six standard deviations of a binomial count: neighbours within a strip are not independent.
        slack = 6 * math.sqrt(size * share * (1 - share)) + 8
        first = size - 1 - int(share * size - slack)
        last = size - 1 - int(share * size + slack)
        ordered = np.partition(samples[m], [max(0, last), min(first, size - 1)])
        high = int(ordered[first]) if first < size else PATTERNS - 1
        low = int(ordered[last]) if last >= 0 else 0
        guessed[m] = _bracket(low, high + 1, bins)
    return guessed


def _sample(entries: int, reader: VectorReader, pieces: Sequence[Piece]) -> Array:
    """Bit patterns of magnitudes, uint32 [models, n], of strips that are spread evenly over the scope."""
    strips = min(MOST_STRIPS, entries >> 10)
    places = ((np.arange(strips) + 0.5) * (entries / strips)).astype(np.int64)
    taken = []
    seen = 0
    for piece in pieces:
        inside = places[(places >= seen) & (places < seen + piece.size)] - seen + piece.start
        seen += piece.size
        strip = min(SAMPLE_STRIP, piece.size)
        if inside.size:
            taken.append(reader.sample(piece, np.minimum(inside, piece.stop - strip), strip))
    return np.concatenate(taken, axis=1)


def _narrow(wanted: int, bracket: _Bracket, above: int, bins: Array, finest: int) -> Threshold | _Bracket:
    """What counting a bracket taught: the threshold, or the smaller bracket it must lie in."""
    if wanted <= above:
        return _bracket(bracket.end, PATTERNS, finest)
    found = find_from_top(bins, wanted - above)
    if found is None:
        return _bracket(0, bracket.low, finest)
    index, over = found
    low = bracket.low + (index << bracket.shift)
    if bracket.shift:
        return _bracket(low, min(low + (1 << bracket.shift), PATTERNS), finest)
    return Threshold(low, int(bins[index]), wanted - above - over)


def find_from_top(bins: Array, wanted: int) -> tuple[int, int] | None:
    """(the bin that holds the wanted-th entry counted from the last bin, entries in the bins after it), or None."""
    block = 1024
    sums = np.add.reduceat(bins, np.arange(0, bins.size, block), dtype=np.int64)
    from_top = np.cumsum(sums[::-1])
    if wanted > from_top[-1]:
        return None
    at = int(np.searchsorted(from_top, wanted))
    first = (sums.size - 1 - at) * block
    over = int(from_top[at] - sums[sums.size - 1 - at])
    inner = over + np.cumsum(bins[first : first + block][::-1], dtype=np.int64)
    index = int(np.searchsorted(inner, wanted))
    size = inner.size
    place = first + size - 1 - index
    return place, int(inner[index]) - int(bins[place])


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

    patterns = np.array([t.pattern for t in thresholds], np.uint32)

    def count(piece: Piece) -> Array:
        found = np.zeros(len(thresholds), np.int64)
        for span in reader.spans(piece):
            where = (span.address, span.stored, span.based, span.start, span.stop)
            top = rank.scan_equals(*where, patterns, found)
            reader.require_finite(top, piece.tensor, span.start, span.stop)
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


def measure_trim(
    rule: TrimRule,
    reader: VectorReader,
    pieces: Sequence[Piece],
    each: Each[Any],
    known: KnownThresholds,
    scope: int,
) -> ScopeTrim:
    """Measure everything that `rule` asks for over the scope made of `pieces`; arguments as `find_thresholds`."""
    thresholds = find_thresholds(rule, reader, pieces, each, known, scope)
    before = dict(zip(pieces, equals_before(thresholds, reader, pieces, each), strict=True))
    zero = np.zeros(len(thresholds))
    patterns = np.array([t.pattern for t in thresholds], np.uint32)
    trim = ScopeTrim(tuple(thresholds), before, Trimmed(patterns, zero, zero, zero))
    if rule.moments:
        trim = replace(trim, trimmed=_moments(trim, reader, pieces, each))
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
        n = chunk.vectors.shape[1]
        for start, stop, least in cut.segments(chunk.vectors):
            whole = start == 0 and stop == n
            vectors = chunk.vectors if whole else np.ascontiguousarray(chunk.vectors[:, start:stop])
            yield chunk, start, vectors, replace(scope.trimmed, threshold=least)


def _moments(scope: ScopeTrim, reader: VectorReader, pieces: Sequence[Piece], each: Each[Any]) -> Trimmed:
    """Σ|τ|, Σ|τ̂| and Σ τ̂² per model; exactly rounded sums of per-chunk sums, whatever the threads and pieces were."""
    models = len(scope.thresholds)

    def sums(piece: Piece) -> list[Array]:
        rows: dict[int, Array] = {}
        for chunk, _, vectors, trimmed in trimmed_segments(scope, reader, piece):
            row = rows.setdefault(chunk.start, np.zeros((3, models)))
            moments.add_moments(vectors, trimmed.threshold, row)
        return list(rows.values())

    table = [row for rows in each(sums, pieces) for row in rows]
    totals = np.array([[math.fsum(row[k, m] for row in table) for m in range(models)] for k in range(3)])
    return replace(scope.trimmed, mass=totals[0], kept_mass=totals[1], kept_energy=totals[2])
