"""Dropping entries at random, so that the same entry falls whatever the threads, the pieces or the machine."""

from __future__ import annotations

from typing import Any

import numpy as np

from merge_core.kernels.compilation import kernel

Array = np.ndarray[Any, np.dtype[Any]]

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
MIX_A = np.uint64(0xBF58476D1CE4E5B9)
MIX_B = np.uint64(0x94D049BB133111EB)
SHIFTS = (np.uint64(30), np.uint64(27), np.uint64(31))
BITS = np.uint64(11)  # a draw is the upper 53 bits: as many as a float64 tells apart
DRAWS = 2.0**53


def drop_plain(vectors: Array, key: Array, start: int, density: Array, scale: Array, out: Array) -> None:
    """Numpy's meaning of `drop`."""
    place = (np.arange(start, start + vectors.shape[1]) + 1).astype(np.uint64)
    for m, row in enumerate(vectors):
        z = key[m] + place * GOLDEN
        z = (z ^ (z >> SHIFTS[0])) * MIX_A
        z = (z ^ (z >> SHIFTS[1])) * MIX_B
        draw = (z ^ (z >> SHIFTS[2])) >> BITS
        out[m] = np.where(draw < np.uint64(density[m] * DRAWS), row * scale[m], 0.0)


@kernel
def drop(vectors, key, start, density, scale, out):  # type: ignore[no-untyped-def]
    """Keep each entry with probability `density` and multiply it by `scale`; the others become 0.

    An entry's draw is a number of its own, made of its model's key and its place by SplitMix64's mixing function
    (Steele, Lea & Flood 2014), so draws need no order.

    Args:
        vectors: float32 [models, n].
        key: uint64 [models].
        start: place of the first entry in its tensor.
        density: float64 [models], 0 to 1.
        scale: float64 [models].
        out: float32 [models, n], written.
    """
    models, n = vectors.shape
    for m in range(models):
        row = vectors[m]
        written = out[m]
        bound = np.uint64(density[m] * DRAWS)
        times = scale[m]
        z0 = key[m] + np.uint64(start) * GOLDEN
        for i in range(n):
            z = z0 + np.uint64(i + 1) * GOLDEN
            z = (z ^ (z >> SHIFTS[0])) * MIX_A
            z = (z ^ (z >> SHIFTS[1])) * MIX_B
            draw = (z ^ (z >> SHIFTS[2])) >> BITS
            written[i] = row[i] * times if draw < bound else 0.0
