"""Touched, contested, in conflict and kept, counted apart for each block of a tensor."""

from __future__ import annotations

from typing import Any

import numpy as np

from merge_core.kernels.compilation import kernel
from merge_core.kernels.onset import NEVER, count_onsets_plain, sides_plain

Array = np.ndarray[Any, np.dtype[Any]]


def count_blocks_plain(
    level: Array, vectors: Array, sign: Array, block: Array, counts: Array, kept: Array
) -> None:
    """Numpy's meaning of `count_blocks`."""
    side = np.empty(vectors.shape, np.uint8)
    sides_plain(vectors, side)
    for number in np.unique(block):
        own = block == number
        count_onsets_plain(level[:, own], side[:, own], sign, counts[None, number])
        for row, levels in zip(kept[number], level[:, own], strict=True):
            row += np.bincount(levels, minlength=NEVER + 1)


@kernel
def count_blocks(level, vectors, sign, block, counts, kept):  # type: ignore[no-untyped-def]
    """Count by block the levels from which entries are touched, contested, in conflict, and survive in each model.

    Args:
        level: uint8 [models, n], see `kernels.levels`.
        vectors: float32 [models, n].
        sign: float32 [models], see `Voting.sign`.
        block: int64 [n], which block each entry is in.
        counts: int64 [blocks, 3, NEVER + 1], added to; see `kernels.onset.count_onsets`.
        kept: int64 [blocks, models, NEVER + 1], added to.
    """
    models, n = level.shape
    never = np.uint8(NEVER)
    for i in range(n):
        first = never
        second = never
        up = never
        down = never
        own = block[i]
        for m in range(models):
            a = level[m, i]
            kept[own, m, a] += 1
            second = min(second, max(first, a))
            first = min(first, a)
            if vectors[m, i] * sign[m] > 0:
                up = min(up, a)
            else:
                down = min(down, a)
        counts[own, 0, first] += 1
        counts[own, 1, second] += 1
        counts[own, 2, max(up, down)] += 1
