"""Exact ranks of magnitudes, without sorting.

The bits of |x|, read as an integer, sort as |x| does. So the k-th largest magnitude is found by counting how many bit
patterns fall above and inside a bracket, and narrowing the bracket until it holds a single pattern: no rounding, no
sampling error, and counts of different pieces simply add up.

The functions on a whole range of entries (`scan_…`) form the task vectors as they go, see `kernels.vectors`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from merge_core.kernels.compilation import kernel
from merge_core.kernels.dtypes import MAGNITUDE
from merge_core.kernels.vectors import form_vectors

Array = np.ndarray[Any, np.dtype[Any]]

STRIP = 512  # magnitudes that are sifted together
SCAN = 2048  # entries of every model that are formed together; five models fit the first-level cache


def count_bracket_plain(values: Array, low: int, shift: int, bins: Array) -> int:
    """Numpy's meaning of `count_bracket`."""
    offset = (values.view(np.uint32) & MAGNITUDE).astype(np.int64) - low
    bin_index = offset >> shift
    inside = (offset >= 0) & (bin_index < bins.size)
    bins += np.bincount(bin_index[inside], minlength=bins.size).astype(bins.dtype)
    return int(np.count_nonzero(bin_index >= bins.size))


@kernel
def count_bracket(values, low, shift, bins):  # type: ignore[no-untyped-def]
    """Count the magnitudes of float32 [n] inside a bracket of bit patterns; answer how many lie above it.

    Args:
        values: float32 [n].
        low: uint32, the smallest pattern inside.
        shift: uint32, each bin is 2^shift patterns wide.
        bins: uint32 [b], added to; bin j counts the patterns from low + j·2^shift.
    """
    bits = values.view(np.uint32)
    first = np.uint32(low)
    span = np.uint32(min(np.int64(bins.size) << np.int64(shift), np.int64(MAGNITUDE) + 1 - np.int64(low)))
    offsets = np.empty(STRIP, np.uint32)
    chosen = np.empty(STRIP, np.uint32)
    above = np.int64(0)
    for start in range(0, bits.size, STRIP):
        part = bits[start : start + STRIP]
        over = np.uint32(0)
        for i in range(part.size):
            offset = np.uint32((part[i] & MAGNITUDE) - first)  # wraps round for what lies below
            over += np.uint32((offset >= span) & (offset <= MAGNITUDE))
            offsets[i] = offset
        above += over
        # Sift first, then count: whether an entry lies inside is a coin toss, and a branch on it would be guessed
        # wrong too often. The index is unsigned because a signed one would be checked for counting from the end.
        found = np.uint64(0)
        for i in range(part.size):
            chosen[found] = offsets[i]
            found += np.uint64(offsets[i] < span)
        for j in range(found):
            bins[chosen[j] >> np.uint32(shift)] += np.uint32(1)
    return above


@kernel
def scan_brackets(address, stored, based, start, stop, low, shift, width, bins, above):  # type: ignore[no-untyped-def]
    """`count_bracket` for every model over entries start … stop − 1; answers as `form_vectors` does.

    Args:
        address, stored, based: as for `form_vectors`.
        start, stop: which entries.
        low, shift: uint32 [models], each model's bracket.
        width: int64 [models], how many bins it has; 0 leaves the model out.
        bins: uint32 [models, ≥ width], added to.
        above: int64 [models], added to: how many magnitudes lie above the bracket.
    """
    rows = np.empty((address.size, SCAN), np.float32)
    top = np.uint32(0)
    for first in range(start, stop, SCAN):
        size = min(SCAN, stop - first)
        top = max(top, form_vectors(address, stored, based, first, size, rows))
        for m in range(width.size):
            if width[m] > 0:
                above[m] += count_bracket(rows[m, :size], low[m], shift[m], bins[m, : width[m]])
    return top


@kernel
def scan_equals(address, stored, based, start, stop, pattern, found):  # type: ignore[no-untyped-def]
    """`count_equal` for every model over entries start … stop − 1; answers as `form_vectors` does.

    Args:
        address, stored, based, start, stop: as for `scan_brackets`.
        pattern: uint32 [models].
        found: int64 [models], added to.
    """
    rows = np.empty((address.size, SCAN), np.float32)
    top = np.uint32(0)
    for first in range(start, stop, SCAN):
        size = min(SCAN, stop - first)
        top = max(top, form_vectors(address, stored, based, first, size, rows))
        for m in range(pattern.size):
            found[m] += count_equal(rows[m, :size], pattern[m])
    return top


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


def count_around_plain(vectors: Array, pattern: Array, found: Array) -> None:
    """Numpy's meaning of `count_around`."""
    magnitudes = vectors.view(np.uint32) & MAGNITUDE
    found[0] += np.count_nonzero(magnitudes > pattern[:, None], axis=1)
    found[1] += np.count_nonzero(magnitudes == pattern[:, None], axis=1)


@kernel
def count_around(vectors, pattern, found):  # type: ignore[no-untyped-def]
    """Per row of float32 [models, n], how many magnitudes lie above a bit pattern, and how many have it.

    Args:
        vectors: float32 [models, n].
        pattern: uint32 [models].
        found: int64 [2, models], added to: row 0 above, row 1 equal.
    """
    for m in range(pattern.size):
        bits = vectors[m].view(np.uint32)
        wanted = pattern[m]
        above = np.uint32(0)
        equal = np.uint32(0)
        for i in range(bits.size):
            above += np.uint32((bits[i] & MAGNITUDE) > wanted)
            equal += np.uint32((bits[i] & MAGNITUDE) == wanted)
        found[0, m] += above
        found[1, m] += equal


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
