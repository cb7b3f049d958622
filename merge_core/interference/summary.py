"""An interference report at one density: sums by layer and over the model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from merge_core.interference.rates import rate_bounds
from merge_core.interference.report import InterferenceReport, TensorInterference
from merge_core.plan import MergePlan

Bounds = tuple[float, float]


@dataclass(frozen=True)
class Counts:
    """Entries of some tensors: all, and those where at least one task vector survives, at least two, both signs.

    `stack` and `layer` say whose; layer is None for what lies outside the layers. `bounds` are the 95 % intervals of
    the three counts where they are estimates, and `rate` that of the conflicts' share of the contested; else None.
    """

    stack: str
    layer: int | None
    entries: int
    touched: int
    contested: int
    conflicted: int
    bounds: tuple[Bounds, Bounds, Bounds] | None = None
    rate: Bounds | None = None


@dataclass(frozen=True)
class Summary:
    """A report at the grid's density nearest to the one asked for; layers in order, what lies outside them last."""

    density: float
    layers: tuple[Counts, ...]
    total: Counts


def summarise(report: InterferenceReport, density: float) -> Summary:
    """Sum the counts of `report` at `density` by layer."""
    at = min(range(len(report.density)), key=lambda i: abs(report.density[i] - density))
    rows: dict[tuple[str, int | None], list[TensorInterference]] = {}
    for tensor in report.tensors:
        rows.setdefault((tensor.stack if tensor.layer is not None else "", tensor.layer), []).append(tensor)
    ordered = sorted(rows, key=lambda key: (key[1] is None, key[0], key[1] or 0))
    layers = tuple(_counts(stack, layer, rows[stack, layer], at) for stack, layer in ordered)
    return Summary(report.density[at], layers, _counts("", None, report.tensors, at))


def _counts(stack: str, layer: int | None, tensors: Sequence[TensorInterference], at: int) -> Counts:
    bounds = rate = None
    if any(t.sampled is not None for t in tensors):
        bounds = (
            sum_bounds([_estimate(t.touched, t.touched_low, t.touched_high, at) for t in tensors]),
            sum_bounds([_estimate(t.contested, t.contested_low, t.contested_high, at) for t in tensors]),
            sum_bounds([_estimate(t.conflicted, t.conflicted_low, t.conflicted_high, at) for t in tensors]),
        )
        low, high = rate_bounds(tensors, "contested")[:, at]
        rate = float(low), float(high)
    return Counts(
        stack,
        layer,
        sum(t.numel for t in tensors),
        sum(t.touched[at] for t in tensors),
        sum(t.contested[at] for t in tensors),
        sum(t.conflicted[at] for t in tensors),
        bounds,
        rate,
    )


def _estimate(
    count: Sequence[int], low: Sequence[int] | None, high: Sequence[int] | None, at: int
) -> tuple[int, int, int]:
    return count[at], count[at] if low is None else low[at], count[at] if high is None else high[at]


def sum_bounds(estimates: Sequence[tuple[float, float, float]]) -> Bounds:
    """The 95 % interval of a sum of independent estimates, each a (value, low, high).

    Source: errors add up in quadrature, each side by itself, as Zou and Donner 2008 do it.
    """
    value = sum(v for v, _, _ in estimates)
    below = math.sqrt(sum((v - low) ** 2 for v, low, _ in estimates))
    above = math.sqrt(sum((high - v) ** 2 for v, _, high in estimates))
    return value - below, value + above


def recipe_density(plan: MergePlan) -> float:
    """The recipe's density; where it differs between models or tensors, its mean over the entries; 1 without a trim."""
    trimmed = [(t.numel, t.trim.density.mean()) for t in plan.tensors if t.trim is not None]
    entries = sum(numel for numel, _ in trimmed)
    return float(sum(numel * density for numel, density in trimmed) / entries) if entries else 1.0


def merging_weights(plan: MergePlan) -> list[list[float]]:
    """Per merged tensor, what each of the report's models is multiplied by in the merge."""
    return [t.settings["weight"][list(plan.listed)].tolist() for t in plan.tensors if t.settings is not None]
