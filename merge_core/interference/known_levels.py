"""Level tables from thresholds that an earlier inspection found: a tensor is looked at again without ranking."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from merge_core.interference.levels import LevelTables, Tie, kept_at_each, tie_of
from merge_core.kernels.coarse import COARSE, FINE, LOW_BITS
from merge_core.kernels.levels import TIED
from merge_core.kernels.onset import LEVELS, NEVER
from merge_core.methods.trimming import TrimRule
from merge_core.streaming.cut import Threshold
from merge_core.trimming.known import KnownThresholds

Array = np.ndarray[Any, np.dtype[Any]]

ABOVE_ALL = 1 << 31  # above every pattern: the threshold of a density that keeps nothing


def known_tables(rule: TrimRule, known: KnownThresholds, scope: int, entries: int) -> LevelTables | None:
    """Every model's tables, as `levels.measure_levels` would find them; None where a threshold is not known.

    Args:
        rule: the trim.
        known: thresholds found before.
        scope: which, as `KnownThresholds` counts them.
        entries: of the scope.
    """
    kept = kept_at_each(rule, entries)
    wanted = np.unique(kept[(kept > 0) & (kept < entries)]).tolist()
    thresholds: list[dict[int, Threshold]] = []
    for m in range(len(rule.density)):
        found = {k: known.get(m, scope, k) for k in wanted}
        if any(threshold is None for threshold in found.values()):
            return None
        thresholds.append({k: t for k, t in found.items() if t is not None})
    chosen = [np.unique([0, *(t.pattern >> int(LOW_BITS) for t in own.values())]) for own in thresholds]
    models, rows = len(thresholds), max(bins.size for bins in chosen)
    first = np.empty((models, COARSE), np.uint8)
    slot = np.full((models, COARSE), -1, np.int16)
    inner = np.full((models, rows, FINE), NEVER, np.uint8)
    ties = []
    for m, (own, bins) in enumerate(zip(thresholds, chosen, strict=True)):
        slot[m, bins] = np.arange(bins.size)
        ties.append(_fill(own, kept, entries, rule.keep_equal, bins, first[m], inner[m]))
    return LevelTables(first, slot, inner, tuple(ties), tuple(thresholds))


def _fill(
    found: Mapping[int, Threshold],
    kept: Array,
    entries: int,
    keep_equal: bool,
    chosen: Array,
    first: Array,
    inner: Array,
) -> tuple[Tie, ...]:
    """Write the codes that these thresholds make to one model's `first` and `inner`; answer its ties."""
    # The pattern that an entry must exceed to survive whole, by density: falling.
    least = np.array(
        [found[k].pattern if k in found else 0 if k >= entries else ABOVE_ALL for k in kept.tolist()],
        np.int64,
    )
    equals = {
        t.pattern: (k - t.equal_kept, t.equal) for k, t in found.items()
    }  # pattern → entries above, equal
    first[:] = _levels(np.arange(COARSE, dtype=np.int64) << int(LOW_BITS), least)
    patterns = (chosen[:, None] << int(LOW_BITS)) + np.arange(FINE)
    inner[: chosen.size] = _levels(patterns, least)
    inner[0, 0] = NEVER  # zero
    ties: list[Tie] = []
    for pattern, (above, equal) in equals.items():
        begins, ends = (int(np.searchsorted(kept, count)) for count in (above + 1, above + equal))
        at = int(np.searchsorted(chosen, pattern >> int(LOW_BITS))), pattern % FINE
        if pattern == 0:
            continue
        if keep_equal or begins == ends:
            inner[at] = min(begins if keep_equal else ends, NEVER)
            continue
        inner[at] = TIED + len(ties)
        ties.append(tie_of(pattern, above, equal, kept, begins))
    first[chosen] = inner[: chosen.size, 0]
    return tuple(ties)


def _levels(patterns: Array, least: Array) -> Array:
    """The first density whose threshold lies below each pattern; LEVELS, which is NEVER, where none does."""
    return LEVELS - np.searchsorted(least[::-1], patterns, side="left")
