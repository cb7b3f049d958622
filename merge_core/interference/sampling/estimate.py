"""The samples of one trim scope → estimated counts of each of its tensors, with their 95 % intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from merge_core.interference.levels import DENSITIES, kept_at_each
from merge_core.interference.sampling.counts import BlockCounts, count_blocks
from merge_core.interference.sampling.intervals import student
from merge_core.interference.sampling.levels import sampled_levels
from merge_core.interference.sampling.reading import SampledTensor
from merge_core.interference.sampling.spread import (
    WIDER,
    KeptSpread,
    Observed,
    intervals,
    kept_spread,
    observe,
    rates,
    unseen,
)
from merge_core.kernels.dtypes import MAGNITUDE
from merge_core.kernels.onset import LEVELS, NEVER
from merge_core.methods.trimming import TrimRule

Array = np.ndarray[Any, np.dtype[Any]]

SLIP = 1e-3  # a share that a small sample cannot tell from zero


@dataclass(frozen=True)
class Estimate:
    """Counts of one tensor, and the share in conflict of the touched and of the contested, with 95 % bounds.

    Args:
        count, low, high: int64 [3, densities] each, touched, contested and in conflict; low ≤ count ≤ high.
        rate_low, rate_high: float64 [2, densities]; 0 and 1 where the sample met none of the whole.
    """

    count: Array
    low: Array
    high: Array
    rate_low: Array
    rate_high: Array


def estimate(
    scopes: Sequence[tuple[TrimRule, Sequence[SampledTensor]]],
) -> list[Estimate]:
    """Estimate every tensor of some trim scopes.

    Args:
        scopes: each with the samples of all its tensors, in plan order.
    """
    return conclude([about for rule, samples in scopes for about in observe_scope(rule, samples)])


@dataclass(frozen=True)
class About:
    """One tensor of a scope, summed up.

    Args:
        numel: its entries.
        observed: its own sample.
        elsewhere: the spread that the scope's other tensors add to its thresholds.
        voters: how many models vote.
        below, above: float64 [5, densities], by how much its shares move with thresholds where no derivative tells it.
        most: float64 [densities], the share that no model can keep more of; 1 where that is not known.
    """

    numel: int
    observed: Observed
    elsewhere: KeptSpread
    voters: int
    below: Array
    above: Array
    most: Array


def observe_scope(rule: TrimRule, samples: Sequence[SampledTensor]) -> list[About]:
    """Sum up every tensor of a trim scope; its samples are not needed any more.

    Args:
        rule: the trim.
        samples: of all tensors of the scope, in plan order.
    """
    scope = _Scope(rule, samples)
    counts = scope.counts(None)
    spreads = [
        kept_spread(c, share, scope.unread(s))
        for c, s, share in zip(counts, samples, scope.shares, strict=True)
    ]
    together = KeptSpread(
        np.sum([s.covariance for s in spreads], axis=0), np.sum([s.weight for s in spreads], axis=0)
    )
    moving = rule.keep_equal or len(samples) > 1
    less, more, jumps = _tie_jumps(scope, counts, together) if moving else (counts, counts, None)
    most = np.ones(LEVELS) if moving else scope.wanted()
    stretch = scope.stretch(counts, together)
    short = (scope.kept_beyond(counts)[scope.voting] < -SLIP).any(axis=0)
    abouts = []
    for number, (tensor, count) in enumerate(zip(samples, counts, strict=True)):
        own = spreads[number]
        moved = [_shares(found[number]) for found in (counts, less, more)]
        moved += [_at_other_densities(moved[0], factor) for factor in (1 - stretch, 1 + stretch)]
        abouts.append(
            About(
                tensor.tensor.numel,
                observe(count, scope.shares[number], scope.unread(tensor), short, jumps),
                KeptSpread(together.covariance - own.covariance, np.maximum(together.weight - own.weight, 0)),
                scope.voters,
                moved[0] - np.min(moved, axis=0),
                np.max(moved, axis=0) - moved[0],
                most,
            )
        )
    return abouts


def _at_other_densities(shares: Array, factor: float) -> Array:
    """[5, densities] → the same, but for the rates, which are those at `factor` times the density.

    Where the sample holds more nonzero entries than its part, a density keeps less of them than it says.
    """
    moved = shares.copy()
    densities = np.array(DENSITIES)
    for row in (3, 4):
        moved[row] = np.interp(densities * factor, densities, shares[row])
    return moved


def _shares(counts: BlockCounts) -> Array:
    """As in `Observed`, [5, densities]."""
    shares = counts.shares()
    return np.concatenate([shares, rates(shares)])


def conclude(abouts: Sequence[About]) -> list[Estimate]:
    """The estimates of tensors, each in the light of all."""
    if not abouts:
        return []
    missed = unseen([about.observed for about in abouts])
    found = []
    for about in abouts:
        low, high = intervals(about.observed, missed, about.elsewhere, about.voters)
        shares = about.observed.shares
        low, high = low - about.below, high + about.above
        # Each touched entry is kept by one model at least, each contested one by two.
        limit = about.most * about.voters / np.array([[1], [2], [2]])
        high[:3] = np.maximum(shares[:3], np.minimum(high[:3], limit))
        found.append(_whole_numbers(about.numel, shares, low, high))
    return found


class _Scope:
    """The samples of a scope, looked at together."""

    def __init__(self, rule: TrimRule, samples: Sequence[SampledTensor]) -> None:
        self._rule = rule
        self._samples = samples
        alone = len(samples) == 1
        self.counted = [alone or s.tensor.counted for s in samples]
        self.entries = sum(s.tensor.numel for s, c in zip(samples, self.counted, strict=True) if c)
        self.shares = [
            s.tensor.numel / max(1, self.entries) if c else 0.0
            for s, c in zip(samples, self.counted, strict=True)
        ]
        self._sign = [s.sign for s in samples]
        self.voting = self._sign[0] != 0
        self.voters = int(self.voting.sum())
        self._edges = np.cumsum([0, *(s.sampled.entries for s in samples)])
        # What an entry stands for; a tied copy stands for nothing, and is ranked among the others all the same.
        each = [
            s.tensor.numel / max(1, s.sampled.entries) if c else 0.0
            for s, c in zip(samples, self.counted, strict=True)
        ]
        self._weights = np.repeat(each, np.diff(self._edges))

    def unread(self, sample: SampledTensor) -> float:
        """Share of a tensor that was not read."""
        return 1 - sample.sampled.entries / max(1, sample.tensor.numel)

    def counts(self, slack: Array | None) -> list[BlockCounts]:
        """Per tensor; `slack` as for `sampled_levels`, float64 [models, densities]."""
        models = len(self._samples[0].vectors)
        levels = np.empty((models, self._edges[-1]), np.uint8)
        for m in range(models):
            row = [s.vectors[m].view(np.uint32) & MAGNITUDE for s in self._samples]
            magnitudes = np.concatenate(row)
            shift = None if slack is None else slack[m]
            levels[m] = sampled_levels(self._rule, self.entries, magnitudes, self._weights, shift)
        found = []
        for number, sample in enumerate(self._samples):
            own = levels[:, self._edges[number] : self._edges[number + 1]].copy()
            sign = self._sign[number]
            own[sign == 0] = NEVER
            found.append(count_blocks(own, sample.vectors * sign[:, None] > 0, sample.sampled.sizes))
        return found

    def kept_beyond(self, counts: Sequence[BlockCounts]) -> Array:
        """How far the share of survivors exceeds what the rule asks for, [models, densities]."""
        kept = sum(c.kept_shares() * share for c, share in zip(counts, self.shares, strict=True))
        return np.asarray(kept - self.wanted())

    def stretch(self, counts: Sequence[BlockCounts], together: KeptSpread) -> float:
        """How far off the share of nonzero entries may be, relatively: the most of any model's."""
        nonzero = sum(c.kept_shares()[:, -1] * share for c, share in zip(counts, self.shares, strict=True))
        reach = _critical(counts) * np.sqrt(np.diag(together.covariance[-1]))
        return float(np.min([1.0, np.max(np.where(nonzero > 0, reach / np.maximum(nonzero, 1e-12), 0.0))]))

    def wanted(self) -> Array:
        """The share of entries that the rule keeps, float64 [densities]."""
        return kept_at_each(self._rule, self.entries) / max(1, self.entries)


