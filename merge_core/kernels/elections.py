"""Who survives, with how much of its norm, and who is outvoted: at every density, in one sweep over the entries.

Everything is counted where it changes. An entry's survivors change only at their own levels (see `kernels.onset`), so
what is true at a density is the sum over all levels up to it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from merge_core.kernels.compilation import kernel
from merge_core.kernels.dtypes import MAGNITUDE
from merge_core.kernels.onset import NEVER

Array = np.ndarray[Any, np.dtype[Any]]

BINS = 256  # of |τ|, by its power of two: bin b holds 2^(b − 127) ≤ |τ| < 2^(b − 126)
ELECTIONS = ("mass", "count")
EXPONENT = np.uint32(23)


def count_elections_plain(
    level: Array, vectors: Array, sign: Array, kept: Array, sums: Array, outvoted: Array, magnitudes: Array
) -> None:
    """Numpy's meaning of `count_elections`, but for the order in which it adds."""
    wide = np.abs(vectors.astype(np.float64))
    votes = vectors.astype(np.float64) * sign[:, None]
    for m, row in enumerate(level):
        kept[m] += np.bincount(row, minlength=NEVER + 1)
        sums[0, m] += np.bincount(row, wide[m], NEVER + 1)
        sums[1, m] += np.bincount(row, wide[m] ** 2, NEVER + 1)
        pattern = vectors[m].view(np.uint32) & MAGNITUDE
        magnitudes[m] += np.bincount(pattern >> EXPONENT, minlength=BINS)
    before = np.zeros((2, *vectors.shape))
    for j in range(NEVER):
        alive = np.where(level <= j, votes, 0.0)
        for e, tally in enumerate((alive.sum(axis=0), np.sign(alive).sum(axis=0))):
            elected = np.where(tally < 0, -1.0, 1.0)
            lost = np.where(alive * elected < 0, wide, 0.0)
            outvoted[e, :, j] += (lost - before[e]).sum(axis=1)
            before[e] = lost


@kernel
def count_elections(level, vectors, sign, kept, sums, outvoted, magnitudes):  # type: ignore[no-untyped-def]
    """Add a piece to running counts; each holds changes by level, so a cumulative sum gives what holds at a density.

    Args:
        level: uint8 [models, n], from which density on each entry survives.
        vectors: float32 [models, n].
        sign: float32 [models], of the models' weights; the models' votes count alike.
        kept: int64 [models, NEVER + 1], survivors.
        sums: float64 [2, models, NEVER + 1], Σ|τ̂| and Σ τ̂².
        outvoted: float64 [2, models, NEVER + 1], Σ|τ̂| of the survivors whose sign loses, where the sign of the sum is
            elected, and where that of the majority is; plus where neither is.
        magnitudes: int64 [models, BINS].
    """
    models, n = level.shape
    order = np.empty(models, np.int64)
    votes = np.empty(models, np.int8)
    loses = np.zeros((2, models), np.bool_)
    for m in range(models):
        row = vectors[m]
        own = level[m]
        bits = row.view(np.uint32)
        for i in range(n):
            x = np.float64(row[i])
            at = own[i]
            kept[m, at] += 1
            sums[0, m, at] += abs(x)
            sums[1, m, at] += x * x
            magnitudes[m, (bits[i] & MAGNITUDE) >> EXPONENT] += 1
    for i in range(n):
        alive = 0
        plus = False
        minus = False
        for m in range(models):
            at = level[m, i]
            if at >= NEVER:
                continue
            if vectors[m, i] * sign[m] > 0:
                votes[m] = 1
                plus = True
            else:
                votes[m] = -1
                minus = True
            place = alive  # keep them sorted by level
            while place > 0 and level[order[place - 1], i] > at:
                order[place] = order[place - 1]
                place -= 1
            order[place] = m
            alive += 1
        if not (plus and minus):
            continue  # nobody is ever outvoted
        for k in range(alive):
            loses[0, order[k]] = False
            loses[1, order[k]] = False
        mass = 0.0
        count = 0
        for k in range(alive):
            m = order[k]
            mass += np.float64(vectors[m, i]) * sign[m]
            count += votes[m]
            at = level[m, i]
            if k + 1 < alive and level[order[k + 1], i] == at:
                continue  # all that come at this level vote in the same election
            for e in range(2):
                tally = mass if e == 0 else np.float64(count)
                elected = -1 if tally < 0 else 1
                for s in range(k + 1):
                    voter = order[s]
                    now = votes[voter] != elected
                    if now != loses[e, voter]:
                        loses[e, voter] = now
                        size = abs(np.float64(vectors[voter, i]))
                        outvoted[e, voter, at] += size if now else -size
