"""Exact ranks of magnitudes, without sorting.

The bits of |x|, read as an integer, sort as |x| does. So the k-th largest magnitude is found by counting how many bit
patterns fall above and inside a bracket, and narrowing the bracket until it holds a single pattern: no rounding, no
sampling error, and counts of different pieces simply add up.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from merge_core.kernels.compilation import kernel
from merge_core.kernels.dtypes import MAGNITUDE

Array = np.ndarray[Any, np.dtype[Any]]

STRIP = 64  # entries that are looked at together; most strips hold nothing inside a narrow bracket


def count_bracket_plain(values: Array, low: int, shift: int, bins: Array) -> int:
    """Numpy's meaning of `count_bracket`."""
    offset = (values.view(np.uint32) & MAGNITUDE).astype(np.int64) - low
    bin_index = offset >> shift
    inside = (offset >= 0) & (bin_index < bins.size)
    bins += np.bincount(bin_index[inside], minlength=bins.size)
    return int(np.count_nonzero(bin_index >= bins.size))


@kernel
def count_bracket(values, low, shift, bins):  # type: ignore[no-untyped-def]
    """Count the magnitudes of float32 [n] inside a bracket of bit patterns; answer how many lie above it.

    Args:
        values: float32 [n].
        low: uint32, the smallest pattern inside.
        shift: uint32, each bin is 2^shift patterns wide.
        bins: int64 [b], added to; bin j counts the patterns from low + j·2^shift.
    """
    bits = values.view(np.uint32)
    high = np.int64(low) + (np.int64(bins.size) << np.int64(shift))  # the first pattern above
    first = np.uint32(low)
    last = np.uint32(min(high - 1, np.int64(MAGNITUDE)))
    above = np.int64(0)
    whole = bits.size - bits.size % STRIP
    for start in range(0, whole, STRIP):
        over = np.uint32(0)
        within = np.uint32(0)
        for i in range(start, start + STRIP):
            m = bits[i] & MAGNITUDE
            over += np.uint32(m > last)
            within += np.uint32(m >= first)
        above += over
        if within != over:
            for i in range(start, start + STRIP):
                m = bits[i] & MAGNITUDE
                if first <= m <= last:
                    bins[(m - first) >> np.uint32(shift)] += 1
    for i in range(whole, bits.size):
        m = bits[i] & MAGNITUDE
        if m > last:
            above += 1
        elif m >= first:
            bins[(m - first) >> np.uint32(shift)] += 1
    return above


def count_equal_plain(values: Array, pattern: int) -> int:
    """Numpy's meaning of `count_equal`."""
    return int(np.count_nonzero((values.view(np.uint32) & MAGNITUDE) == pattern))


@kernel
def count_equal(values, pattern):  # type: ignore[no-untyped-def]
    """How many magnitudes of float32 [n] have exactly this bit pattern."""
    bits = values.view(np.uint32)
    wanted = np.uint32(pattern)
    found = np.uint32(0)
    for i in range(bits.size):
        found += np.uint32((bits[i] & MAGNITUDE) == wanted)
    return found


def nth_equal_plain(values: Array, pattern: int, n: int) -> int:
    """Numpy's meaning of `nth_equal`."""
    return int(np.flatnonzero((values.view(np.uint32) & MAGNITUDE) == pattern)[n - 1])


@kernel
def nth_equal(values, pattern, n):  # type: ignore[no-untyped-def]
    """Index of the n-th (from 1) magnitude of float32 [m] with this bit pattern; m where there are fewer."""
    bits = values.view(np.uint32)
    wanted = np.uint32(pattern)
    for i in range(bits.size):
        if bits[i] & MAGNITUDE == wanted:
            n -= 1
            if n == 0:
                return i
    return bits.size
