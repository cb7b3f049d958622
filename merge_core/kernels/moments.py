"""Norms of task vectors before and after the trim."""

from __future__ import annotations

from typing import Any

import numpy as np

from merge_core.kernels.compilation import kernel
from merge_core.kernels.dtypes import MAGNITUDE

Array = np.ndarray[Any, np.dtype[Any]]

LANES = 64  # sums that grow side by side, added up in a fixed order at the end


def add_moments_plain(tau: Array, threshold: Array, sums: Array) -> None:
    """Numpy's meaning of `add_moments`."""
    wide = np.abs(tau.astype(np.float64))
    kept = np.where((tau.view(np.uint32) & MAGNITUDE) >= threshold[:, None], wide, 0.0)
    for row, values in zip(sums, (wide, kept, kept * kept), strict=True):
        for m, one in enumerate(values):
            lanes = np.zeros(LANES)
            for start in range(0, one.size, LANES):
                part = one[start : start + LANES]
                lanes[: part.size] += part
            total = 0.0
            for lane in lanes:  # one after the other, as the kernel adds
                total += lane
            row[m] += total


@kernel
def add_moments(tau, threshold, sums):  # type: ignore[no-untyped-def]
    """Add Σ|τ|, Σ|τ̂| and Σ τ̂² of a piece to running sums.

    Args:
        tau: float32 [models, n], task vectors.
        threshold: uint32 [models]; an entry survives the trim if the bits of |τ| are at least this.
        sums: float64 [3, models], added to.
    """
    models, n = tau.shape
    lanes = np.empty((3, LANES))
    for m in range(models):
        lanes[:] = 0.0
        for start in range(0, n, LANES):
            row = tau[m, start : start + LANES]
            bits = row.view(np.uint32)
            for i in range(row.size):
                wide = abs(np.float64(row[i]))
                kept = wide if (bits[i] & MAGNITUDE) >= threshold[m] else 0.0
                lanes[0, i] += wide
                lanes[1, i] += kept
                lanes[2, i] += kept * kept
        for k in range(3):
            total = 0.0
            for i in range(LANES):
                total += lanes[k, i]
            sums[k, m] += total
