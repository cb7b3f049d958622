"""What methods are made of, on numpy arrays by compiled kernels and on torch tensors by torch."""

from __future__ import annotations

from typing import Any

import numpy as np

from merge_core.kernels import disjoint, dropping, weighted_sum
from merge_core.kernels.disjoint import Election

Vectors = Any


def weighted_mean(vectors: Vectors, weights: Any, divisor: float) -> Vectors:
    """Σ weights[m]·vectors[m] / divisor: float32 [models, n] → float32 [n], accumulated in float64."""
    if not isinstance(vectors, np.ndarray):
        from merge_core.kernels import on_torch

        return on_torch.weighted_sum(vectors, weights, divisor)
    merged = np.empty(vectors.shape[1], np.float32)
    weighted_sum.weighted_sum(vectors, weights, divisor, merged)
    return merged


def sum_of(weights: Any) -> float:
    """What a weighted mean of task vectors is divided by; as in mergekit, weights that cancel divide by 1."""
    total = float(weights.sum())
    return total if abs(total) >= 1e-8 else 1.0


def drop(vectors: Vectors, keys: Any, start: int, density: Any, scale: Any) -> Vectors:
    """float32 [models, n], entries dropped at random and the others scaled; see `kernels.dropping`."""
    if not isinstance(vectors, np.ndarray):
        from merge_core.kernels import on_torch

        return on_torch.drop(vectors, keys, start, density, scale)
    kept = np.empty_like(vectors)
    dropping.drop(vectors, keys, start, density, scale, kept)
    return kept


def disjoint_merge(
    tau: Vectors, threshold: Any, ballot: Any, weight: Any, share: Any, election: Election
) -> tuple[Vectors, int]:
    """(merged float32 [n], sum of the elected signs); see `kernels.disjoint`."""
    if not isinstance(tau, np.ndarray):
        from merge_core.kernels import on_torch

        return on_torch.disjoint_merge(tau, ballot, weight, share, election)
    merged = np.empty(tau.shape[1], np.float32)
    return merged, int(disjoint.disjoint_merge(tau, threshold, ballot, weight, share, election, merged))
