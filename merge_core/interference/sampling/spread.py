"""How far off the estimated counts of a tensor may be.

Three things are reckoned with: how its own blocks differ, how blocks differ in tensors whose other blocks look alike,
and how far off the trim's thresholds are where they come from other tensors as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from merge_core.interference.sampling.counts import BlockCounts
from merge_core.interference.sampling.intervals import effective, share_interval, student

Array = np.ndarray[Any, np.dtype[Any]]

WIDER = 1.25  # variances, and the effects of thresholds, are estimates themselves; found by simulation
FEW_BLOCKS = 8  # degrees of freedom; of fewer than a dozen blocks, seven tenths
UNSEEN = (
    3.0  # of N that are alike, up to 3 / N of the rest may be different, 95 times in 100: the rule of three
)


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
        unread: share of the tensor that was not read.
    """
    models, blocks, densities = counts.kept.shape
    if unread == 0:
        return KeptSpread(np.zeros((densities, models, models)), np.zeros(densities))
    centred = counts.kept - counts.kept.mean(axis=1, keepdims=True)
    covariance = np.einsum("mbd,nbd->dmn", centred, centred) / ((blocks - 1) * blocks)
    covariance = covariance * (tensor_share**2 * unread)
    trace = np.trace(covariance, axis1=1, axis2=2)
    return KeptSpread(covariance, trace**2 / (blocks - 1))


@dataclass(frozen=True)
class Observed:
    """What one tensor's sample says of its shares, and of how its blocks differ.

    Five shares: touched, contested and in conflict, of all entries; in conflict, of the touched and of the contested.

    Args:
        entries, blocks: how many were read.
        unread: share of the tensor that was not.
        shares: float64 [5, densities].
        wholes: float64 [5, densities], the share of all entries of which they are shares. What follows of spreads and
            effects is per entry of all: over `wholes` it is of `shares`.
        kept: float64 [models, densities], survivors of each model's trim.
        effects: float64 [5, models, densities], see `BlockCounts`.
        variance: float64 [5, densities], from the spread between blocks.
        freedom: float64 [densities], its degrees of freedom.
        clustering: float64 [densities], how many times the spread of the kept shares exceeds that of independent
            entries.
        surprise, looked: float64 [5, densities]. Each block's squared distance from the mean of the others, scaled to
            estimate the variance of one block, summed with a weight: the more the more alike the others are. And the
            sum of the weights.
    """

    entries: int
    blocks: int
    unread: float
    shares: Array
    wholes: Array
    kept: Array
    effects: Array
    variance: Array
    freedom: Array
    clustering: Array
    surprise: Array
    looked: Array


def observe(
    counts: BlockCounts, tensor_share: float, unread: float, short: Array, jumps: Array | None = None
) -> Observed:
    """Sum up one tensor's blocks.

    An estimated share p̂ errs by the mean over blocks of what is left of p when the thresholds' share in it is taken
    out: an entry adds f − Σ_m g_m·(it is kept by m), g = `effects` the derivative of p by the kept share, because a
    sample that by chance holds many large entries also puts its threshold too high.

    Args:
        counts, tensor_share, unread: as for `kept_spread`.
        short: bool [densities], where a model keeps fewer than asked for, because the others are zero: then there is no
            threshold to take out.
        jumps: bool [densities], where thresholds stand still because many entries are equal.

    Source: linearization of a functional of sample quantiles (Bahadur 1966; Deville 1999), and of a ratio (Cochran
        1977, chapter 6).
    """
    of_all, kept = counts.shares(), counts.kept_shares()
    rate = rates(of_all)
    shares = np.concatenate([of_all, rate])
    wholes = np.concatenate([np.ones_like(of_all), of_all[:2]])

    def with_rates(values: Array) -> Array:
        """[3, n, densities] → [5, …]: what a rate errs by, times its whole, is in conflict − rate · whole."""
        return np.concatenate([values, values[2] - rate[:, None] * values[:2]])

    effects = with_rates(counts.effects)
    if unread == 0:
        nothing, ones = np.zeros_like(shares), np.ones(shares.shape[1])
        return Observed(
            counts.entries, counts.blocks, 0.0, shares, wholes, kept, effects,
            nothing, ones, ones, nothing, nothing,
        )  # fmt: skip
    kinds = with_rates(counts.kinds)
    left = kinds - np.einsum("kmd,mbd->kbd", effects, counts.kept) * tensor_share
    variance = _variance(left)
    if jumps is not None:
        variance = np.where(jumps, np.maximum(variance, _variance(kinds)), variance)
    alone = kept * (1 - kept) / max(1, counts.entries)
    found = _variance(counts.kept) / np.where(alone > 0, alone, 1.0)
    freedom = _freedom(counts)
    # Where few blocks hold what matters, thresholds move too far for their effect to be taken out.
    entire = short | (freedom < np.minimum(FEW_BLOCKS, 0.7 * (counts.blocks - 1)))
    single = wholes * shares * (1 - shares)  # the variance of one entry
    left = np.where(entire, kinds, left)
    surprise, looked = _surprise(left, counts.kinds, single, counts.entries / counts.blocks)
    return Observed(
        entries=counts.entries,
        blocks=counts.blocks,
        unread=unread,
        shares=shares,
        wholes=wholes,
        kept=kept,
        effects=effects,
        variance=variance * unread,
        freedom=freedom,
        clustering=np.asarray(np.where(alone > 0, found, 1.0).max(axis=0)),
        surprise=surprise,
        looked=looked,
    )


