"""The share in conflict of what is touched or contested in several tensors together, with its 95 % interval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from merge_core.interference.report import TensorInterference

Array = np.ndarray[Any, np.dtype[Any]]


def rate_bounds(tensors: Sequence[TensorInterference], whole: Literal["touched", "contested"]) -> Array:
    """(low, high) of Σ in conflict / Σ of the whole, at every density: float64 [2, densities].

    A tensor errs by its own rate's error times its whole, and by its whole's error times how far its rate lies from
    that of all; errors of different tensors are independent. 0 and 1 where nothing of the whole was met.

    Source: errors in quadrature, each side by itself, as Zou and Donner 2008.
    """
    part = np.array([t.conflicted for t in tensors], np.float64)
    of = np.array([getattr(t, whole) for t in tensors], np.float64)
    own = _over(part, of)
    low, high = (_ends(tensors, f"of_{whole}_{side}", own) for side in ("low", "high"))
    fewer, more = (_ends(tensors, f"{whole}_{side}", of) for side in ("low", "high"))
    off = np.maximum(of - fewer, more - of)
    total = of.sum(axis=0)
    rate = _over(part.sum(axis=0), total)
    # Of a tensor whose whole was not met, the rate may be anything.
    below = np.hypot((own - low) * of, np.where(of > 0, np.abs(own - rate), rate) * off)
    above = np.hypot((high - own) * of, np.where(of > 0, np.abs(own - rate), 1 - rate) * off)
    reach = np.sqrt((np.stack([below, above]) ** 2).sum(axis=1))
    known = any(t.sampled is not None for t in tensors)
    spread = np.where(total > 0, _over(reach, total), 1.0 if known else 0.0)
    return np.stack([np.maximum(rate - spread[0], 0), np.minimum(rate + spread[1], 1)])


def _ends(tensors: Sequence[TensorInterference], name: str, exact: Array) -> Array:
    """A bound of every tensor; what is exact is its own bound."""
    found = [getattr(t, name) for t in tensors]
    rows = [row if end is None else np.array(end, np.float64) for row, end in zip(exact, found, strict=True)]
    return np.array(rows).reshape(exact.shape)


def _over(part: Array, whole: Array) -> Array:
    """part / whole; 0 where there is no whole."""
    return np.asarray(np.where(whole > 0, part / np.where(whole > 0, whole, 1.0), 0.0))
