"""At which density does an entry survive the trim, and at which do survivors disagree?

A level is an index into a grid of densities; entries that never survive have the level `NEVER`. The pattern of |τ| is
looked up in two steps: by its upper bits, and, for the few coarse bins in which a threshold lies, by its lower bits as
well. What is found is a code: a level, or a tie, whose entries all have one magnitude and survive one after the other,
in index order, as the density rises.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from merge_core.kernels.compilation import kernel
from merge_core.kernels.dtypes import MAGNITUDE

Array = np.ndarray[Any, np.dtype[Any]]

LOW_BITS = np.uint32(13)
LOW_MASK = np.uint32((1 << 13) - 1)
COARSE = 1 << 18  # coarse bins
FINE = 1 << 13  # patterns in each
LEVELS = 100
NEVER = LEVELS  # the level of an entry that survives at no density
TIED = 128  # codes from here on are ties
CODES = 256
SOLE = np.uint32(1 << 31)  # marks a coarse bin whose patterns all have one code
STRIP = 512
DEALT = 1024  # entries that are dealt out together where no tie is near its next step


def count_coarse_plain(vectors: Array, counts: Array, low: Array, listed: Array) -> None:
    """Numpy's meaning of `count_coarse`."""
    for m, values in enumerate(vectors):
        pattern = values.view(np.uint32) & MAGNITUDE
        counts[m] += np.bincount(pattern >> LOW_BITS, minlength=COARSE).astype(counts.dtype)
        having = pattern[(pattern & LOW_MASK) != 0]
        room = low[m, int(listed[m]) :]
        room[: having.size] = having[: room.size]
        listed[m] += having.size


@kernel
def count_coarse(vectors, counts, low, listed):  # type: ignore[no-untyped-def]
    """Count magnitudes by their upper bits, and list those with lower bits: 16-bit models have hardly any.

    Args:
        vectors: float32 [models, n].
        counts: uint32 [models, COARSE], added to.
        low: uint32 [models, room], gets the patterns that are not the first of their bin, as long as there is room.
        listed: int64 [models], how many of them there were so far, room or not; added to.
    """
    for m in range(vectors.shape[0]):
        bits = vectors[m].view(np.uint32)
        row = counts[m]
        for start in range(0, bits.size, STRIP):
            part = bits[start : start + STRIP]
            union = np.uint32(0)
            for i in range(part.size):
                union |= part[i]
            for i in range(part.size):
                row[(part[i] & MAGNITUDE) >> LOW_BITS] += np.uint32(1)
            if union & LOW_MASK == 0:
                continue
            for i in range(part.size):
                if part[i] & LOW_MASK != 0:
                    if listed[m] < low.shape[1]:
                        low[m, listed[m]] = part[i] & MAGNITUDE
                    listed[m] += 1


def count_fine_plain(vectors: Array, slots: Array, counts: Array) -> None:
    """Numpy's meaning of `count_fine`."""
    for values, slot_of, row in zip(vectors, slots, counts, strict=True):
        pattern = values.view(np.uint32) & MAGNITUDE
        slot = slot_of[pattern >> LOW_BITS]
        inside = (slot >= 0) & (pattern & LOW_MASK != 0)
        np.add.at(row, (slot[inside], pattern[inside] & LOW_MASK), 1)


@kernel
def count_fine(vectors, slots, counts):  # type: ignore[no-untyped-def]
    """Count the magnitudes that lie in chosen coarse bins, pattern by pattern but for each bin's first.

    That one is what remains of the bin's count. It is left out because task vectors of bfloat16 models have hardly any
    low bits: nearly all of their entries are the first of their bin.

    Args:
        vectors: float32 [models, n].
        slots: int16 [models, COARSE], each coarse bin's row in `counts`, or −1.
        counts: uint32 [models, rows, FINE], added to.
    """
    chosen = np.empty(STRIP, np.uint32)
    for m in range(vectors.shape[0]):
        bits = vectors[m].view(np.uint32)
        slot_of = slots[m]
        table = counts[m].reshape(-1)
        for start in range(0, bits.size, STRIP):
            part = bits[start : start + STRIP]
            found = np.uint64(0)
            for i in range(part.size):  # sift, then count; see `kernels.rank`
                pattern = part[i] & MAGNITUDE
                chosen[found] = pattern
                found += np.uint64((slot_of[pattern >> LOW_BITS] >= 0) & ((pattern & LOW_MASK) != 0))
            for j in range(found):
                slot = np.uint32(slot_of[chosen[j] >> LOW_BITS])
                table[(slot << LOW_BITS) + (chosen[j] & LOW_MASK)] += np.uint32(1)


