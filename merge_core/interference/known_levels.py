"""Level tables from thresholds that an earlier inspection found: a tensor is looked at again without ranking."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from merge_core.interference.levels import LevelTable, kept_at_each, tie_steps
from merge_core.kernels.onset import COARSE, CODES, FINE, LEVELS, LOW_BITS, NEVER, SOLE, TIED
from merge_core.methods.trimming import TrimRule
from merge_core.streaming.cut import Threshold
from merge_core.trimming.known import KnownThresholds

Array = np.ndarray[Any, np.dtype[Any]]

ABOVE_ALL = 1 << 31  # above every pattern: the threshold of a density that keeps nothing


def known_tables(rule: TrimRule, known: KnownThresholds, scope: int, entries: int) -> list[LevelTable] | None:
    """One table per model, as `levels.measure_levels` would find them; None where a threshold is not known.

    Args:
        rule: the trim.
        known: thresholds found before.
        scope: which, as `KnownThresholds` counts them.
        entries: of the scope.
    """
    kept = kept_at_each(rule, entries)
    wanted = np.unique(kept[(kept > 0) & (kept < entries)]).tolist()
    tables = []
    for m in range(len(rule.density)):
        found = {k: known.get(m, scope, k) for k in wanted}
        if any(threshold is None for threshold in found.values()):
            return None
        tables.append(
            _table({k: t for k, t in found.items() if t is not None}, kept, entries, rule.keep_equal)
        )
    return tables


def _table(found: Mapping[int, Threshold], kept: Array, entries: int, keep_equal: bool) -> LevelTable:
    """The table that these thresholds make."""
    # The pattern that an entry must exceed to survive whole, by density: falling.
    least = np.array(
        [found[k].pattern if k in found else 0 if k >= entries else ABOVE_ALL for k in kept.tolist()],
        np.int64,
    )
    ties = {
        t.pattern: (k - t.equal_kept, t.equal) for k, t in found.items()
    }  # pattern → entries above, equal
    chosen = np.unique([0, *(pattern >> int(LOW_BITS) for pattern in ties)])
    where = SOLE | _levels(np.arange(COARSE, dtype=np.int64) << int(LOW_BITS), least).astype(np.uint32)
    where[chosen] = CODES + np.arange(chosen.size) * FINE
    codes = np.empty(CODES + chosen.size * FINE, np.uint8)
    codes[:CODES] = np.arange(CODES)
    patterns = (chosen[:, None] << int(LOW_BITS)) + np.arange(FINE)
    codes[CODES:] = _levels(patterns.ravel(), least)
    codes[CODES] = NEVER  # zero
    steps: list[tuple[int, ...]] = []
    dealt: list[tuple[int, ...]] = []
    for pattern, (above, equal) in ties.items():
        begins, ends = (int(np.searchsorted(kept, count)) for count in (above + 1, above + equal))
        at = CODES + int(np.searchsorted(chosen, pattern >> int(LOW_BITS))) * FINE + pattern % FINE
        if pattern == 0:
            continue
        if keep_equal or begins == ends:
            codes[at] = min(begins if keep_equal else ends, NEVER)
            continue
        codes[at] = TIED + len(steps)
        reached, parts = tie_steps(kept, above, equal, begins, ends)
        steps.append(reached)
        dealt.append(parts)
    return LevelTable(where, codes, tuple(steps), tuple(dealt), dict(found))


def _levels(patterns: Array, least: Array) -> Array:
    """The first density whose threshold lies below each pattern; LEVELS, which is NEVER, where none does."""
    return LEVELS - np.searchsorted(least[::-1], patterns, side="left")
