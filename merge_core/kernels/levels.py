"""From which density of a grid on an entry survives a trim: its level, looked up by its magnitude.

With densities q1 < … < q100, the level of an entry is the number of densities at which it does not survive: NEVER if it
never does. Most levels are told by the upper bits of |x| alone, or by all of them in a bin that a threshold cuts (see
`kernels.coarse`). What is left are ties: entries of one magnitude that survive one after the other, in index order, as
the density rises. A tie's entries have one level until so many have passed, and then the next.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from merge_core.kernels.coarse import LOW_BITS, LOW_MASK
from merge_core.kernels.compilation import kernel
from merge_core.kernels.dtypes import MAGNITUDE
from merge_core.kernels.rank import SCAN, count_equal
from merge_core.kernels.vectors import form_vectors

Array = np.ndarray[Any, np.dtype[Any]]

TIED = np.uint8(128)  # codes from here on are ties; those below are levels
CODES = 256
STRIP = 64


class Levels(NamedTuple):
    """What the levels of each model's entries are looked up in, and how far its ties have been dealt out.

    Args:
        first: uint8 [models, COARSE], the level of a bin's first pattern, which for a bin without a slot all of its
            patterns have. For a tie's pattern what its next entry gets, kept up to date.
        slot: int16 [models, COARSE], the row in `inner` of a bin whose patterns have levels of their own, or −1.
        inner: uint8 [models, rows, FINE], the level of each such pattern but the first; for tie number k TIED + k.
        pattern: uint32 [models, ties], the bits of each tie's magnitude; above all magnitudes where there is none.
        watched: int64 [models, ties], those ties of first patterns that may reach their next step, then −1.
        now: uint8 [models, ties], the level that the next entry of a tie gets.
        left: int64 [models, ties], how many entries get it. Counted down.
        at: int64 [models, ties], the step that a tie is at.
        steps: uint8 [models, ties, steps], the levels that it goes through.
        dealt: int64 [models, ties, steps], how many entries get each, at least 1; the last one has no end.
    """

    first: Array
    slot: Array
    inner: Array
    pattern: Array
    watched: Array
    now: Array
    left: Array
    at: Array
    steps: Array
    dealt: Array


def look_up_plain(values: Array, first: Array, slot: Array, inner: Array, out: Array) -> bool:
    """Numpy's meaning of `look_up`."""
    pattern = values.view(np.uint32) & MAGNITUDE
    place, low = pattern >> LOW_BITS, pattern & LOW_MASK
    own = (low > 0) & (slot[place] >= 0)
    out[:] = np.where(own, inner[slot[place], low], first[place])
    return bool(np.any(out[own] >= TIED))


@kernel
def look_up(values, first, slot, inner, out):  # type: ignore[no-untyped-def]
    """Write what a model's tables say of float32 [n] to uint8 [n]; answer whether a tie in `inner` is among it.

    Args:
        values: float32 [n].
        first, slot, inner: one model's, see `Levels`.
        out: uint8 [n], written.
    """
    bits = values.view(np.uint32)
    flat = inner.reshape(-1)
    largest = np.uint8(0)
    for start in range(0, bits.size, STRIP):
        part = bits[start : start + STRIP]
        level = out[start : start + STRIP]
        union = np.uint32(0)
        for i in range(part.size):
            union |= part[i]
        for i in range(part.size):
            level[i] = first[np.uint64((part[i] & MAGNITUDE) >> LOW_BITS)]
        if union & LOW_MASK == 0:
            continue
        for i in range(part.size):
            pattern = part[i] & MAGNITUDE
            if pattern & LOW_MASK == 0:
                continue
            row = slot[np.uint64(pattern >> LOW_BITS)]
            if row >= 0:
                level[i] = flat[(np.uint32(row) << LOW_BITS) + (pattern & LOW_MASK)]
                largest = max(largest, level[i])
    return largest >= TIED