def codes_plain(values: Array, where: Array, codes: Array) -> Array:
    """The code of each entry of float32 [n], looked up as `levels` does."""
    pattern = values.view(np.uint32) & MAGNITUDE
    at = where[pattern >> LOW_BITS]
    found: Array = codes[np.where(at & SOLE, at & ~SOLE, at + (pattern & LOW_MASK))]
    return found


def count_codes_plain(values: Array, where: Array, codes: Array, counts: Array) -> None:
    """Numpy's meaning of `count_codes`."""
    counts += np.bincount(codes_plain(values, where, codes), minlength=CODES)


@kernel
def count_codes(values, where, codes, counts):  # type: ignore[no-untyped-def]
    """Count the entries of float32 [n] by their code: int64 [CODES], added to. See `levels`."""
    bits = values.view(np.uint32)
    for i in range(bits.size):
        counts[_code(bits[i] & MAGNITUDE, where, codes)] += 1


@kernel
def _code(pattern, where, codes):  # type: ignore[no-untyped-def]
    # One read for either kind of bin: which kind an entry's is is a coin toss, and a branch on it would cost more.
    at = where[pattern >> LOW_BITS]
    inside = pattern & LOW_MASK & np.uint32((at >> np.uint32(31)) - np.uint32(1))
    return codes[np.uint64(np.uint32(at & ~SOLE) + inside)]


def levels_plain(
    values: Array, where: Array, codes: Array, now: Array, left: Array, steps: Array, dealt: Array, out: Array
) -> None:
    """Numpy's meaning of `levels`."""
    for i, code in enumerate(codes_plain(values, where, codes)):
        out[i] = now[code]
        left[code] -= code >= TIED
        while left[code] == 0:
            advance_plain(code, now, left, steps, dealt)


def advance_plain(code: int, now: Array, left: Array, steps: Array, dealt: Array) -> None:
    """Numpy's meaning of `advance`."""
    row, at = code - TIED, steps[code - TIED, -1] + 1
    steps[row, -1] = at
    over = at >= dealt.shape[1]
    now[code] = NEVER if over else steps[row, at]
    left[code] = np.iinfo(np.int64).max if over else dealt[row, at]


@kernel
def advance(code, now, left, steps, dealt):  # type: ignore[no-untyped-def]
    """Turn a tie to its next step. The last column of `steps` holds the number of the step it is at."""
    row = code - TIED
    at = steps[row, dealt.shape[1]] + 1
    steps[row, dealt.shape[1]] = at
    if at >= dealt.shape[1]:
        now[code] = NEVER
        left[code] = np.int64(0x7FFFFFFFFFFFFFFF)
    else:
        now[code] = steps[row, at]
        left[code] = dealt[row, at]


