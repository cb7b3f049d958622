"""One tally per tensor → the report of an inspection."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np

from merge_core.interference.elections import elected_of, moments_of, told_elections
from merge_core.interference.levels import DENSITIES
from merge_core.interference.report import (
    InterferenceReport,
    ModelNorm,
    PairAgreement,
    TensorElections,
    TensorInterference,
)
from merge_core.kernels.onset import NEVER
from merge_core.kernels.tally import Tally, new_tally
from merge_core.network.layers import locate
from merge_core.plan import MergePlan, TensorPlan

Array = np.ndarray[Any, np.dtype[Any]]


def report_of(plan: MergePlan, tensors: Sequence[TensorPlan], tallies: Sequence[Tally]) -> InterferenceReport:
    """The report of the inspected `tensors`, each with its tally."""
    whole = [t for tensor, t in zip(tensors, tallies, strict=True) if tensor.counted]
    voted = [tally for tally in whole if tally.kept.size] or [new_tally(0, True)]
    over_model = elected_of(voted), moments_of(voted)
    size = len(plan.models)
    products = np.array(
        [[math.fsum(t.products[a, b] for t in whole) for b in range(size)] for a in range(size)], np.float64
    )
    norms = np.sqrt(np.diag(products))
    base = math.sqrt(math.fsum(t.products[-1, -1] for t in whole))
    return InterferenceReport(
        models=tuple(plan.names[m] for m in plan.listed),
        density=DENSITIES,
        tensors=tuple(
            _of_tensor(plan, tensor, tally, over_model)
            for tensor, tally in zip(tensors, tallies, strict=True)
        ),
        pairs=_pairs(plan, whole, products, norms),
        norms=tuple(
            ModelNorm(plan.names[m], float(norms[m]), float(norms[m]) / base if base > 0 else None)
            for m in plan.listed
        ),
    )


def _of_tensor(
    plan: MergePlan, tensor: TensorPlan, tally: Tally, over_model: tuple[Array, Array]
) -> TensorInterference:
    place = locate(tensor.name)
    touched, contested, conflicted = (tuple(np.cumsum(row[:NEVER]).tolist()) for row in tally.onsets)
    pairs = [(min(pair), max(pair)) for pair in combinations(plan.listed, 2)]
    return TensorInterference(
        tensor.name,
        place.layer,
        place.module,
        place.stack,
        tensor.numel,
        touched,
        contested,
        conflicted,
        energy=tuple(float(tally.products[m, m]) for m in plan.listed),
        base_energy=float(tally.products[-1, -1]),
        inner=tuple(float(tally.products[pair]) for pair in pairs),
        same=tuple(int(tally.same[pair]) for pair in pairs),
        both=tuple(int(tally.both[pair]) for pair in pairs),
        elections=_elections(plan, tensor, tally, over_model) if tally.kept.size else None,
    )


def _pairs(
    plan: MergePlan, tallies: Sequence[Tally], products: Array, norms: Array
) -> tuple[PairAgreement, ...]:
    """Of every two models, over the whole model; what nothing tells is None."""
    none = np.zeros((len(plan.models), len(plan.models)), np.int64)
    same, both = sum((t.same for t in tallies), none), sum((t.both for t in tallies), none)
    pairs = []
    for a, b in combinations(plan.listed, 2):
        pair = min(a, b), max(a, b)
        length = float(norms[a] * norms[b])
        cosine = max(-1.0, min(1.0, float(products[pair]) / length)) if length > 0 else None
        agreement = int(same[pair]) / int(both[pair]) if both[pair] else None
        pairs.append(PairAgreement(plan.names[a], plan.names[b], cosine, agreement))
    return tuple(pairs)


def _elections(
    plan: MergePlan, tensor: TensorPlan, tally: Tally, over_model: tuple[Array, Array]
) -> TensorElections:
    """What the report tells of a tensor's elections; `over_model` of a scope that is the model."""
    rule = tensor.trim
    assert rule is not None
    known = over_model if rule.scope == "model" else (elected_of([tally]), moments_of([tally]))
    return told_elections(tally, rule.voting, plan.listed, *known)
