"""What the blocks of one tensor say: shares, and how they move with the trim's thresholds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from merge_core.kernels.meetings import BINS, count_meetings
from merge_core.kernels.onset import LEVELS, NEVER

Array = np.ndarray[Any, np.dtype[Any]]

WINDOW = 2  # levels on whose entries the effect of a threshold is observed: the one below a density and the one above


@dataclass(frozen=True)
class BlockCounts:
    """Observed shares of one tensor.

    Args:
        kinds: float64 [3, blocks, densities]: touched, contested, in conflict.
        kept: float64 [models, blocks, densities]: survivors of each model's trim.
        weights: float64 [blocks], each block's share of the sample.
        effects: float64 [3, models, densities]: by how much a share grows per share of entries that one model keeps
            more of.
        entries: in the sample.
    """

    kinds: Array
    kept: Array
    weights: Array
    effects: Array
    entries: int

    @property
    def blocks(self) -> int:
        """How many there are."""
        return len(self.weights)

    def shares(self) -> Array:
        """Over the whole sample, float64 [3, densities]."""
        return np.asarray(np.einsum("kbd,b->kd", self.kinds, self.weights))

    def kept_shares(self) -> Array:
        """Over the whole sample, float64 [models, densities]."""
        return np.asarray(np.einsum("mbd,b->md", self.kept, self.weights))


def count_blocks(levels: Array, positive: Array, sizes: Array) -> BlockCounts:
    """Count a sample.

    Args:
        levels: uint8 [models, n], from which density on each entry survives.
        positive: bool [models, n], whether it votes for plus.
        sizes: int64 [blocks], how many entries lie in each block, in the order of the entries.
    """
    models, entries = levels.shape
    onsets = np.zeros((3, sizes.size, NEVER + 1), np.int64)
    kept = np.zeros((models, sizes.size, NEVER + 1), np.int64)
    decided = np.zeros((3, models, BINS), np.int64)
    block = np.repeat(np.arange(sizes.size), sizes)
    count_meetings(levels, positive, block, onsets, kept, decided)

    def shares(counts: Array) -> Array:
        return np.asarray(np.cumsum(counts[..., :LEVELS], axis=-1) / np.maximum(sizes, 1)[:, None])

    near = np.cumsum(decided, axis=-1)[..., :LEVELS].astype(np.float64)
    near[..., -1] = 0  # the last density keeps everything, whatever the sample
    n = max(1, entries)
    return BlockCounts(
        kinds=shares(onsets),
        kept=shares(kept),
        weights=sizes / n,
        effects=near / n / (WINDOW / LEVELS),
        entries=entries,
    )
