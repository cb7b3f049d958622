"""Who survives, with how much of its norm, and who is outvoted: at every few densities, in one sweep over the entries.

Everything is counted where it changes. An entry's survivors change only at their own levels (see `kernels.onset`), so
what is true at a density is the sum over all levels, or steps, up to it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from merge_core.kernels.compilation import kernel
from merge_core.kernels.disjoint import VOTE_COUNT, VOTE_LARGEST, VOTE_MASS, VOTE_SHARE
from merge_core.kernels.dtypes import MAGNITUDE
from merge_core.kernels.onset import LEVELS, NEVER

Array = np.ndarray[Any, np.dtype[Any]]

BINS = 256  # of |τ|, by its power of two: bin b holds 2^(b − 127) ≤ |τ| < 2^(b − 126)
EXPONENT = np.uint32(23)
EVERY = 5  # elections are held at every fifth level
STEPS = LEVELS // EVERY

# What becomes of a survivor: it loses, or nobody is elected, and it voted for plus or for minus.
LOST, TIED_PLUS, TIED_MINUS = 0, 1, 2


class Ballots(NamedTuple):
    """How elections are held.

    Args:
        each: float64 [models, STEPS], what a model's entries are multiplied by in the election at each step.
        vote: one of `kernels.disjoint.VOTE_…`, and not VOTE_NONE.
        varying: whether a row of `each` has several values.
    """

    each: Array
    vote: int
    varying: bool


NO_ELECTION = Ballots(np.zeros((0, 0)), VOTE_MASS, False)


def count_survivors_plain(level: Array, vectors: Array, kept: Array, sums: Array, magnitudes: Array) -> None:
    """Numpy's meaning of `count_survivors`, but for the order in which it adds."""
    wide = np.abs(vectors.astype(np.float64))
    for m, row in enumerate(level):
        kept[m] += np.bincount(row, minlength=NEVER + 1)
        sums[0, m] += np.bincount(row, wide[m], NEVER + 1)
        sums[1, m] += np.bincount(row, wide[m] ** 2, NEVER + 1)
        pattern = vectors[m].view(np.uint32) & MAGNITUDE
        magnitudes[m] += np.bincount(pattern >> EXPONENT, minlength=BINS)


@kernel
def count_survivors(level, vectors, kept, sums, magnitudes):  # type: ignore[no-untyped-def]
    """Add a piece to running counts; the first two hold changes by level.

    Args:
        level: uint8 [models, n], from which density on each entry survives.
        vectors: float32 [models, n].
        kept: int64 [models, NEVER + 1], survivors.
        sums: float64 [2, models, NEVER + 1], Σ|τ̂| and Σ τ̂².
        magnitudes: int64 [models, BINS].
    """
    models, n = level.shape
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


def count_elections_plain(
    level: Array, vectors: Array, ballots: Ballots, fates: Array, elected: Array
) -> None:
    """Numpy's meaning of `count_elections`."""
    ballot, vote, _ = ballots
    wide = vectors.astype(np.float64)
    before = np.zeros((3, *vectors.shape))
    signs = np.zeros(vectors.shape[1])
    for step in range(STEPS):
        votes = np.where(level // EVERY <= step, wide * ballot[:, step, None], 0.0)
        tally = np.zeros(vectors.shape[1])
        for v in votes:  # one after the other, as a merge adds
            if vote == VOTE_MASS:
                tally += v
            elif vote == VOTE_COUNT:
                tally += np.sign(v)
            elif vote == VOTE_SHARE:
                tally += v * np.abs(v)
            elif vote == VOTE_LARGEST:
                tally = np.where(np.abs(v) > np.abs(tally), v, tally)
        side = np.sign(votes) * np.sign(tally)
        now = [side < 0, (side == 0) & (votes > 0), (side == 0) & (votes < 0)]
        for fate, mine in enumerate(now):
            mass = np.where(mine, np.abs(wide), 0.0)
            fates[fate, :, step] += (mass - before[fate]).sum(axis=1)
            before[fate] = mass
        elected[step] += int((np.sign(tally) - signs).sum())
        signs = np.sign(tally)


@kernel
def count_elections(level, vectors, ballots, fates, elected):  # type: ignore[no-untyped-def]
    """Add a piece to running counts of elections; they hold changes by step.

    Args:
        level: uint8 [models, n], from which density on each entry survives.
        vectors: float32 [models, n].
        ballots: a `Ballots`.
        fates: float64 [3, models, STEPS], Σ|τ̂| of the survivors that are LOST, TIED_PLUS and TIED_MINUS.
        elected: int64 [STEPS], sum of the elected signs.
    """
    ballot, vote, varying = ballots
    models, n = level.shape
    arrival = np.empty(models, np.int64)
    fate = np.empty(models, np.int64)
    for i in range(n):
        first = np.int64(STEPS)
        plus = False
        minus = False
        for m in range(models):
            at = np.int64(level[m, i]) // EVERY
            arrival[m] = at
            if at < STEPS:
                first = at if at < first else first
                if vectors[m, i] * ballot[m, at] > 0:
                    plus = True
                else:
                    minus = True
        if not (plus and minus):
            if first < STEPS:
                elected[first] += 1 if plus else -1
            continue  # nobody is ever outvoted
        for m in range(models):
            fate[m] = -1
        sign = 0
        for step in range(first, STEPS):
            news = varying
            for m in range(models):
                news |= arrival[m] == step
            if not news:
                continue
            tally = 0.0
            for m in range(models):  # in the order in which a merge adds
                if arrival[m] <= step:
                    v = np.float64(vectors[m, i]) * ballot[m, step]
                    if vote == VOTE_MASS:
                        tally += v
                    elif vote == VOTE_COUNT:
                        tally += (1.0 if v > 0 else 0.0) - (1.0 if v < 0 else 0.0)
                    elif vote == VOTE_SHARE:
                        tally += v * abs(v)
                    elif abs(v) > abs(tally):
                        tally = v
            now = 1 if tally > 0 else -1 if tally < 0 else 0
            elected[step] += now - sign
            sign = now
            for m in range(models):
                if arrival[m] > step:
                    continue
                up = np.float64(vectors[m, i]) * ballot[m, step] > 0
                tied = TIED_PLUS if up else TIED_MINUS
                mine = tied if now == 0 else -1 if up == (now > 0) else LOST
                if mine != fate[m]:
                    size = abs(np.float64(vectors[m, i]))
                    if fate[m] >= 0:
                        fates[fate[m], m, step] -= size
                    if mine >= 0:
                        fates[mine, m, step] += size
                    fate[m] = mine