def _tie_jumps(
    scope: _Scope, counts: Sequence[BlockCounts], together: KeptSpread
) -> tuple[list[BlockCounts], list[BlockCounts], Array]:
    """What the sample would say if each threshold lay a little higher, or lower; and where many equals matter.

    Linearization fails at large groups of equal magnitudes. Where they survive together, a share jumps when a threshold
    moves by one rank past the group, and stands still when it moves within. Where they survive in index order over
    several tensors, a tensor's share jumps when the last survivor comes to lie in it.

    Returns:
        less, more: the counts with the ranks off by as much as they may be.
        jumps: bool [densities], where more survive than were asked for.
    """
    far = _critical(counts) * np.sqrt(np.einsum("dmm->md", together.covariance))
    less = scope.counts(far * scope.entries)
    more = scope.counts(-far * scope.entries)
    jumps = (scope.kept_beyond(counts) > far / 4 + 1 / max(1, scope.entries)).any(axis=0)
    return less, more, jumps


def _critical(counts: Sequence[BlockCounts]) -> float:
    blocks = max((c.blocks for c in counts), default=2)
    return float(WIDER * student(np.array(float(max(1, blocks - 1)))))


def _whole_numbers(numel: int, shares: Array, low: Array, high: Array) -> Estimate:
    """Shares → entries; bounds rounded outwards, but not for an error of the last digit."""
    count = np.rint(shares[:3] * numel).astype(np.int64)
    slip = 1e-9 * max(1, numel)
    least = np.floor(low[:3] * numel + slip).astype(np.int64)
    most = np.ceil(high[:3] * numel - slip).astype(np.int64)
    rate = rates(count)
    return Estimate(
        count,
        np.clip(least, 0, count),
        np.clip(most, count, numel),
        np.clip(low[3:], 0, rate),
        np.clip(high[3:], rate, 1),
    )
