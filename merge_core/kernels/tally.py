"""Everything an inspection counts, in one sweep: the task vectors are formed once and stay in the first-level cache."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from merge_core.kernels.compilation import kernel
from merge_core.kernels.elections import BINS, STEPS, count_elections, count_survivors
from merge_core.kernels.gram import LANES, add_products, count_agreement, fold
from merge_core.kernels.levels import deal_inner, deal_watched, look_up
from merge_core.kernels.onset import NEVER, TABLES, count_onsets, sides
from merge_core.kernels.vectors import form_vectors

Array = np.ndarray[Any, np.dtype[Any]]

SCAN = 4096  # entries of every model that are formed together: a trade of calls for cache misses
SUMMED = 1 << 16  # entries whose sum is rounded on its own: part of what a result means


class Tally(NamedTuple):
    """Running counts and sums of one tensor.

    Args:
        onsets: int64 [3, NEVER + 1], see `kernels.onset`.
        products: float64 [models + 1, models + 1], see `kernels.gram`.
        same, both: int64 [models, models], see `kernels.gram`.
        kept, sums, magnitudes, fates, elected: see `kernels.elections`; without any entry where nobody asked.
    """

    onsets: Array
    products: Array
    same: Array
    both: Array
    kept: Array
    sums: Array
    magnitudes: Array
    fates: Array
    elected: Array


def new_tally(models: int, elections: bool) -> Tally:
    """A tally of nothing yet; with room for `elections` if they are wanted."""
    voting = models if elections else 0
    return Tally(
        onsets=np.zeros((3, NEVER + 1), np.int64),
        products=np.zeros((models + 1, models + 1)),
        same=np.zeros((models, models), np.int64),
        both=np.zeros((models, models), np.int64),
        kept=np.zeros((voting, NEVER + 1), np.int64),
        sums=np.zeros((2, voting, NEVER + 1)),
        magnitudes=np.zeros((voting, BINS), np.int64),
        fates=np.zeros((3, voting, STEPS)),
        elected=np.zeros(STEPS, np.int64),
    )


@kernel
def scan_tally(address, stored, start, stop, sign, t, known, ballots, tally):  # type: ignore[no-untyped-def]
    """Add entries start … stop − 1 of a tensor to its tally; answers as `form_vectors` does.

    Args:
        address, stored: as for `form_vectors`; the base's row comes last.
        start, stop: which entries.
        sign: float32 [models], see `Voting.sign`; where it is zero, no entry survives.
        t: a `Levels`.
        known: uint8 [models, stop − start], levels that need no look-up; without any entry where they do.
        ballots: a `Ballots`, to hold elections with, or without any entry.
        tally: a `Tally`.
    """
    rows = address.size
    models = rows - 1
    formed = np.empty(rows * SCAN, np.float32)
    own_levels = np.empty(models * SCAN, np.uint8)
    own_sides = np.empty(models * SCAN, np.uint8)
    onsets = np.zeros((TABLES, 3, NEVER + 1), np.uint32)
    lanes = np.zeros((rows, rows, LANES))
    top = np.uint32(0)
    for first in range(start, stop, SCAN):
        size = min(SCAN, stop - first)
        values = formed[: rows * size].reshape(rows, size)
        level = own_levels[: models * size].reshape(models, size)
        side = own_sides[: models * size].reshape(models, size)
        top = max(top, form_vectors(address, stored, True, first, size, values))
        for m in range(models):
            sides(values[m], side[m])
            if sign[m] == 0:
                level[m] = NEVER
            elif known.size > 0:
                level[m] = known[m, first - start : first - start + size]
            else:
                tied = look_up(values[m], t.first[m], t.slot[m], t.inner[m], level[m])
                if tied:
                    deal_inner(m, t, level[m])
                if t.watched[m, 0] >= 0:
                    deal_watched(values[m], m, t, level[m])
        count_onsets(level, side, sign, onsets)
        count_agreement(side, tally.same, tally.both)
        add_products(values, lanes)
        if (first + size - start) % SUMMED == 0 or first + size == stop:
            fold(lanes, tally.products)
        if tally.kept.size > 0:
            count_survivors(level, values, tally.kept, tally.sums, tally.magnitudes)
        if ballots.each.size > 0:
            count_elections(level, values, ballots, tally.fates, tally.elected)
    for table in range(TABLES):
        for kind in range(3):
            for j in range(NEVER + 1):
                tally.onsets[kind, j] += onsets[table, kind, j]
    return top