@dataclass(frozen=True)
class Unseen:
    """What samples may have missed, as all tensors together tell it.

    A tensor whose blocks look alike may hold rows that no block fell on, and nothing in its own sample tells. But where
    tensors are like that, the blocks of some of them fall on such rows.

    Args:
        variance: float64 [5, densities], of one block in a tensor whose other blocks look alike.
        share: the share of blocks unlike any that was read that may exist, 95 times in 100.
    """

    variance: Array
    share: float


def unseen(observed: Sequence[Observed]) -> Unseen:
    """Learn it from samples of all tensors; at least one."""
    surprise, looked = sum(o.surprise for o in observed), sum(o.looked for o in observed)
    blocks = sum(o.blocks for o in observed if o.unread)
    return Unseen(np.asarray(surprise / np.maximum(looked, 1e-12)), min(1.0, UNSEEN / max(1, blocks)))


def intervals(observed: Observed, missed: Unseen, elsewhere: KeptSpread, voters: int) -> tuple[Array, Array]:
    """(low, high) 95 % bounds of the shares of `Observed`: float64 [5, densities] each.

    Args:
        observed: the tensor's own sample.
        missed: what it may have missed.
        elsewhere: the spread of kept shares that the scope's other tensors add to its thresholds.
        voters: how many models vote.

    Source: the variance between blocks with n_eff and Student's t as Korn and Graubard 1998; degrees of freedom as
        Satterthwaite 1946; independent errors in quadrature, each side by itself, as Zou and Donner 2008.
    """
    shares, own = observed.shares, observed.variance
    known = observed.wholes > 0
    scale = 1 / np.where(known, observed.wholes, 1.0)
    other = np.einsum("kmd,dmn,knd->kd", observed.effects, elsewhere.covariance, observed.effects)
    other = np.maximum(other, 0)
    variance = own + other
    trace = np.where(elsewhere.trace > 0, elsewhere.trace, 1.0)
    shed = own**2 / observed.freedom + other**2 * elsewhere.weight / trace**2
    freedom = np.where(shed > 0, variance**2 / np.where(shed > 0, shed, 1.0), np.inf)
    critical = WIDER * student(freedom)
    entries = np.maximum(observed.entries * observed.wholes, 1.0)
    low, high = _bounds(observed, shares, variance * scale**2, critical, entries)
    if voters > 1:
        # The rarer touched entries that several models keep, the more lopsided is what is known of their number, and
        # with it of the touched, of which they are what is missing to all that is kept.
        several = np.clip((observed.kept.sum(axis=0) - shares[0]) / (voters - 1), 0, 1)
        by_several = variance[:1] / (voters - 1) ** 2
        few, many = _bounds(observed, several[None], by_several, critical[:1], entries[:1])
        low[0] = np.minimum(low[0], shares[0] - (many[0] - several) * (voters - 1))
        high[0] = np.maximum(high[0], shares[0] + (several - few[0]) * (voters - 1))
    hidden = (
        WIDER
        * student(np.array(observed.blocks - 1.0))
        * np.sqrt(missed.variance * (observed.unread / observed.blocks))
    )
    odd = missed.share * observed.unread * scale
    hidden = hidden * scale
    low = shares - np.hypot(np.maximum(shares - low, hidden), odd * shares)
    high = shares + np.hypot(np.maximum(high - shares, hidden), odd * (1 - shares))
    if observed.unread:
        low, high = np.where(known, low, 0), np.where(known, high, 1)
    if voters < 2:  # then nothing is contested
        low[1:] = high[1:] = 0
    return np.maximum(low, 0), np.minimum(high, 1)


