"""95 % intervals of shares that were estimated from few, clustered observations."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

Z = 1.959963984540054  # the standard normal distribution's 97.5th percentile
FEW = 50  # events; of fewer, an observed spread says little


def student(freedom: Array) -> Array:
    """Student's t, 97.5th percentile, to three digits from three degrees of freedom on.

    Args:
        freedom: degrees of freedom, not necessarily whole; below 1 counts as 1, infinity is the normal distribution.

    Source: Abramowitz and Stegun 1964, 26.7.5; between 1, 2 and 3, where that series fails, interpolated.
    """
    z = Z
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    inverse = 1 / np.maximum(freedom, 3.0)
    series = z + sum(term * inverse ** (k + 1) for k, term in enumerate(terms))
    few = np.exp(np.interp(freedom, (1.0, 2.0, 3.0), np.log((12.706, 4.303, 3.182))))
    return np.asarray(np.where(freedom < 3, few, series))


def share_interval(share: Array, observations: Array, critical: Array) -> tuple[Array, Array]:
    """The score interval of a share with continuity correction: about as wide as Clopper and Pearson's.

    Args:
        share: observed, 0 to 1.
        observations: how many independent ones it is worth, not necessarily a whole number.
        critical: instead of 1.96, Student's t where the spread was estimated.

    Source: Newcombe 1998, method 4; with an effective number of observations Korn and Graubard 1998.
    """
    n, p, t = np.maximum(observations, 1.0), share, critical
    under = t * t - 2 - 1 / n + 4 * p * (n * (1 - p) + 1)
    over = t * t + 2 - 1 / n + 4 * p * (n * (1 - p) - 1)
    low = (2 * n * p + t * t - 1 - t * np.sqrt(np.maximum(under, 0))) / (2 * (n + t * t))
    high = (2 * n * p + t * t + 1 + t * np.sqrt(np.maximum(over, 0))) / (2 * (n + t * t))
    return np.where(p <= 0, 0.0, np.clip(low, 0.0, p)), np.where(p >= 1, 1.0, np.clip(high, p, 1.0))


def effective(share: Array, variance: Array, entries: Array, clustering: Array) -> Array:
    """How many independent observations an estimated share is worth.

    Args:
        share: observed.
        variance: of it, estimated from the spread between blocks.
        entries: how many were observed.
        clustering: how many times larger than of independent entries the variance of a frequent event is; for events so
            rare that their own spread says little.
    """
    likely = np.clip(
        share, 1 / entries, 1 - 1 / entries
    )  # what was never seen, or always, may be so by chance
    spread = likely * (1 - likely)
    worth = np.where(variance > 0, spread / np.where(variance > 0, variance, 1.0), np.inf)
    rare = entries * np.minimum(share, 1 - share) < FEW
    cap = np.where(rare, entries / np.maximum(clustering, 1.0), entries * 100.0)
    return np.minimum(worth, cap)
