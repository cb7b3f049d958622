"""Counting magnitudes for all densities at once: by their upper bits, and inside chosen bins by all of them.

The bits of |x|, read as an integer, sort as |x| does. A bin holds the patterns that have their upper bits in common.
Task vectors of 16-bit models have few bits, so nearly all of their entries are the first pattern of their bin: those
are counted apart, and what else there is may be few enough to be listed instead of counted in a further pass.

The functions on a whole range of entries (`scan_…`) form the task vectors as they go, see `kernels.vectors`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from merge_core.kernels.compilation import kernel
from merge_core.kernels.dtypes import MAGNITUDE
from merge_core.kernels.rank import SCAN
from merge_core.kernels.vectors import form_vectors

Array = np.ndarray[Any, np.dtype[Any]]

LOW_BITS = np.uint32(13)
LOW_MASK = np.uint32((1 << 13) - 1)
COARSE = 1 << 18  # bins
FINE = 1 << 13  # patterns in each
STRIP = 128


def count_coarse_plain(values: Array, counts: Array, low: Array, listed: int) -> int:
    """Numpy's meaning of `count_coarse`."""
    pattern = values.view(np.uint32) & MAGNITUDE
    other = (pattern & LOW_MASK) != 0
    for row, rows in zip(counts, (pattern[~other], pattern[other]), strict=True):
        row += np.bincount(rows >> LOW_BITS, minlength=COARSE).astype(counts.dtype)
    room = low[listed:]
    having = pattern[other]
    room[: having.size] = having[: room.size]
    return listed + int(having.size)


@kernel
def count_coarse(values, counts, low, listed):  # type: ignore[no-untyped-def]
    """Count magnitudes by bin; list those that are not the first of theirs; answer how many of these there are by now.

    Args:
        values: float32 [n].
        counts: uint32 [2, COARSE], added to; row 0 for first patterns, row 1 for others.
        low: uint32 [room], gets the patterns that are not the first of their bin, as long as there is room.
        listed: how many of them there were so far, room or not.
    """
    bits = values.view(np.uint32)
    table = counts.reshape(-1)
    place = np.empty(STRIP, np.uint32)
    for start in range(0, bits.size, STRIP):
        part = bits[start : start + STRIP]
        union = np.uint32(0)
        for i in range(part.size):
            union |= part[i]
            other = np.uint32((part[i] & LOW_MASK) != 0)
            place[i] = np.uint32(((part[i] & MAGNITUDE) >> LOW_BITS) + other * np.uint32(COARSE))
        for i in range(part.size):
            table[place[i]] += np.uint32(1)
        if union & LOW_MASK == 0:
            continue
        for i in range(part.size):
            if part[i] & LOW_MASK != 0:
                if listed < low.size:
                    low[listed] = part[i] & MAGNITUDE
                listed += 1
    return listed


@kernel
def scan_coarse(address, stored, based, start, stop, counts, low, listed):  # type: ignore[no-untyped-def]
    """`count_coarse` for every model over entries start … stop − 1; answers as `form_vectors` does.

    Args:
        address, stored, based: as for `form_vectors`.
        start, stop: which entries.
        counts: uint32 [models, 2, COARSE], added to.
        low: uint32 [models, room], written.
        listed: int64 [models], how many of `low` there were so far, room or not; added to.
    """
    rows = np.empty((address.size, SCAN), np.float32)
    top = np.uint32(0)
    for first in range(start, stop, SCAN):
        size = min(SCAN, stop - first)
        top = max(top, form_vectors(address, stored, based, first, size, rows))
        for m in range(listed.size):
            listed[m] = count_coarse(rows[m, :size], counts[m], low[m], listed[m])
    return top


def count_fine_plain(values: Array, slot: Array, counts: Array) -> None:
    """Numpy's meaning of `count_fine`."""
    pattern = values.view(np.uint32) & MAGNITUDE
    row = slot[pattern >> LOW_BITS]
    inside = (row >= 0) & (pattern & LOW_MASK != 0)
    np.add.at(counts, (row[inside], pattern[inside] & LOW_MASK), 1)


@kernel
def count_fine(values, slot, counts):  # type: ignore[no-untyped-def]
    """Count the magnitudes of float32 [n] that lie in chosen bins and are not the first of theirs, by all their bits.

    Args:
        values: float32 [n].
        slot: int16 [COARSE], each bin's row in `counts`, or −1.
        counts: uint32 [rows, FINE], added to.
    """
    bits = values.view(np.uint32)
    table = counts.reshape(-1)
    chosen = np.empty(STRIP, np.uint32)
    for start in range(0, bits.size, STRIP):
        part = bits[start : start + STRIP]
        found = np.uint64(0)
        for i in range(part.size):  # sift, then count; see `kernels.rank`
            pattern = part[i] & MAGNITUDE
            chosen[found] = pattern
            found += np.uint64((slot[pattern >> LOW_BITS] >= 0) & ((pattern & LOW_MASK) != 0))
        for j in range(found):
            row = np.uint32(slot[chosen[j] >> LOW_BITS])
            table[(row << LOW_BITS) + (chosen[j] & LOW_MASK)] += np.uint32(1)


@kernel
def scan_fine(address, stored, based, start, stop, slot, counts):  # type: ignore[no-untyped-def]
    """`count_fine` for every model over entries start … stop − 1; answers as `form_vectors` does.

    Args:
        address, stored, based, start, stop: as for `scan_coarse`.
        slot: int16 [models, COARSE].
        counts: uint32 [models, rows, FINE], added to.
    """
    rows = np.empty((address.size, SCAN), np.float32)
    top = np.uint32(0)
    for first in range(start, stop, SCAN):
        size = min(SCAN, stop - first)
        top = max(top, form_vectors(address, stored, based, first, size, rows))
        for m in range(slot.shape[0]):
            count_fine(rows[m, :size], slot[m], counts[m])
    return top
