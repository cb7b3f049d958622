"""From which density on entries are touched, contested and in conflict, told by the levels of each model's entries.

An entry is touched once one model's survives the trim, contested once two do, in conflict once one of each sign does:
at the later of the earliest positive and the earliest negative survivor.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from merge_core.kernels.compilation import kernel

Array = np.ndarray[Any, np.dtype[Any]]

LEVELS = 100  # densities of the grid
NEVER = LEVELS  # the level of an entry that survives at no density, see `kernels.levels`
NOTHING, PLUS, MINUS = (
    np.uint8(0),
    np.uint8(1),
    np.uint8(2),
)  # the side of an entry; PLUS and MINUS share no bit
STRIP = 512
TABLES = 4  # side by side: an entry is often counted where the one before it was, and would wait for that


def sides_plain(values: Array, out: Array) -> None:
    """Numpy's meaning of `sides`."""
    out[:] = np.where(values > 0, PLUS, np.where(values < 0, MINUS, NOTHING))


@kernel
def sides(values, out):  # type: ignore[no-untyped-def]
    """The sign of each entry of float32 [n] as NOTHING, PLUS or MINUS: uint8 [n], written."""
    for i in range(values.size):
        out[i] = PLUS if values[i] > 0 else MINUS if values[i] < 0 else NOTHING


def count_onsets_plain(level: Array, side: Array, sign: Array, counts: Array) -> None:
    """Numpy's meaning of `count_onsets`."""
    positive = side == np.where(sign < 0, MINUS, PLUS)[:, None]
    order = np.sort(level, axis=0)
    first = order[0]
    second = order[1] if len(order) > 1 else np.full_like(first, NEVER)
    up = np.where(positive, level, NEVER).min(0)
    down = np.where(positive, NEVER, level).min(0)
    for row, onset in enumerate((first, second, np.maximum(up, down))):
        counts[0, row] += np.bincount(onset, minlength=NEVER + 1).astype(counts.dtype)


@kernel
def count_onsets(level, side, sign, counts):  # type: ignore[no-untyped-def]
    """Count the levels from which entries are touched, contested and in conflict.

    Args:
        level: uint8 [models, n] from `kernels.levels`; NEVER where an entry is zero.
        side: uint8 [models, n] from `sides`.
        sign: float32 [models], of the models' weights.
        counts: uint32 [TABLES, 3, NEVER + 1], whose sum over the tables is added to; row 0 touched, 1 contested, 2 in
            conflict.
    """
    models, n = level.shape
    first = np.empty(STRIP, np.uint8)
    second = np.empty(STRIP, np.uint8)
    up = np.empty(STRIP, np.uint8)
    down = np.empty(STRIP, np.uint8)
    never = np.uint8(NEVER)
    for start in range(0, n, STRIP):
        size = min(STRIP, n - start)
        for i in range(size):
            first[i] = never
            second[i] = never
            up[i] = never
            down[i] = never
        for m in range(models):
            own = level[m, start : start + size]
            lies = side[m, start : start + size]
            votes_plus = MINUS if sign[m] < 0 else PLUS
            for i in range(size):
                a = own[i]
                second[i] = min(second[i], max(first[i], a))
                first[i] = min(first[i], a)
                up[i] = min(up[i], a if lies[i] == votes_plus else never)
                down[i] = min(down[i], never if lies[i] == votes_plus else a)
        for i in range(size):
            up[i] = max(up[i], down[i])
        for i in range(size):
            table = counts[i % TABLES]
            table[0, first[i]] += np.uint32(1)
            table[1, second[i]] += np.uint32(1)
            table[2, up[i]] += np.uint32(1)
