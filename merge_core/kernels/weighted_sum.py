"""The weighted sum of several vectors, accumulated in float64."""

from __future__ import annotations

from typing import Any

import numpy as np

from merge_core.kernels.compilation import kernel

Array = np.ndarray[Any, np.dtype[Any]]

STRIP = 1024  # entries whose float64 accumulators stay in the first-level cache


def weighted_sum_plain(vectors: Array, weights: Array, divisor: float, out: Array) -> None:
    """Numpy's meaning of `weighted_sum`."""
    total = np.zeros(vectors.shape[1])
    for vector, weight in zip(vectors, weights, strict=True):
        total += vector * weight
    out[:] = total / divisor


@kernel
def weighted_sum(vectors, weights, divisor, out):  # type: ignore[no-untyped-def]
    """Σ_m weights[m]·vectors[m] / divisor: float32 [models, n], float64 [models] → float32 [n], in place in `out`."""
    models, n = vectors.shape
    total = np.empty(STRIP)
    for start in range(0, n, STRIP):
        size = min(STRIP, n - start)
        odd = models % 2
        if odd:
            row, weight = vectors[0, start : start + size], weights[0]
            for i in range(size):
                total[i] = 0.0 + row[i] * weight  # so that no sum of zeros is negative, as no later one is
        else:
            for i in range(size):
                total[i] = 0.0
        # Two models a sweep: going over the accumulators costs more than adding to them does.
        for m in range(odd, models, 2):
            one, other = vectors[m, start : start + size], vectors[m + 1, start : start + size]
            weight, others = weights[m], weights[m + 1]
            for i in range(size):
                total[i] = (total[i] + one[i] * weight) + other[i] * others
        part = out[start : start + size]
        if divisor == 1.0:  # a division takes as long as all of the rest
            for i in range(size):
                part[i] = total[i]
        else:
            for i in range(size):
                part[i] = total[i] / divisor