def deal_plain(values: Array, m: int, t: Levels, out: Array) -> None:
    """Numpy's meaning of `deal_inner` and `deal_watched`, one after the other."""
    pattern = values.view(np.uint32) & MAGNITUDE
    dealt = {int(p): tie for tie, p in enumerate(t.pattern[m]) if p & LOW_MASK or tie in t.watched[m]}
    for i in np.flatnonzero(np.isin(pattern, list(dealt))):
        tie = dealt[int(pattern[i])]
        out[i] = t.now[m, tie]
        advance_plain(m, tie, 1, t)


@kernel
def deal_inner(m, t, out):  # type: ignore[no-untyped-def]
    """Put the levels of model `m` in place of the ties that `look_up` left in uint8 [n]; `t` is a `Levels`."""
    for i in range(out.size):
        if out[i] >= TIED:
            tie = np.int64(out[i]) - TIED
            out[i] = t.now[m, tie]
            advance(m, tie, 1, t)


@kernel
def deal_watched(values, m, t, out):  # type: ignore[no-untyped-def]
    """Let entries float32 [n] of model `m` pass that belong to watched ties, and mend their levels in uint8 [n]."""
    bits = values.view(np.uint32)
    for w in range(t.watched.shape[1]):
        tie = t.watched[m, w]
        if tie < 0:
            return
        pattern = t.pattern[m, tie]
        equal = np.int64(count_equal(values, pattern))
        left = t.left[m, tie]
        now = t.now[m, tie]
        if equal >= left:  # rare: a tie has at most one step per density
            for i in range(bits.size):
                if bits[i] & MAGNITUDE == pattern:
                    out[i] = now
                    left -= 1
                    equal -= 1
                    if left == 0:
                        advance(m, tie, t.left[m, tie], t)
                        left = t.left[m, tie]
                        now = t.now[m, tie]
        t.left[m, tie] = left - equal


def advance_plain(m: int, tie: int, count: int, t: Levels) -> None:
    """Numpy's meaning of `advance`."""
    for _ in range(count):
        t.left[m, tie] -= 1
        if t.left[m, tie] == 0:
            t.at[m, tie] += 1
            t.left[m, tie] = t.dealt[m, tie, t.at[m, tie]]
    t.now[m, tie] = t.steps[m, tie, t.at[m, tie]]
    if t.pattern[m, tie] & LOW_MASK == 0:
        t.first[m, t.pattern[m, tie] >> LOW_BITS] = t.now[m, tie]


@kernel
def advance(m, tie, count, t):  # type: ignore[no-untyped-def]
    """Let `count` entries of a tie of model `m` pass, and turn to the step that is reached."""
    t.left[m, tie] -= count
    if t.left[m, tie] > 0:
        return
    while t.left[m, tie] <= 0:
        t.at[m, tie] += 1
        t.left[m, tie] += t.dealt[m, tie, t.at[m, tie]]
    t.now[m, tie] = t.steps[m, tie, t.at[m, tie]]
    if t.pattern[m, tie] & LOW_MASK == 0:
        t.first[m, t.pattern[m, tie] >> LOW_BITS] = t.now[m, tie]


@kernel
def scan_codes(address, stored, based, start, stop, first, slot, inner, counts):  # type: ignore[no-untyped-def]
    """Count entries start … stop − 1 of every model by what `look_up` says; answers as `form_vectors` does.

    Args:
        address, stored, based: as for `form_vectors`.
        start, stop: which entries.
        first, slot, inner: see `Levels`; with TIED + k for tie number k in `first` as well.
        counts: int64 [models, CODES], added to.
    """
    rows = np.empty((address.size, SCAN), np.float32)
    codes = np.empty(SCAN, np.uint8)
    top = np.uint32(0)
    for begin in range(start, stop, SCAN):
        size = min(SCAN, stop - begin)
        top = max(top, form_vectors(address, stored, based, begin, size, rows))
        for m in range(counts.shape[0]):
            look_up(rows[m, :size], first[m], slot[m], inner[m], codes[:size])
            for i in range(size):
                counts[m, codes[i]] += 1
    return top
