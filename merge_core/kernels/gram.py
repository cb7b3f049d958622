"""Inner products and sign agreement of every pair of vectors."""

from __future__ import annotations

from typing import Any

import numpy as np

from merge_core.kernels.compilation import kernel
from merge_core.kernels.onset import MINUS, NOTHING, PLUS

Array = np.ndarray[Any, np.dtype[Any]]

LANES = 512  # sums that grow side by side, added up in a fixed order at the end: part of what a result means


def add_products_plain(rows: Array, lanes: Array) -> None:
    """Numpy's meaning of `add_products`."""
    wide = rows.astype(np.float64)
    last = len(rows) - 1
    for a, b in [*((i, k) for i in range(last) for k in range(i, last)), (last, last)]:
        product = wide[a] * wide[b]
        for start in range(0, product.size, LANES):
            part = product[start : start + LANES]
            lanes[a, b, : part.size] += part


@kernel
def add_products(rows, lanes):  # type: ignore[no-untyped-def]
    """Add the products of every pair a ≤ b of task vectors, and of the base with itself, to running sums.

    Args:
        rows: float32 [models + 1, n]; the base's entries come last.
        lanes: float64 [models + 1, models + 1, LANES]; entry i is added to lane i mod LANES.
    """
    last = rows.shape[0] - 1
    for a in range(last + 1):
        for b in range(a, max(last, a + 1)):
            sums = lanes[a, b]
            whole = rows.shape[1] // (4 * LANES) * (4 * LANES)
            # Four rounds of the lanes at once: going over the sums costs more than adding to them does.
            for start in range(0, whole, 4 * LANES):
                x = rows[a, start : start + 4 * LANES]
                y = rows[b, start : start + 4 * LANES]
                for i in range(LANES):
                    total = sums[i] + np.float64(x[i]) * np.float64(y[i])
                    total += np.float64(x[i + LANES]) * np.float64(y[i + LANES])
                    total += np.float64(x[i + 2 * LANES]) * np.float64(y[i + 2 * LANES])
                    sums[i] = total + np.float64(x[i + 3 * LANES]) * np.float64(y[i + 3 * LANES])
            for start in range(whole, rows.shape[1], LANES):
                x = rows[a, start : start + LANES]
                y = rows[b, start : start + LANES]
                for i in range(x.size):
                    sums[i] += np.float64(x[i]) * np.float64(y[i])


def fold_plain(lanes: Array, products: Array) -> None:
    """Numpy's meaning of `fold`."""
    total = np.zeros_like(products)
    for i in range(lanes.shape[2]):  # one after the other, as the kernel adds
        total += lanes[:, :, i]
    products += total
    lanes[:] = 0


@kernel
def fold(lanes, products):  # type: ignore[no-untyped-def]
    """Add the sums of `lanes`, float64 [k, k, LANES], to float64 [k, k], and clear them."""
    for a in range(lanes.shape[0]):
        for b in range(a, lanes.shape[0]):
            total = 0.0
            for i in range(LANES):
                total += lanes[a, b, i]
                lanes[a, b, i] = 0.0
            products[a, b] += total


def count_agreement_plain(side: Array, same: Array, both: Array) -> None:
    """Numpy's meaning of `count_agreement`."""
    for a in range(len(side)):
        for b in range(a + 1, len(side)):
            present = (side[a] != NOTHING) & (side[b] != NOTHING)
            both[a, b] += np.count_nonzero(present)
            same[a, b] += np.count_nonzero(present & (side[a] == side[b]))


@kernel
def count_agreement(side, same, both):  # type: ignore[no-untyped-def]
    """Count, for every pair a < b, the entries where both are nonzero, and those of them that have the same sign.

    Args:
        side: uint8 [models, n] from `onset.sides`.
        same, both: int64 [models, models], added to.
    """
    models, n = side.shape
    for a in range(models):
        for b in range(a + 1, models):
            x, y = side[a], side[b]
            alike = np.uint32(0)
            opposed = np.uint32(0)
            for i in range(n):
                alike += np.uint32((x[i] & y[i]) != 0)
                opposed += np.uint32((x[i] | y[i]) == PLUS | MINUS)
            same[a, b] += alike
            both[a, b] += alike + opposed
