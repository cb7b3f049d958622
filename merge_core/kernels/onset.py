"""At which density does an entry survive the trim, and at which do survivors disagree?

A level is an index into a grid of densities; entries that never survive have the level `NEVER`. The patterns of |τ|
are looked up in two steps: a coarse table by their upper bits, and, for the few coarse bins in which a threshold lies,
a fine table by their lower bits. Entries that equal a threshold that keeps only some of its equals are dealt out in
index order.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from merge_core.kernels.compilation import kernel
from merge_core.kernels.dtypes import MAGNITUDE

Array = np.ndarray[Any, np.dtype[Any]]

LOW_BITS = np.uint32(13)
LOW_MASK = np.uint32((1 << 13) - 1)
COARSE = 1 << 18  # coarse bins
LEVELS = 100
NEVER = LEVELS  # the level of an entry that survives at no density
TIED = 128  # fine-table values from here on name a tie


def count_fine_plain(values: Array, slots: Array, fine: Array) -> None:
    """Numpy's meaning of `count_fine`."""
    m = values.view(np.uint32) & MAGNITUDE
    slot = slots[m >> LOW_BITS]
    inside = slot >= 0
    np.add.at(fine, (slot[inside], m[inside] & LOW_MASK), 1)


@kernel
def count_fine(values, slots, fine):  # type: ignore[no-untyped-def]
    """Count the magnitudes of float32 [n] that lie in chosen coarse bins, pattern by pattern.

    Args:
        values: float32 [n].
        slots: int16 [COARSE], each coarse bin's row in `fine`, or −1.
        fine: int64 [rows, 2^13], added to.
    """
    bits = values.view(np.uint32)
    for i in range(bits.size):
        m = bits[i] & MAGNITUDE
        slot = slots[m >> LOW_BITS]
        if slot >= 0:
            fine[slot, m & LOW_MASK] += 1


def levels_plain(
    values: Array,
    sign: int,
    coarse: Array,
    slots: Array,
    fine: Array,
    steps: Array,
    left: Array,
    position: Array,
    out: Array,
) -> None:
    """Numpy's meaning of `levels`."""
    m = values.view(np.uint32) & MAGNITUDE
    slot = slots[m >> LOW_BITS]
    level = np.where(slot < 0, coarse[m >> LOW_BITS], fine[slot, m & LOW_MASK]).astype(np.int64)
    for i in np.flatnonzero((level >= TIED) & (m > 0)):
        tie = level[i] - TIED
        while position[tie] < steps.shape[1] and left[tie, position[tie]] <= 0:
            position[tie] += 1
        level[i] = steps[tie, position[tie]] if position[tie] < steps.shape[1] else NEVER
        if position[tie] < steps.shape[1]:
            left[tie, position[tie]] -= 1
    level[(m == 0) | (sign == 0)] = NEVER
    out[:] = level


@kernel
def levels(values, sign, coarse, slots, fine, steps, left, position, out):  # type: ignore[no-untyped-def]
    """The level from which each entry of float32 [n] survives.

    Args:
        values: float32 [n]. Zeros never survive.
        sign: of the model's weight; with 0 nothing survives.
        coarse: uint8 [COARSE], the level of every pattern of a bin, where all have the same.
        slots: int16 [COARSE], the row in `fine` of the other bins, else −1.
        fine: uint8 [rows, 2^13], the level of a pattern, or TIED + t for tie number t.
        steps: uint8 [ties, s], the levels at which more of a tie's entries survive, rising; NEVER fills up.
        left: int64 [ties, s], how many are still to be dealt out at each of these; counted down.
        position: int64 [ties], where in `steps` a tie is; counted up.
        out: uint8 [n], written.
    """
    bits = values.view(np.uint32)
    for i in range(bits.size):
        m = bits[i] & MAGNITUDE
        top = m >> LOW_BITS
        slot = slots[top]
        level = coarse[top] if slot < 0 else fine[slot, m & LOW_MASK]
        if level >= TIED and m != 0:
            tie = level - TIED
            at = position[tie]
            while at < steps.shape[1] and left[tie, at] <= 0:
                at += 1
            position[tie] = at
            if at < steps.shape[1]:
                level = steps[tie, at]
                left[tie, at] -= 1
            else:
                level = np.uint8(NEVER)
        out[i] = NEVER if m == 0 or sign == 0 else level


def count_onsets_plain(level: Array, vectors: Array, sign: Array, counts: Array) -> None:
    """Numpy's meaning of `count_onsets`."""
    positive = (vectors * sign[:, None]) > 0
    order = np.sort(level, axis=0)
    first = order[0]
    second = order[1] if len(order) > 1 else np.full_like(first, NEVER)
    up = np.where(positive, level, NEVER).min(0)
    down = np.where(positive, NEVER, level).min(0)
    for row, onset in enumerate((first, second, np.maximum(up, down))):
        counts[row] += np.bincount(onset, minlength=NEVER + 1)


@kernel
def count_onsets(level, vectors, sign, counts):  # type: ignore[no-untyped-def]
    """Count the levels from which entries are touched, contested and in conflict.

    An entry is touched once one model's survives, contested once two do, in conflict once one of each sign does: at the
    later of the earliest positive and the earliest negative survivor.

    Args:
        level: uint8 [models, n] from `levels`.
        vectors: float32 [models, n].
        sign: float32 [models], of the models' weights.
        counts: int64 [3, NEVER + 1], added to; row 0 touched, 1 contested, 2 in conflict.
    """
    models, n = level.shape
    strip = 1024
    first = np.empty(strip, np.uint8)
    second = np.empty(strip, np.uint8)
    up = np.empty(strip, np.uint8)
    down = np.empty(strip, np.uint8)
    never = np.uint8(NEVER)
    for start in range(0, n, strip):
        size = min(strip, n - start)
        for i in range(size):
            first[i] = never
            second[i] = never
            up[i] = never
            down[i] = never
        for k in range(models):
            row = vectors[k, start : start + size]
            own = level[k, start : start + size]
            flip = sign[k]
            for i in range(size):
                a = own[i]
                second[i] = min(second[i], max(first[i], a))
                first[i] = min(first[i], a)
                positive = row[i] * flip > 0
                up[i] = min(up[i], a if positive else never)
                down[i] = min(down[i], never if positive else a)
        for i in range(size):
            counts[0, first[i]] += 1
            counts[1, second[i]] += 1
            counts[2, max(up[i], down[i])] += 1
