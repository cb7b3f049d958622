"""InterferenceReport → what the browser draws the map from, sent once: every density is in it."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from itertools import takewhile
from typing import Any, Literal

import numpy as np

from components.colours import model_colours
from components.interference.model_warnings import model_warnings
from components.models.names import distinct_names
from merge_core.interference import InterferenceReport, TensorInterference
from merge_core.interference.chance import chance
from merge_core.interference.map_layout import Arrangement, Cell, arrange, row_titles
from merge_core.interference.rates import rate_bounds
from merge_core.recipe import ModelRef

MOST_LISTED = 64  # tensors named in one cell; a cell of a mixture of experts holds hundreds
ELECTION_CURVES = ("kept", "kept_mass", "kept_energy", "outvoted")
MASSES = ("kept_mass", "outvoted")  # which count as the merge weighs them
WHOLES: tuple[Literal["touched", "contested"], ...] = ("touched", "contested")
NO_RATE = 65535  # stands for "nothing is contested" among rates of 16 bits

Array = np.ndarray[Any, np.dtype[Any]]


def map_payload(
    report: InterferenceReport, voters: int | None = None, weights: Sequence[Sequence[float]] | None = None
) -> dict[str, Any]:
    """What `map_state.js` reads.

    Args:
        report: of one inspection.
        voters: how many models have a weight other than zero; default all. Chance is reckoned for those.
        weights: per tensor, what each model is multiplied by in the merge; default 1.

    Returns:
        models, rows, columns, cells, before, after: what is where; names are strangers' text.
        density: shares, ascending.
        curves: [touched, contested, conflicted] × cells × densities, entries, float32 little-endian in base64:
            exact up to 2²⁴ entries, then to seven digits.
        tensor_rates: conflicted / contested per listed tensor × densities, in 65534ths, uint16 in base64. Only for
            the tensors of cells that hold several; in the order of the cells.
        chance: the same three curves as shares of all entries.
        pairs, norms, warnings: models against each other.
        sampled: only where the counts are estimates. `read` of `of` entries were read; `off`: [below, above] × the
            three curves and two rates × cells × densities, how far from them the ends of their 95 % intervals lie,
            float32 in base64; a rate, in conflict of touched and of contested, times what it is of. rates_low,
            rates_high: ends of `tensor_rates`.
        by_model: only where the report holds it. energy [models × cells] and base [cells], Σ τ² and Σ θ0²; inner, same,
            both [pairs × cells], see `TensorInterference`; float64 in base64. `elections`, or None: `TensorElections`
            by cell, its masses weighed; `election`, its name; curves [models × cells × steps] and magnitudes [models ×
            cells × bins] from 2^lowest on, float32.
    """
    arranged = arrange([tensor.name for tensor in report.tensors])
    counts = np.array([[t.touched, t.contested, t.conflicted] for t in report.tensors], np.int64)
    counts = counts.reshape(len(report.tensors), 3, len(report.density))
    curves = np.zeros((3, len(arranged.cells), len(report.density)), np.int64)
    off = _off(report, counts) if report.sampled else None
    cell_off = np.zeros((2, 5, len(arranged.cells), len(report.density)))
    listed: list[int] = []
    cells = []
    for number, cell in enumerate(arranged.cells):
        curves[:, number] = counts[list(cell.tensors)].sum(axis=0)
        if off is not None:
            cell_off[:, :3, number] = np.sqrt((off[:, list(cell.tensors)] ** 2).sum(axis=1))
            cell_off[:, 3:, number] = _rates_off([report.tensors[i] for i in cell.tensors], curves[:, number])
        shown = list(cell.tensors[:MOST_LISTED])
        listed += shown if len(cell.tensors) > 1 else []
        cells.append(_cell(report, arranged, cell, shown))
    names = brief_names(report.models)
    null = chance(len(report.models) if voters is None else voters, report.density)
    return {
        "models": _models(report, names),
        "density": list(report.density),
        "rows": _rows(arranged),
        "columns": [{"label": column.label, "module": column.module} for column in arranged.columns],
        "cells": cells,
        "before": [{"label": label, "cell": cell} for label, cell in arranged.before],
        "after": [{"label": label, "cell": cell} for label, cell in arranged.after],
        "curves": _packed(curves.astype("<f4")),
        "tensor_rates": _packed(_rates(counts[listed])),
        "chance": {
            "touched": list(null.touched),
            "contested": list(null.contested),
            "conflicted": list(null.conflicted),
        },
        "pairs": [
            {
                "a": report.models.index(pair.a),
                "b": report.models.index(pair.b),
                "cosine": pair.cosine,
                "sign_agreement": pair.sign_agreement,
                "cosine_range": _range(pair.cosine_low, pair.cosine_high),
                "sign_agreement_range": _range(pair.sign_agreement_low, pair.sign_agreement_high),
            }
            for pair in report.pairs
        ],
        "norms": [
            {
                "norm": n.norm,
                "relative": n.relative,
                "norm_range": _range(n.norm_low, n.norm_high),
                "relative_range": _range(n.relative_low, n.relative_high),
            }
            for n in report.norms
        ],
        "warnings": model_warnings(report, names),
        **_by_model(report, arranged, weights),
        **({} if off is None else {"sampled": _sampled(report, listed, cell_off)}),
    }


def brief_names(spelled: Sequence[str]) -> list[str]:
    """What tells models apart: "shoes" and "tops" of "garment-vit-shoes" and "garment-vit-tops"."""
    refs = [ModelRef.parse(name) for name in spelled]
    names = distinct_names(refs)
    short = [names[ref] for ref in refs]
    common = len(list(takewhile(lambda letters: len(set(letters)) == 1, zip(*short, strict=False))))
    words = re.match(r".*[-_./]", short[0][:common]) if len(short) > 1 else None
    brief = [name[words.end() :] for name in short] if words else short
    return brief if all(brief) else short


def letters_of(names: Sequence[str]) -> list[str]:
    """One letter or number per model, all different: the first of its name that no earlier one has."""
    found: list[str] = []
    for number, name in enumerate(names, start=1):
        own = (letter for letter in name.upper() if letter.isalnum() and letter not in found)
        found.append(next(own, str(number)))
    return found


def _models(report: InterferenceReport, names: Sequence[str]) -> list[dict[str, str]]:
    colours = model_colours(report.models)
    return [
        {"name": name, "spelled": spelled, "colour": colours[spelled], "letter": letter}
        for name, spelled, letter in zip(names, report.models, letters_of(names), strict=True)
    ]


def _rows(arranged: Arrangement) -> list[dict[str, Any]]:
    """Label beside the map and title in sentences; `stack` counts stacks, for the gap between them."""
    stacks = list(dict.fromkeys(row.stack for row in arranged.rows))
    return [
        {"label": row.label, "title": title, "layer": row.layer, "stack": stacks.index(row.stack)}
        for row, title in zip(arranged.rows, row_titles(arranged.rows), strict=True)
    ]


def _cell(
    report: InterferenceReport, arranged: Arrangement, cell: Cell, shown: Sequence[int]
) -> dict[str, Any]:
    label = arranged.columns[cell.column].label if cell.column >= 0 else cell.module
    return {
        "row": cell.row,
        "column": cell.column,
        "key": cell.key,
        "label": label,
        "numel": sum(report.tensors[i].numel for i in cell.tensors),
        "tensors": [{"name": report.tensors[i].name, "numel": report.tensors[i].numel} for i in shown],
        "count": len(cell.tensors),
        "sampled": sum(_read(report.tensors[i]) for i in cell.tensors),
    }


def _rates(counts: Array) -> Array:
    """[tensors, 3, densities] counts → conflicted / contested in 65534ths."""
    contested, conflicted = counts[:, 1], counts[:, 2]
    rates = np.rint(conflicted / np.maximum(contested, 1) * (NO_RATE - 1))
    return np.where(contested > 0, rates, NO_RATE).astype("<u2")


def _by_model(
    report: InterferenceReport, arranged: Arrangement, weights: Sequence[Sequence[float]] | None
) -> dict[str, Any]:
    """The payload's `by_model`, where every tensor says what it needs."""
    tensors = report.tensors
    if not tensors or any(t.energy is None or t.base_energy is None for t in tensors):
        return {}

    def by_cell(values: Sequence[Any] | Array) -> Array:
        """[tensors, ...] → [cells, ...], added up."""
        found = np.array(values, np.float64)
        return np.stack([found[list(cell.tensors)].sum(axis=0) for cell in arranged.cells])

    said = {"base": _packed(by_cell([t.base_energy for t in tensors]).astype("<f8")), "elections": None}
    for name in ("energy", "inner", "same", "both"):
        said[name] = _packed(
            np.ascontiguousarray(by_cell([getattr(t, name) for t in tensors]).T.astype("<f8"))
        )
    counted = [t.elections for t in tensors if t.elections is not None]
    if len(counted) == len(tensors):
        lowest = min(c.lowest for c in counted)
        bins = max(c.lowest - lowest + len(c.magnitudes[0]) for c in counted)
        magnitudes = np.zeros((len(tensors), len(report.models), bins))
        for place, c in enumerate(counted):
            first = c.lowest - lowest
            magnitudes[place, :, first : first + len(c.magnitudes[0])] = c.magnitudes
        curves: dict[str, Array] = {
            name: np.array([getattr(c, name) for c in counted], np.float64) for name in ELECTION_CURVES
        }
        for name in MASSES if weights is not None else ():
            curves[name] *= np.array(weights, np.float64)[:, :, None]
        said["elections"] = {
            "election": " and ".join(sorted({c.election for c in counted})),
            "steps": len(report.coarse),
            "lowest": lowest,
            "bins": bins,
            **{
                name: _packed(np.ascontiguousarray(by_cell(values).swapaxes(0, 1).astype("<f4")))
                for name, values in {**curves, "magnitudes": magnitudes}.items()
            },
        }
    return {"by_model": said}