def rates(shares: Array) -> Array:
    """In conflict of touched and of contested, float64 [2, …], of [3, …]; 0 where there is none."""
    return np.asarray(shares[2] / np.where(shares[:2] > 0, shares[:2], 1.0))


def _bounds(
    observed: Observed, shares: Array, variance: Array, critical: Array, entries: Array
) -> tuple[Array, Array]:
    if observed.unread == 0:  # all entries are known: only the thresholds of a larger scope are not
        reach = critical * np.sqrt(variance)
        return np.maximum(shares - reach, 0), np.minimum(shares + reach, 1)
    worth = effective(shares, variance, entries / observed.unread, observed.clustering)
    return share_interval(shares, worth, critical)


def _surprise(left: Array, kinds: Array, single: Array, length: float) -> tuple[Array, Array]:
    """See `Observed`.

    Args:
        left: float64 [5, blocks, densities], the blocks' values.
        kinds: see `BlockCounts`.
        single: float64 [5, densities], the variance of one entry.
        length: entries in each block.
    """
    blocks = left.shape[1]
    total, squares = left.sum(axis=1, keepdims=True), (left**2).sum(axis=1, keepdims=True)
    others = (total - left) / (blocks - 1)
    # From a rate of which the block had no part: one that holds most of the whole has made the rate its own.
    elsewhere = rates(kinds.sum(axis=1, keepdims=True) - kinds)
    distance = np.concatenate([(left - others)[:3], kinds[2] - elsewhere * kinds[:2]])
    distance = distance**2 * ((blocks - 1) / blocks)
    spread = np.maximum(squares - left**2 - (blocks - 1) * others**2, 0) / max(1, blocks - 2)
    alone = np.maximum(single, 1 / length)[:, None, :] / length
    weight = 1 / np.sqrt(np.maximum(1.0, spread / alone))
    return (weight * distance).sum(axis=1), weight.sum(axis=1)


def _freedom(counts: BlockCounts) -> Array:
    """Degrees of freedom of a spread between blocks, float64 [densities]: of those blocks, one less, that matter.

    Where a few blocks hold all the large entries, the others tell nothing about a trim that keeps few; and where a few
    hold all the small ones, nothing about one that drops few. With c such entries in each block, (Σc)² / (Σc² − Σc)
    blocks matter: all of them if c varies as chance makes it vary.
    """
    length = counts.entries / counts.blocks
    matter = [_mattering(share * length) for share in (counts.kept, 1 - counts.kept)]
    return np.asarray(np.clip(np.minimum(*matter), 2, max(2, counts.blocks)) - 1)


def _mattering(count: Array) -> Array:
    """Of counts by block, [models, blocks, densities], how many blocks matter: [densities]."""
    total = count.sum(axis=1)
    pairs = (count**2).sum(axis=1) - total
    few = total < 2  # too few to tell; the interval of so rare an event does not hang on them
    matter = np.where(few | (pairs <= 0), count.shape[1], total**2 / np.where(pairs > 0, pairs, 1.0))
    return np.asarray(matter.min(axis=0))


def _variance(values: Array) -> Array:
    """Of the mean over the blocks' values [k, blocks, d]: [k, d]."""
    return np.asarray(np.var(values, axis=1, ddof=1) / values.shape[1])
