"""How far off the estimated counts of a tensor may be: its own blocks' spread, and that of the thresholds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from merge_core.interference.sampling.counts import BlockCounts
from merge_core.interference.sampling.intervals import effective, share_interval, student

Array = np.ndarray[Any, np.dtype[Any]]

WIDER = 1.25  # variances, and the effects of thresholds, are estimates themselves; found by simulation


@dataclass(frozen=True)
class KeptSpread:
    """How the share of entries that each model keeps would vary from sample to sample, at the estimated thresholds.

    It is what thresholds are uncertain by: were it zero, they would be known.

    Args:
        covariance: float64 [densities, models, models].
        weight: float64 [densities], (covariance's trace)² / degrees of freedom, to add up freedom with.
    """

    covariance: Array
    weight: Array

    @property
    def trace(self) -> Array:
        """float64 [densities]."""
        return np.asarray(np.trace(self.covariance, axis1=1, axis2=2))


def kept_spread(counts: BlockCounts, tensor_share: float, unread: float) -> KeptSpread:
    """What one tensor adds to the spread of the kept shares of its trim scope.

    Args:
        counts: of the tensor's sample.
        tensor_share: its entries / those of the scope.
        unread: share of its blocks that were not read.
    """
    models, _, densities = counts.kept.shape
    if unread == 0:
        return KeptSpread(np.zeros((densities, models, models)), np.zeros(densities))
    found = np.zeros((2, densities, models, models))
    for kind, values in enumerate(_groupings(counts.kept, counts.blocks)):
        centred = values - values.mean(axis=1, keepdims=True)
        groups = values.shape[1]
        found[kind] = np.einsum("mgd,ngd->dmn", centred, centred) / ((groups - 1) * groups)
    traces = np.trace(found, axis1=2, axis2=3)
    covariance = np.where((traces[0] >= traces[1])[:, None, None], found[0], found[1])
    covariance = covariance * (tensor_share**2 * unread)
    trace = np.trace(covariance, axis1=1, axis2=2)
    return KeptSpread(covariance, trace**2 / max(1, counts.blocks - 1))


def intervals(
    counts: BlockCounts,
    tensor_share: float,
    unread: float,
    elsewhere: KeptSpread,
    voters: int,
    jumps: Array | None = None,
) -> tuple[Array, Array]:
    """(low, high) 95 % bounds of the shares touched, contested and in conflict: float64 [3, densities] each.

    An estimated share p̂ errs by the mean over blocks of what is left of p when the thresholds' share in it is taken
    out: an entry adds f − Σ_m g_m·(it is kept by m), g = `effects` the derivative of p by the kept share, because a
    sample that by chance holds many large entries also puts its threshold too high.

    Args:
        counts, tensor_share, unread: as for `kept_spread`.
        elsewhere: the spread of kept shares that the scope's other tensors add to its thresholds.
        voters: how many models vote.
        jumps: bool [densities], where thresholds stand still because many entries are equal.

    Source: linearization of a functional of sample quantiles (Bahadur 1966; Deville 1999); the variance between blocks
        with n_eff and Student's t as Korn and Graubard 1998; degrees of freedom as Satterthwaite 1946.
    """
    shares = counts.shares()
    nothing = np.zeros_like(shares)
    pulled = np.einsum("kmd,mpd->kpd", counts.effects, counts.kept) * tensor_share
    own = nothing if unread == 0 else _variance(counts.kinds - pulled, counts.blocks) * unread
    if jumps is not None and unread:
        own = np.where(jumps, np.maximum(own, _variance(counts.kinds, counts.blocks) * unread), own)
    other = np.einsum("kmd,dmn,knd->kd", counts.effects, elsewhere.covariance, counts.effects)
    other = np.maximum(other, 0)
    variance = own + other
    trace = np.where(elsewhere.trace > 0, elsewhere.trace, 1.0)
    shed = own**2 / _freedom(counts) + other**2 * elsewhere.weight / trace**2
    freedom = np.where(shed > 0, variance**2 / np.where(shed > 0, shed, 1.0), np.inf)
    critical = WIDER * student(freedom)
    if voters < 2:
        reach = critical[0] * np.sqrt(variance[0])
        low, high = nothing.copy(), nothing.copy()
        low[0], high[0] = np.maximum(shares[0] - reach, 0), np.minimum(shares[0] + reach, 1)
        return low, high
    rarity = (unread, _clustering(counts, unread), critical)
    low, high = _bounds(shares, variance, counts.entries, *rarity)
    if tensor_share < 1:
        return low, high
    # Touched entries are those kept, whose number is known within a scope, but for those that several models keep:
    # where these are rarer than the untouched ones, they tell more.
    kept = counts.kept_shares().sum(axis=0)
    several = np.clip((kept - shares[0]) / (voters - 1), 0, 1)
    fewest, most = _bounds(several[None], variance[:1] / (voters - 1) ** 2, counts.entries, *rarity)
    rarer = several < np.minimum(shares[0], 1 - shares[0])
    low[0] = np.where(rarer, np.clip(kept - most[0] * (voters - 1), 0, shares[0]), low[0])
    high[0] = np.where(rarer, np.clip(kept - fewest[0] * (voters - 1), shares[0], 1), high[0])
    return low, high


def _bounds(
    shares: Array, variance: Array, entries: int, unread: float, clustering: Array, critical: Array
) -> tuple[Array, Array]:
    if unread == 0:  # all entries are known: only the thresholds of a larger scope are not
        reach = critical[: len(shares)] * np.sqrt(variance)
        return np.maximum(shares - reach, 0), np.minimum(shares + reach, 1)
    worth = effective(shares, variance, entries / unread, clustering)
    return share_interval(shares, worth, critical[: len(shares)])


def _clustering(counts: BlockCounts, unread: float) -> Array:
    """How many times the spread of the kept shares exceeds that of independent entries: float64 [densities]."""
    if unread == 0:
        return np.ones(counts.kinds.shape[2])
    kept = counts.kept_shares()
    alone = kept * (1 - kept) / max(1, counts.entries)
    found = _variance(counts.kept, counts.blocks) / np.where(alone > 0, alone, 1.0)
    return np.asarray(np.where(alone > 0, found, 1.0).max(axis=0))


def _freedom(counts: BlockCounts) -> Array:
    """Degrees of freedom of a spread between blocks, float64 [densities]: of those blocks, one less, that matter.

    Where a few blocks hold all the large entries, the others tell nothing about a trim that keeps few; and where a few
    hold all the small ones, nothing about one that drops few. With c such entries in each block, (Σc)² / (Σc² − Σc)
    blocks matter: all of them if c varies as chance makes it vary.
    """
    kept, _ = _groupings(counts.kept, counts.blocks)
    matter = [_mattering(share * counts.entries / counts.blocks) for share in (kept, 1 - kept)]
    return np.asarray(np.clip(np.minimum(*matter), 2, max(2, counts.blocks)) - 1)


def _mattering(count: Array) -> Array:
    """Of counts by block, [models, blocks, densities], how many blocks matter: [densities]."""
    total = count.sum(axis=1)
    pairs = (count**2).sum(axis=1) - total
    few = total < 2  # too few to tell; the interval of so rare an event does not hang on them
    matter = np.where(few | (pairs <= 0), count.shape[1], total**2 / np.where(pairs > 0, pairs, 1.0))
    return np.asarray(matter.min(axis=0))


def _variance(values: Array, blocks: int) -> Array:
    """Of the mean over the parts' values [k, parts, d], [k, d]: between blocks, or between parts if that is larger."""
    spreads = [np.var(group, axis=1, ddof=1) / group.shape[1] for group in _groupings(values, blocks)]
    return np.asarray(np.maximum(*spreads))


def _groupings(values: Array, blocks: int) -> tuple[Array, Array]:
    """The values by block and by part of a block."""
    kinds, parts, densities = values.shape
    return values.reshape(kinds, blocks, parts // blocks, densities).mean(axis=2), values
