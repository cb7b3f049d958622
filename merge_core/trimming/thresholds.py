"""Exact trim thresholds: the k-th largest |τ| of each model within a scope, in memory that does not grow with it.

A sample says where the threshold probably lies; one pass over the weights counts the bit patterns around it and, where
the sample misled or the bracket was too wide, further passes narrow it down (see `kernels.rank`). The sample saves time
and never decides anything. A scope that fits the cache is put in order instead.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from merge_core.kernels.dtypes import MAGNITUDE
from merge_core.methods.trimming import TrimRule
from merge_core.streaming.counters import Counters, count_over
from merge_core.streaming.cut import Threshold
from merge_core.streaming.pieces import Piece
from merge_core.streaming.pool import Each
from merge_core.streaming.vectors import VectorReader
from merge_core.trimming.known import KnownThresholds

Array = np.ndarray[Any, np.dtype[Any]]

PATTERNS = int(MAGNITUDE) + 1  # magnitudes of float32, infinities and NaNs included
SMALL_SCOPE = 1 << 16  # entries; up to here, ordering them all takes less than counting, or than remembering
SAMPLE_STRIP = 512
MOST_STRIPS = 64  # each takes a reading per model
NONE_KEPT = np.uint32(MAGNITUDE)  # above every finite magnitude


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


class Ranking:
    """The search for the threshold of every model over a scope.

    Args:
        rule: how many entries a model keeps.
        reader: reads the pieces.
        pieces: the whole scope, in index order.
        known, scope: where thresholds of this scope are looked up first, and kept.
    """

    def __init__(
        self,
        rule: TrimRule,
        reader: VectorReader,
        pieces: Sequence[Piece],
        known: KnownThresholds,
        scope: int,
    ) -> None:
        self.rule = rule
        self.reader = reader
        self.pieces = pieces
        self.entries = sum(p.size for p in pieces)
        self.wanted = [min(self.entries, rule.kept(self.entries, float(q))) for q in rule.density]
        self._known = known
        self._scope = scope
        self._found = [_trivial(k, self.entries) or known.get(m, scope, k) for m, k in enumerate(self.wanted)]

    @property
    def any_known(self) -> bool:
        """Whether the threshold of some model needs no search."""
        return any(found is not None for found in self._found)

    @property
    def sampled(self) -> bool:
        """Whether the scope is large enough for a sample to be worth its while."""
        return self.entries > SMALL_SCOPE

    @cached_property
    def sample(self) -> Array:
        """Bit patterns of magnitudes from all over the scope, rising: uint32 [models, n]."""
        found = _sample(self.entries, self.reader.on_processor, self.pieces)
        found.sort(axis=1)
        return found

    def learn(self, model: int, threshold: Threshold) -> None:
        """Note the threshold of one model, for this scope and, where it was costly to find, for later merges.

        Later ones may break ties where this rule keeps all equals: `equal_kept` must be of exactly as many as wanted.
        """
        self._found[model] = threshold
        if self.sampled:
            self._known.add(model, self._scope, {self.wanted[model]: threshold})

    def find(self, each: Each[Any]) -> list[Threshold]:
        """The threshold of every model; `each` runs a function over pieces."""
        missing = [m for m, found in enumerate(self._found) if found is None]
        if missing and not self.sampled:
            self._order(missing)
        elif missing:
            self._narrow_down(missing, each)
        thresholds = [f for f in self._found if f is not None]
        return [replace(t, equal_kept=t.equal) for t in thresholds] if self.rule.keep_equal else thresholds

    def _order(self, models: Sequence[int]) -> None:
        """Find thresholds in a small scope by ordering what it holds."""
        chunks = (c.vectors for p in self.pieces for c in self.reader.on_processor.chunks(p))
        magnitudes = np.concatenate([vectors.view(np.uint32) & MAGNITUDE for vectors in chunks], axis=1)
        for m in models:
            wanted = self.wanted[m]
            ordered = np.partition(magnitudes[m], self.entries - wanted)
            pattern = ordered[self.entries - wanted]
            above = int(np.count_nonzero(ordered[self.entries - wanted :] > pattern))
            equal = int(np.count_nonzero(ordered == pattern))
            self.learn(m, Threshold(int(pattern), equal, wanted - above))

    def _narrow_down(self, models: Sequence[int], each: Each[Any]) -> None:
        """Find thresholds by counting in brackets that a sample makes likely, until each holds a single pattern."""
        bins = self.reader.budget.bins
        brackets = {m: _likely(self.sample[m], self.wanted[m] / self.entries, bins) for m in models}
        while brackets:
            counts = _count(brackets, self.reader, self.pieces, each)
            for m, (above, counted) in counts.items():
                answer = _narrow(self.wanted[m], brackets[m], above, counted, bins)
                if isinstance(answer, Threshold):
                    self.learn(m, answer)
                    del brackets[m]
                else:
                    brackets[m] = answer


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
        reader.scan_brackets(piece, low, shift, width, counters, above)
        aboves.append(above)

    counted = count_over((models, int(width.max())), pieces, each, count)
    above = np.sum(aboves, axis=0)
    return {m: (int(above[m]), counted[m, : b.bins]) for m, b in brackets.items()}


def _trivial(kept: int, entries: int) -> Threshold | None:
    if kept <= 0:
        return Threshold(int(NONE_KEPT), 0, 0)
    return Threshold(0, 0, 0) if kept >= entries else None


def _likely(ordered: Array, share: float, bins: int) -> _Bracket:
    """The bracket in which the threshold that keeps `share` lies with near certainty, from a sample in rising order."""
    size = ordered.size
    # Six standard deviations of a binomial count: neighbours within a strip are not independent.
    slack = 6 * math.sqrt(size * share * (1 - share)) + 8
    first = size - 1 - int(share * size - slack)
    last = size - 1 - int(share * size + slack)
    high = int(ordered[first]) if first < size else PATTERNS - 1
    low = int(ordered[last]) if last >= 0 else 0
    return _bracket(low, high + 1, bins)


def _sample(entries: int, reader: VectorReader, pieces: Sequence[Piece]) -> Array:
    """Bit patterns of magnitudes, uint32 [models, n], of strips that are spread evenly over the scope."""
    strips = max(1, min(MOST_STRIPS, entries >> 12))
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
