"""Inner products and sign agreement of every pair of vectors."""

from __future__ import annotations

from typing import Any

import numpy as np

from merge_core.kernels.compilation import kernel

Array = np.ndarray[Any, np.dtype[Any]]

STRIP = 1024
SUMMED = 1 << 16  # entries whose sum is rounded on its own: part of what a result means


def gram_plain(vectors: Array, products: Array, same: Array, both: Array) -> None:
    """Numpy's meaning of `gram`."""
    for first in range(0, vectors.shape[1], SUMMED):
        block = vectors[:, first : first + SUMMED]
        wide = block.astype(np.float64)
        for a in range(len(block)):
            for b in range(a, len(block)):
                product = wide[a] * wide[b]
                lanes = np.zeros(STRIP)
                for start in range(0, product.size, STRIP):
                    part = product[start : start + STRIP]
                    lanes[: part.size] += part
                total = 0.0
                for lane in lanes:  # one after the other, as the kernel adds
                    total += lane
                products[a, b] += total
                if a == b:
                    continue
                present = (block[a] != 0) & (block[b] != 0)
                both[a, b] += np.count_nonzero(present)
                same[a, b] += np.count_nonzero(present & (np.signbit(block[a]) == np.signbit(block[b])))


@kernel
def gram(vectors, products, same, both):  # type: ignore[no-untyped-def]
    """Add the pairs a ≤ b of float32 [models, n] to running totals.

    Args:
        vectors: float32 [models, n].
        products: float64 [models, models], Σ vectors[a]·vectors[b].
        same: int64 [models, models], entries where both are nonzero and have the same sign, of different models.
        both: int64 [models, models], entries where both are nonzero, likewise.
    """
    models, n = vectors.shape
    lanes = np.empty(STRIP)
    for a in range(models):
        for b in range(a, models):
            agree = np.int64(0)
            present = np.int64(0)
            for i in range(STRIP):
                lanes[i] = 0.0
            for start in range(0, n, STRIP):
                size = min(STRIP, n - start)
                x = vectors[a, start : start + size]
                y = vectors[b, start : start + size]
                xb = x.view(np.uint32)
                yb = y.view(np.uint32)
                seen = np.uint32(0)
                alike = np.uint32(0)
                for i in range(size):
                    lanes[i] += np.float64(x[i]) * np.float64(y[i])
                for i in range(size if a < b else 0):
                    live = np.uint32(x[i] != 0) & np.uint32(y[i] != 0)
                    seen += live
                    alike += live & (np.uint32(1) - ((xb[i] ^ yb[i]) >> np.uint32(31)))
                present += seen
                agree += alike
                if (start + STRIP) % SUMMED == 0 or start + STRIP >= n:
                    total = 0.0
                    for i in range(STRIP):
                        total += lanes[i]
                        lanes[i] = 0.0
                    products[a, b] += total
            same[a, b] += agree
            both[a, b] += present
