"""In which blocks of a sample do survivors meet, and whose fate at the trim's threshold decides it?"""

from __future__ import annotations

from typing import Any

import numpy as np

from merge_core.kernels.compilation import kernel
from merge_core.kernels.onset import NEVER

Array = np.ndarray[Any, np.dtype[Any]]

BINS = NEVER + 2  # where a run of levels may begin or end


def count_meetings_plain(
    levels: Array, positive: Array, block: Array, onsets: Array, kept: Array, decided: Array
) -> None:
    """Numpy's meaning of `count_meetings`."""

    def two_lowest(rows: Array) -> Array:
        nobody = np.full((2, levels.shape[1]), NEVER, np.uint8)
        return np.asarray(np.sort(np.concatenate([rows, nobody]), axis=0)[:2])

    def lowest(rows: Array, which: Array) -> Array:
        return np.asarray(np.where(which, rows, NEVER).min(axis=0, initial=NEVER))

    first, second = two_lowest(levels)
    conflict = np.maximum(lowest(levels, positive), lowest(levels, ~positive))
    for kind, onset in enumerate((first, second, conflict)):
        np.add.at(onsets[kind], (block, onset), 1)
    for m, own in enumerate(levels):
        np.add.at(kept[m], (block, own), 1)
        others, alike = np.delete(levels, m, axis=0), np.delete(positive, m, axis=0) == positive[m]
        first, second = two_lowest(others)
        runs = ((0, first), (first, second), (lowest(others, ~alike), lowest(others, alike)))
        for kind, (begin, end) in enumerate(runs):
            start = np.maximum(begin, np.maximum(own, 1) - 1)
            stop = np.minimum(end, own.astype(np.int64) + 1)
            run = (own < NEVER) & (start < stop)
            np.add.at(decided[kind, m], start[run], 1)
            np.subtract.at(decided[kind, m], stop[run], 1)


@kernel
def count_meetings(levels, positive, block, onsets, kept, decided):  # type: ignore[no-untyped-def]
    """Count a sample's entries by the level from which on they are touched, contested and in conflict.

    An entry is decided by one model at some densities: it is touched through it alone until another survives; contested
    from then until a second other does; in conflict from the first survivor of the other sign until another of its own
    sign. It counts where the model's own level is that density's or the next one's: near its threshold.

    Args:
        levels: uint8 [models, n], from which density on each entry survives; NEVER where it does not.
        positive: bool [models, n], whether it votes for plus.
        block: int64 [n], which block each entry lies in.
        onsets: int64 [3, blocks, NEVER + 1], touched, contested, in conflict; added to.
        kept: int64 [models, blocks, NEVER + 1], added to.
        decided: int64 [3, models, BINS], added to: one more where such a run of densities begins, one less where it
            has ended.
    """
    models, n = levels.shape
    level: Any
    for i in range(n):
        at = block[i]
        # The three lowest levels, and whose the two lowest are; the two lowest of each sign, and whose the lowest is.
        first = second = third = np.int64(NEVER)
        whose_first = whose_second = -1
        up = up_next = down = down_next = np.int64(NEVER)
        whose_up = whose_down = -1
        for m in range(models):
            level = np.int64(levels[m, i])
            kept[m, at, level] += 1
            if level < first:
                third, second, first = second, first, level
                whose_second, whose_first = whose_first, m
            elif level < second:
                third, second = second, level
                whose_second = m
            elif level < third:
                third = level
            if positive[m, i]:
                if level < up:
                    up_next, up, whose_up = up, level, m
                elif level < up_next:
                    up_next = level
            elif level < down:
                down_next, down, whose_down = down, level, m
            elif level < down_next:
                down_next = level
        onsets[0, at, first] += 1
        onsets[1, at, second] += 1
        onsets[2, at, max(up, down)] += 1
        for m in range(models):
            level = np.int64(levels[m, i])
            if level >= NEVER:
                continue
            other = second if m == whose_first else first
            another = third if m in (whose_first, whose_second) else second
            if positive[m, i]:
                same = up_next if m == whose_up else up
                opposite = down
            else:
                same = down_next if m == whose_down else down
                opposite = up
            least = max(level - 1, 0)
            most = level + 1
            if least < min(other, most):
                decided[0, m, least] += 1
                decided[0, m, min(other, most)] -= 1
            if max(other, least) < min(another, most):
                decided[1, m, max(other, least)] += 1
                decided[1, m, min(another, most)] -= 1
            if max(opposite, least) < min(same, most):
                decided[2, m, max(opposite, least)] += 1
                decided[2, m, min(same, most)] -= 1