@kernel
def levels(values, where, codes, now, left, steps, dealt, out):  # type: ignore[no-untyped-def]
    """The level from which each entry of float32 [n] survives.

    Args:
        values: float32 [n].
        where: uint32 [COARSE]; for a coarse bin whose patterns all have one code, SOLE | code; for the others the index
            in `codes` of the bin's first pattern.
        codes: uint8 [CODES + bins·FINE]; first every code itself, then those of the patterns of such bins.
        now: uint8 [CODES], the level that the next entry of a code gets; a code below TIED is a level itself.
        left: int64 [CODES], how many entries get it before a tie's next step. Counted down.
        steps: int64 [ties, s + 1], the levels at which more of a tie's entries survive, rising; then the step it is at.
        dealt: int64 [ties, s], how many entries each of these levels gets.
        out: uint8 [n], written.
    """
    bits = values.view(np.uint32)
    ties = steps.shape[0]
    # Four tables in turn: neighbours often have one code, and each addition would wait for the one before.
    counts = np.zeros((4, CODES), np.uint32)
    for start in range(0, bits.size, DEALT):
        part = bits[start : start + DEALT]
        level = out[start : start + DEALT]
        for i in range(part.size):
            level[i] = _code(part[i] & MAGNITUDE, where, codes)
        near = False
        for tie in range(TIED, TIED + ties):
            near |= left[tie] <= part.size
        if near:
            for i in range(part.size):
                code = np.uint64(level[i])
                level[i] = now[code]
                left[code] -= np.int64(code >= np.uint64(TIED))
                while left[code] == 0:  # rare: a tie has at most one step per density
                    advance(np.int64(code), now, left, steps, dealt)
            continue
        for i in range(part.size):
            counts[i & 3, level[i]] += np.uint32(1)
        for i in range(part.size):
            level[i] = now[np.uint64(level[i])]
        for tie in range(TIED, TIED + ties):
            for lane in range(4):
                left[tie] -= counts[lane, tie]
                counts[lane, tie] = 0


def count_onsets_plain(level: Array, vectors: Array, sign: Array, counts: Array) -> None:
    """Numpy's meaning of `count_onsets`."""
    positive = (vectors * sign[:, None]) > 0
    order = np.sort(level, axis=0)
    first = order[0]
    second = order[1] if len(order) > 1 else np.full_like(first, NEVER)
    up = np.where(positive, level, NEVER).min(0)
    down = np.where(positive, NEVER, level).min(0)
    for row, onset in enumerate((first, second, np.maximum(up, down))):
        counts[row] += np.bincount(onset, minlength=NEVER + 1)


@kernel
def count_onsets(level, vectors, sign, counts):  # type: ignore[no-untyped-def]
    """Count the levels from which entries are touched, contested and in conflict.

    An entry is touched once one model's survives, contested once two do, in conflict once one of each sign does: at the
    later of the earliest positive and the earliest negative survivor.

    Args:
        level: uint8 [models, n] from `levels`.
        vectors: float32 [models, n].
        sign: float32 [models], of the models' weights.
        counts: int64 [3, NEVER + 1], added to; row 0 touched, 1 contested, 2 in conflict.
    """
    models, n = level.shape
    first = np.empty(STRIP, np.uint8)
    second = np.empty(STRIP, np.uint8)
    up = np.empty(STRIP, np.uint8)
    down = np.empty(STRIP, np.uint8)
    # Four tables in turn: neighbours often have one level, and each addition would wait for the one before.
    tables = np.zeros((3, 4, NEVER + 1), np.uint32)
    never = np.uint8(NEVER)
    for start in range(0, n, STRIP):
        size = min(STRIP, n - start)
        for i in range(size):
            first[i] = never
            second[i] = never
            up[i] = never
            down[i] = never
        for k in range(models):
            row = vectors[k, start : start + size]
            own = level[k, start : start + size]
            flip = sign[k]
            for i in range(size):
                a = own[i]
                second[i] = min(second[i], max(first[i], a))
                first[i] = min(first[i], a)
                positive = row[i] * flip > 0
                up[i] = min(up[i], a if positive else never)
                down[i] = min(down[i], never if positive else a)
        for i in range(size):
            up[i] = max(up[i], down[i])
        for i in range(size):
            lane = i & 3
            tables[0, lane, first[i]] += np.uint32(1)
            tables[1, lane, second[i]] += np.uint32(1)
            tables[2, lane, up[i]] += np.uint32(1)
    for kind in range(3):
        for lane in range(4):
            for j in range(NEVER + 1):
                counts[kind, j] += tables[kind, lane, j]
