"""What the blocks of one tensor say: shares, how they spread, and how they move with the trim's thresholds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from merge_core.kernels.onset import LEVELS, NEVER

Array = np.ndarray[Any, np.dtype[Any]]

KINDS = ("touched", "contested", "conflicted")
WINDOW = 2  # levels on whose entries the effect of a threshold is observed: the one below a density and the one above


@dataclass(frozen=True)
class BlockCounts:
    """Observed shares of one tensor.

    Args:
        kinds: float64 [3, parts, densities]: touched, contested, in conflict.
        kept: float64 [models, parts, densities]: survivors of each model's trim.
        weights: float64 [parts], each part's share of the sample.
        effects: float64 [3, models, densities]: by how much a share grows per share of entries that one model keeps
            more of.
        entries: in the sample.
        blocks: how many there are.
    """

    kinds: Array
    kept: Array
    weights: Array
    effects: Array
    entries: int
    blocks: int

    def shares(self) -> Array:
        """Over the whole sample, float64 [3, densities]."""
        return np.asarray(np.einsum("kpd,p->kd", self.kinds, self.weights))

    def kept_shares(self) -> Array:
        """Over the whole sample, float64 [models, densities]."""
        return np.asarray(np.einsum("mpd,p->md", self.kept, self.weights))


def count_blocks(levels: Array, positive: Array, edges: Array) -> BlockCounts:
    """Count a sample.

    Args:
        levels: uint8 [models, n], from which density on each entry survives.
        positive: bool [models, n], whether it votes for plus.
        edges: int64 [blocks, parts + 1], as in `design.Sampled`; the sample's entries in the same order.
    """
    onsets = _onsets(levels, positive)
    sizes = np.diff(edges, axis=1).ravel()
    part = np.repeat(np.arange(sizes.size), sizes)
    live = np.flatnonzero(sizes)  # a tensor read whole has empty parts

    def shares(row: Array) -> Array:
        counted = np.bincount(part * (NEVER + 1) + row, minlength=sizes.size * (NEVER + 1))
        reached = np.cumsum(counted.reshape(sizes.size, NEVER + 1)[live, :LEVELS], axis=1)
        found: Array = reached / sizes[live, None]
        return found

    n = max(1, levels.shape[1])
    return BlockCounts(
        kinds=np.stack([shares(row) for row in onsets]),
        kept=np.stack([shares(row) for row in levels]),
        weights=sizes[live] / n,
        effects=_effects(levels, positive) / n / (WINDOW / LEVELS),
        entries=levels.shape[1],
        blocks=len(edges),
    )


def _onsets(levels: Array, positive: Array) -> Array:
    """uint8 [3, n]: from which level on entries are touched, contested, in conflict; see `kernels.onset`."""
    first, second = _two_lowest(levels)
    up = np.where(positive, levels, NEVER).min(axis=0)
    down = np.where(positive, NEVER, levels).min(axis=0)
    return np.stack([first, second, np.maximum(up, down)])


def _effects(levels: Array, positive: Array) -> Array:
    """Entries near each density's threshold of one model whose fate decides what they count as: [3, models, densities].

    For each kind, an entry is decided by one model at the densities from `begin` to `end`: it is touched through it
    alone until another survives; contested from then until a second other does; in conflict from the first survivor of
    the other sign until another of its own sign.
    """
    models = len(levels)
    found = np.zeros((3, models, LEVELS))
    for m in range(models):
        others = np.delete(levels, m, axis=0)
        if not len(others):
            found[0, m] = _window(levels[m], np.zeros_like(levels[m]), np.full_like(levels[m], NEVER))
            continue
        first, second = _two_lowest(others)
        alike = np.delete(positive, m, axis=0) == positive[m]
        same = np.where(alike, others, NEVER).min(axis=0)
        opposite = np.where(alike, NEVER, others).min(axis=0)
        found[0, m] = _window(levels[m], np.zeros_like(first), first)
        found[1, m] = _window(levels[m], first, second)
        found[2, m] = _window(levels[m], opposite, same)
    found[:, :, -1] = 0  # the last density keeps everything, whatever the sample
    return found


def _two_lowest(levels: Array) -> tuple[Array, Array]:
    """uint8 [rows, n] → the lowest and the second lowest of each column."""
    first, second = levels[0], np.full_like(levels[0], NEVER)
    for row in levels[1:]:
        second = np.minimum(second, np.maximum(first, row))
        first = np.minimum(first, row)
    return first, second


def _window(level: Array, begin: Array, end: Array) -> Array:
    """Per density j, entries whose own level is j or j + 1 and for which begin ≤ j < end: float64 [densities]."""
    first = np.maximum(begin, np.maximum(level, 1) - 1)
    stop = np.minimum(end, level + 1)
    stop = np.where(level >= NEVER, 0, stop)
    live = first < stop
    rises = np.bincount(first[live], minlength=NEVER + 2)
    falls = np.bincount(stop[live], minlength=NEVER + 2)
    return np.asarray(np.cumsum(rises - falls)[:LEVELS], np.float64)
