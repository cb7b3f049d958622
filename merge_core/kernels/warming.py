"""Call every kernel once on a few numbers of the types it meets in earnest; what no cache holds is compiled."""

from __future__ import annotations

import numpy as np

from merge_core.kernels import (
    blocks,
    disjoint,
    dropping,
    dtypes,
    elections,
    gram,
    moments,
    onset,
    rank,
    weighted_sum,
)
from merge_core.kernels.low_rank import add_low_rank
from merge_core.kernels.vectors import F32, add_to_base, form_vectors


def warm() -> None:
    """Compile every kernel that the cache does not hold yet; takes under a second when it holds all of them."""
    halves = np.zeros(4, np.uint16)
    vectors = np.zeros((2, 4), np.float32)
    row = vectors[0]
    ones = np.ones(2)
    dtypes.peak(row)
    dtypes.narrow_bf16(row, halves)
    dtypes.narrow_f16(row, halves)
    address = np.array([r.ctypes.data for r in vectors], np.int64)
    where = (address, np.full(2, F32), False)
    form_vectors(*where, 0, 4, np.empty_like(vectors))
    few, one = np.zeros(2, np.uint32), np.zeros(2, np.int64)
    rank.scan_brackets(*where, 0, 4, few, few, one, np.zeros((2, 1), np.uint32), one)
    rank.scan_equals(*where, 0, 4, few, one)
    add_low_rank(vectors, np.zeros((4, 2), np.float32), np.float32(1), 0, np.empty(2, np.float32))
    moments.add_moments(vectors, few, np.zeros((3, 2)))
    add_to_base(row, vectors[1])
    rank.count_equal(row, np.uint32(0))
    rank.count_around(vectors, few, np.zeros((2, 2), np.int64))
    rank.nth_equal(row, np.uint32(0), 1)
    weighted_sum.weighted_sum(vectors, ones, 1.0, row)
    dropping.drop(vectors, np.zeros(2, np.uint64), 0, ones, ones, np.empty_like(vectors))
    election = disjoint.Election(disjoint.VOTE_MASS, disjoint.COMBINE_MEAN, 1)
    disjoint.disjoint_merge(vectors, np.zeros(2, np.uint32), ones, ones, ones, election, row)
    coarse = np.full(onset.COARSE, onset.SOLE, np.uint32)
    codes, now, level = (
        np.zeros(onset.FINE, np.uint8),
        np.zeros(onset.CODES, np.uint8),
        np.zeros((2, 4), np.uint8),
    )
    left, steps, dealt = np.full(onset.CODES, 9), np.zeros((1, 2), np.int64), np.zeros((1, 1), np.int64)
    onset.count_coarse(
        vectors, np.zeros((2, onset.COARSE), np.uint32), np.zeros((2, 1), np.uint32), np.zeros(2, np.int64)
    )
    onset.count_fine(
        vectors, np.full((2, onset.COARSE), -1, np.int16), np.zeros((2, 1, onset.FINE), np.uint32)
    )
    onset.count_codes(row, coarse, codes, left)
    onset.levels(row, coarse, codes, now, left, steps, dealt, level[0])
    onset.advance(np.int64(onset.TIED), now, left, steps, dealt)
    counts = np.zeros((3, onset.NEVER + 1), np.int64)
    onset.count_onsets(level, vectors, np.ones(2, np.float32), counts)
    by_block, kept_by_block = (np.zeros((1, rows, onset.NEVER + 1), np.int64) for rows in (3, 2))
    block = np.zeros(4, np.int64)
    blocks.count_blocks(level, vectors, np.ones(2, np.float32), block, by_block, kept_by_block)
    whole = np.zeros((2, 2), np.int64)
    gram.gram(vectors, np.zeros((2, 2)), whole, whole.copy())
    sums = np.zeros((2, 2, onset.NEVER + 1))
    one_each = np.ones(2, np.float32)
    kept, powers = np.zeros((2, onset.NEVER + 1), np.int64), np.zeros((2, elections.BINS), np.int64)
    elections.count_elections(level, vectors, one_each, kept, sums, sums.copy(), powers)
