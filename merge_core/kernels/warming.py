"""Call every kernel once on a few numbers of the types it meets in earnest; what no cache holds is compiled."""

from __future__ import annotations

import numpy as np

from merge_core.kernels import (
    blocks,
    coarse,
    disjoint,
    dropping,
    dtypes,
    elections,
    levels,
    moments,
    onset,
    rank,
    tally,
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
    counts, low = np.zeros((2, 2, coarse.COARSE), np.uint32), np.zeros((2, 1), np.uint32)
    coarse.scan_coarse(*where, 0, 4, counts, low, one)
    slot = np.full((2, coarse.COARSE), -1, np.int16)
    coarse.scan_fine(*where, 0, 4, slot, np.zeros((2, 1, coarse.FINE), np.uint32))
    first, inner = np.zeros((2, coarse.COARSE), np.uint8), np.zeros((2, 1, coarse.FINE), np.uint8)
    levels.scan_codes(*where, 0, 4, first, slot, inner, np.zeros((2, levels.CODES), np.int64))
    numbers, many = np.zeros((2, 1), np.int64), np.ones((2, 1, 1), np.int64)
    levels_of_ties = np.zeros((2, 1), np.uint8), numbers + 9, numbers, many.astype(np.uint8), many
    t = levels.Levels(first, slot, inner, low, numbers - 1, *levels_of_ties)
    levels.advance(0, 0, np.int64(1), t)
    level, sign = np.zeros((2, 4), np.uint8), np.ones(2, np.float32)
    levels.look_up(row, first[0], slot[0], inner[0], level[0])
    levels.deal_inner(0, t, level[0])
    levels.deal_watched(row, 0, t, level[0])
    based = np.array([vectors[0].ctypes.data] * 3, np.int64), np.full(3, F32)
    ballots = elections.Ballots(np.ones((2, elections.STEPS)), disjoint.VOTE_MASS, False)
    tally.scan_tally(*based, 0, 4, sign, t, level, ballots, tally.new_tally(2, True))
    by_block, kept_by_block = (np.zeros((1, rows, onset.NEVER + 1), np.int64) for rows in (3, 2))
    block = np.zeros(4, np.int64)
    blocks.count_blocks(level, vectors, sign, block, by_block, kept_by_block)
