"""Trim, elect and disjoint merge in one sweep: TIES-Merging's arithmetic on trimmed task vectors.

All five dialects are one loop; what tells them apart is the handful of numbers in `Election`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from merge_core.kernels.compilation import kernel
from merge_core.kernels.dtypes import MAGNITUDE

Array = np.ndarray[Any, np.dtype[Any]]

STRIP = 1024

# How the sign of an entry is elected: the sign of …
VOTE_MASS = 0  # … the sum of v·τ
VOTE_COUNT = 1  # … the sum of sign(v·τ)
VOTE_SHARE = 2  # … the sum of sign(v·τ)·(v·τ)²
VOTE_LARGEST = 3  # … the v·τ of largest magnitude
VOTE_NONE = 4  # no election: every survivor agrees
VOTES = ("mass", "count", "normmass", "normfrac", "none")  # as recipes spell them

# What the agreeing entries become:
COMBINE_SUM = 0  # Σ w·τ
COMBINE_MEAN = 1  # Σ w·τ / Σ share
COMBINE_MAX = 2  # the w·τ of largest magnitude


class Election(NamedTuple):
    """The numbers that make a dialect.

    Args:
        vote: one of VOTE_….
        combine: one of COMBINE_….
        tie: the sign that stands where the vote is exactly zero: +1, −1, or 0 to drop the entry.
    """

    vote: int
    combine: int
    tie: int


def disjoint_merge_plain(
    tau: Array, threshold: Array, ballot: Array, weight: Array, share: Array, election: Election, out: Array
) -> int:
    """Numpy's meaning of `disjoint_merge`."""
    kept = (tau.view(np.uint32) & MAGNITUDE) >= threshold[:, None]
    trimmed = np.where(kept, tau, np.float32(0)).astype(np.float64)
    votes = trimmed * ballot[:, None]
    tally = np.zeros(tau.shape[1])
    for v in votes:  # one after the other, as the kernel adds
        if election.vote == VOTE_MASS:
            tally += v
        elif election.vote == VOTE_COUNT:
            tally += np.sign(v)
        elif election.vote == VOTE_SHARE:
            tally += v * np.abs(v)
        elif election.vote == VOTE_LARGEST:
            tally = np.where(np.abs(v) > np.abs(tally), v, tally)
    elected = np.where(tally == 0, election.tie, np.sign(tally))
    agree = votes != 0 if election.vote == VOTE_NONE else np.sign(votes) * elected > 0
    total = np.zeros(tau.shape[1])
    divisor = np.zeros(tau.shape[1])
    for t, a, w, s in zip(trimmed, agree, weight, share, strict=True):
        value = np.where(a, t * w, 0.0)
        if election.combine == COMBINE_MAX:
            total = np.where(np.abs(value) > np.abs(total), value, total)
        else:
            total += value
        divisor += np.where(a, s, 0.0)
    if election.combine == COMBINE_MEAN:
        total /= np.where(divisor == 0, 1.0, divisor)
    out[:] = total
    return int(np.sign(tally).sum())


@kernel
def disjoint_merge(tau, threshold, ballot, weight, share, election, out):  # type: ignore[no-untyped-def]
    """TIES-Merging of a piece (Yadav et al. 2023, algorithm 1); answers the sum of the elected signs, ties as 0.

    Args:
        tau: float32 [models, n], task vectors.
        threshold: uint32 [models]; an entry survives the trim if the bits of |τ| are at least this.
        ballot: float64 [models], v: a model's weight in the election.
        weight: float64 [models], w: its weight in the sum of those that agree.
        share: float64 [models]: what it adds to the divisor of a mean where it agrees.
        election: an `Election`.
        out: float32 [n], written.
    """
    models, n = tau.shape
    vote, combine, tie = election
    kept = np.empty((models, STRIP), np.float32)
    elected = np.empty(STRIP, np.float32)
    tally = np.empty(STRIP)
    total = np.empty(STRIP)
    divisor = np.empty(STRIP)
    signs = np.int64(0)
    for start in range(0, n, STRIP):
        size = min(STRIP, n - start)
        # The first model writes what the others add to: a sweep that only writes zeros would take as long as theirs.
        for m in range(models):
            row = tau[m, start : start + size]
            bits = row.view(np.uint32)
            least = threshold[m]
            x = kept[m]
            v = ballot[m]
            if vote == VOTE_NONE:
                for i in range(size):
                    x[i] = _trimmed(row[i], bits[i], least)
                    tally[i] = 0.0
            elif vote == VOTE_MASS:
                for i in range(size):
                    x[i] = _trimmed(row[i], bits[i], least)
                    tally[i] = (tally[i] if m > 0 else 0.0) + x[i] * v
            elif vote == VOTE_COUNT:
                for i in range(size):
                    x[i] = _trimmed(row[i], bits[i], least)
                    one = (1.0 if x[i] * v > 0 else 0.0) - (1.0 if x[i] * v < 0 else 0.0)
                    tally[i] = (tally[i] if m > 0 else 0.0) + one
            elif vote == VOTE_SHARE:
                for i in range(size):
                    x[i] = _trimmed(row[i], bits[i], least)
                    tally[i] = (tally[i] if m > 0 else 0.0) + (x[i] * v) * abs(x[i] * v)
            elif vote == VOTE_LARGEST:
                for i in range(size):
                    x[i] = _trimmed(row[i], bits[i], least)
                    so_far = tally[i] if m > 0 else 0.0
                    tally[i] = x[i] * v if abs(x[i] * v) > abs(so_far) else so_far
        up = np.int32(0)
        down = np.int32(0)
        for i in range(size):
            up += np.int32(tally[i] > 0)
            down += np.int32(tally[i] < 0)
            for_tie = np.float32(tie)
            elected[i] = np.float32(1) if tally[i] > 0 else np.float32(-1) if tally[i] < 0 else for_tie
        signs += up - down
        for m in range(models):
            x = kept[m]
            w = weight[m]
            part_of = share[m]
            # Of a vote only the sign counts from here on, so float32 does, in which ±1 multiplies exactly.
            side = np.float32(np.sign(ballot[m]))
            if vote == VOTE_NONE:
                for i in range(size):
                    elected[i] = np.sign(x[i] * side)  # whatever it is, it agrees with itself
            if combine == COMBINE_MAX:
                for i in range(size):
                    value = x[i] * w if x[i] * side * elected[i] > 0 else 0.0
                    so_far = total[i] if m > 0 else 0.0
                    total[i] = value if abs(value) > abs(so_far) else so_far
            else:
                for i in range(size):
                    agrees = x[i] * side * elected[i] > 0
                    total[i] = (total[i] if m > 0 else 0.0) + (x[i] * w if agrees else 0.0)
                    divisor[i] = (divisor[i] if m > 0 else 0.0) + (part_of if agrees else 0.0)
        part = out[start : start + size]
        if combine == COMBINE_MEAN:
            for i in range(size):
                part[i] = total[i] / (divisor[i] if divisor[i] != 0 else 1.0)
        else:
            for i in range(size):
                part[i] = total[i]
    return signs


@kernel
def _trimmed(value, bits, least):  # type: ignore[no-untyped-def]
    """A task vector's entry, or zero where the trim drops it."""
    return value if (bits & MAGNITUDE) >= least else np.float32(0)
