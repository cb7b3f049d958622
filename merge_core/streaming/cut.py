"""What a trim keeps of a model's task vector, and where in a piece those that equal the threshold stop surviving."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from merge_core.kernels import rank

Array = np.ndarray[Any, np.dtype[Any]]


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


class Cut:
    """Where a piece's entries that equal the threshold stop surviving, as the piece is read from its start.

    Args:
        thresholds: one per model.
        before: per model, how many entries equal to the threshold lie in the scope before this piece.
    """

    def __init__(self, thresholds: Sequence[Threshold], before: Sequence[int]) -> None:
        self.patterns = [t.pattern for t in thresholds]
        self.all_equal = [t.equal_kept >= t.equal for t in thresholds]
        self.left = [t.equal_kept - b for t, b in zip(thresholds, before, strict=True)]

    def runs(self, vectors: Array) -> Iterable[tuple[int, Array, Array]]:
        """(start, vectors, threshold uint32 [models]) of the runs of a chunk in which one threshold per model holds."""
        for start, stop, least in self._runs(vectors):
            whole = stop - start == vectors.shape[1]
            yield start, vectors if whole else np.ascontiguousarray(vectors[:, start:stop]), least

    def _runs(self, vectors: Array) -> Iterable[tuple[int, int, Array]]:
        n = vectors.shape[1]
        least = np.array(self.patterns, np.uint32)
        ends: dict[int, list[int]] = {}
        for m, pattern in enumerate(self.patterns):
            if self.all_equal[m]:
                continue
            if self.left[m] <= 0:
                least[m] += 1
                continue
            equal = int(rank.count_equal(vectors[m], np.uint32(pattern)))
            if equal > self.left[m]:
                last = int(rank.nth_equal(vectors[m], np.uint32(pattern), self.left[m]))
                ends.setdefault(last + 1, []).append(m)
            self.left[m] -= equal
        start = 0
        for end in sorted(ends):
            if end > start:
                yield start, end, least.copy()
            for m in ends[end]:
                least[m] += 1
            start = end
        if start < n:
            yield start, n, least
