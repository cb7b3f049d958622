"""95 % intervals of a share, and of a ratio of two sums."""

from __future__ import annotations

import math
from collections.abc import Sequence

Z = 1.959963984540054  # the standard normal distribution's 97.5th percentile


def wilson(right: int, n: int) -> tuple[float, float]:
    """Wilson's score interval of a share.

    Args:
        right: items answered rightly, 0 to `n`.
        n: items, at least 1.

    Source: Wilson 1927; Newcombe 1998, method 3.
    """
    share = right / n
    middle = (share + Z * Z / (2 * n)) / (1 + Z * Z / n)
    half = Z / (1 + Z * Z / n) * math.sqrt(share * (1 - share) / n + Z * Z / (4 * n * n))
    # Exactly 0 and 1 where all or none are right, which rounding would miss.
    return (max(0.0, middle - half) if right else 0.0, min(1.0, middle + half) if right < n else 1.0)


def ratio(over: Sequence[float], under: Sequence[float]) -> tuple[float, float, float]:
    """(ratio, low, high) of Σ over / Σ under, its interval over items by the delta method.

    Args:
        over, under: both of every item, at least two items; `under` positive.

    Source: Cochran 1977, Sampling Techniques, eq. 6.13 (the population taken as infinite).
    """
    n, total = len(over), math.fsum(under)
    value = math.fsum(over) / total
    squares = math.fsum((x - value * y) ** 2 for x, y in zip(over, under, strict=True))
    half = Z * math.sqrt(n / (n - 1) * squares) / total
    return value, max(0.0, value - half), value + half
