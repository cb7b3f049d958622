"""An interference report at one density: sums by layer and over the model."""

from __future__ import annotations

from dataclasses import dataclass

from merge_core.interference.report import InterferenceReport
from merge_core.plan import MergePlan


@dataclass(frozen=True)
class Counts:
    """Entries of some tensors: all, and those where at least one task vector survives, at least two, both signs.

    `stack` and `layer` say whose; layer is None for what lies outside the layers.
    """

    stack: str
    layer: int | None
    entries: int
    touched: int
    contested: int
    conflicted: int


@dataclass(frozen=True)
class Summary:
    """A report at the grid's density nearest to the one asked for; layers in order, what lies outside them last."""

    density: float
    layers: tuple[Counts, ...]
    total: Counts


def summarise(report: InterferenceReport, density: float) -> Summary:
    """Sum the counts of `report` at `density` by layer."""
    at = min(range(len(report.density)), key=lambda i: abs(report.density[i] - density))
    sums: dict[tuple[str, int | None], list[int]] = {}
    for tensor in report.tensors:
        key = (tensor.stack if tensor.layer is not None else "", tensor.layer)
        counts = sums.setdefault(key, [0, 0, 0, 0])
        found = (tensor.numel, tensor.touched[at], tensor.contested[at], tensor.conflicted[at])
        for column, value in enumerate(found):
            counts[column] += value
    ordered = sorted(sums, key=lambda key: (key[1] is None, key[0], key[1] or 0))
    layers = tuple(Counts(stack, layer, *sums[stack, layer]) for stack, layer in ordered)
    return Summary(report.density[at], layers, Counts("", None, *_total(layers)))


def recipe_density(plan: MergePlan) -> float:
    """The recipe's density; where it differs between models or tensors, its mean over the entries; 1 without a trim."""
    trimmed = [(t.numel, rule.density.mean()) for t in plan.tensors if (rule := plan.trim(t)) is not None]
    entries = sum(numel for numel, _ in trimmed)
    return float(sum(numel * density for numel, density in trimmed) / entries) if entries else 1.0


def _total(layers: tuple[Counts, ...]) -> tuple[int, int, int, int]:
    return (
        sum(c.entries for c in layers),
        sum(c.touched for c in layers),
        sum(c.contested for c in layers),
        sum(c.conflicted for c in layers),
    )
