"""The entries of a weight that a low-rank adapter changes, formed where they are read."""

from __future__ import annotations

from typing import Any

import numpy as np

from merge_core.kernels.compilation import kernel

Array = np.ndarray[Any, np.dtype[Any]]

STRIP = 1024  # columns whose sums stay in the first-level cache


def add_low_rank_plain(left: Array, right: Array, scale: float, first: int, out: Array) -> None:
    """Numpy's meaning of `add_low_rank`."""
    product = np.zeros((len(left), right.shape[1]), np.float32)
    for k in range(len(right)):
        product += left[:, k, None] * right[k]
    out += np.float32(scale) * product.ravel()[first : first + out.size]


@kernel
def add_low_rank(left, right, scale, first, out):  # type: ignore[no-untyped-def]
    """out += scale · left @ right, for a run of the product's entries in row-major order.

    Each entry's sum runs over the rank in order, so that it does not depend on how the work was cut.

    Args:
        left: float32 [rows, rank].
        right: float32 [rank, columns].
        scale: float32.
        first: the entry of the product that out[0] is.
        out: float32 [n], changed in place.
    """
    columns = right.shape[1]
    sums = np.empty(STRIP, np.float32)
    done = 0
    while done < out.size:
        row = (first + done) // columns
        column = (first + done) % columns
        n = min(STRIP, columns - column, out.size - done)
        part = sums[:n]
        part[:] = np.float32(0.0)
        for k in range(right.shape[0]):
            factor = left[row, k]
            line = right[k, column : column + n]
            for i in range(n):
                part[i] += factor * line[i]
        target = out[done : done + n]
        for i in range(n):
            target[i] += scale * part[i]
        done += n