def _read(tensor: TensorInterference) -> int:
    return tensor.numel if tensor.sampled is None else tensor.sampled


def _off(report: InterferenceReport, counts: Array) -> Array:
    """How far below and above the counts their intervals reach: float64 [2, tensors, 3, densities]."""
    ends = []
    for side in ("low", "high"):
        names = [f"{name}_{side}" for name in ("touched", "contested", "conflicted")]
        found = [
            [
                counted if (end := getattr(tensor, name)) is None else end
                for name, counted in zip(names, row, strict=True)
            ]
            for tensor, row in zip(report.tensors, counts, strict=True)
        ]
        ends.append(np.array(found, np.float64).reshape(counts.shape))
    return np.maximum(np.stack([counts - ends[0], ends[1] - counts]), 0)


def _rates_off(tensors: Sequence[TensorInterference], counts: Array) -> Array:
    """See `sampled`, of the two rates of one cell, whose counts are [3, densities]: float64 [2, 2, densities]."""
    found = []
    for place, whole in enumerate(WHOLES):
        low, high = rate_bounds(tensors, whole)
        rate = counts[2] / np.maximum(counts[place], 1)
        found.append(np.stack([rate - low, high - rate]) * counts[place])
    return np.maximum(np.stack(found, axis=1), 0)


def _sampled(report: InterferenceReport, listed: Sequence[int], cell_off: Array) -> dict[str, Any]:
    """What the payload says of a sample."""
    bounds = np.zeros((2, len(listed), len(report.density)), "<u2")
    for number, place in enumerate(listed):
        tensor = report.tensors[place]
        ends = np.rint(rate_bounds([tensor], "contested") * (NO_RATE - 1))
        bounds[:, number] = np.where(np.array(tensor.contested) > 0, ends, NO_RATE)
    return {
        "read": sum(_read(tensor) for tensor in report.tensors),
        "of": sum(tensor.numel for tensor in report.tensors),
        "off": _packed(cell_off.astype("<f4")),
        "rates_low": _packed(bounds[0]),
        "rates_high": _packed(bounds[1]),
    }


def _range(low: float | None, high: float | None) -> list[float] | None:
    return None if low is None or high is None else [low, high]


def _packed(values: Array) -> str:
    return base64.b64encode(values.tobytes()).decode("ascii")
