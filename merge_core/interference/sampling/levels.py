"""From which density of the grid on a sampled entry survives, told by its rank within the sample."""

from __future__ import annotations

from typing import Any

import numpy as np

from merge_core.interference.levels import kept_at_each, largest_first
from merge_core.kernels.dtypes import MAGNITUDE
from merge_core.kernels.onset import NEVER
from merge_core.methods.trimming import TrimRule

Array = np.ndarray[Any, np.dtype[Any]]


def sampled_levels(
    rule: TrimRule, entries: int, magnitudes: Array, weights: Array, slack: Array | None = None
) -> Array:
    """The estimated level of each entry of one model: exactly its level if the sample is the whole scope.

    An entry of the sample stands for 1 / (its share of the tensor) entries of the scope. Ordered by magnitude, and
    equal ones by index, the entries it stands for begin where those before it end; it survives once half of them do.

    Args:
        rule: how many entries a density keeps, and what becomes of equal magnitudes.
        entries: of the scope.
        magnitudes: uint32 [n], bits of |τ|, in index order.
        weights: float64 [n], how many entries each stands for.
        slack: how far off a rank may be at each density, in entries of the scope, float64 [densities], signed: moves
            the ranks of equal magnitudes by as much. Groups that are much smaller than it are left where they are.

    Returns:
        uint8 [n].
    """
    kept = kept_at_each(rule, entries).astype(np.float64)
    order = largest_first(magnitudes)
    weight = weights[order]
    place = np.cumsum(weight) - weight / 2
    if rule.keep_equal or slack is not None:
        ordered = MAGNITUDE - magnitudes[order]
        first = np.searchsorted(ordered, ordered, side="left")
        if rule.keep_equal:
            place = place[first]
        if slack is not None:
            last = np.searchsorted(ordered, ordered, side="right") - 1
            through = np.cumsum(weight)
            size = through[last] - through[first] + weight[first]
            shift = np.interp(place, kept, slack)
            place = np.where((first < last) & (size > np.abs(shift) / 4), place + shift, place)
    levels = np.empty(magnitudes.size, np.uint8)
    levels[order] = np.searchsorted(kept, np.maximum(place, 0))
    levels[magnitudes == 0] = NEVER
    return levels
