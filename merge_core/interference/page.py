"""InterferenceReport → one HTML file that needs nothing else: no network, no server, no other file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from merge_core import __version__
from merge_core.interference.chance import chance
from merge_core.interference.map_layout import Arrangement, Cell, arrange, row_titles
from merge_core.interference.rates import rate_bounds
from merge_core.interference.report import InterferenceReport, TensorInterference
from merge_core.interference.summary import sum_bounds
from merge_core.interference.warnings import warnings_of

KINDS = ("touched", "contested", "conflicted")
MOST_NAMED = 32  # tensors named in one cell; a cell of a mixture of experts holds hundreds


def report_page(report: InterferenceReport, density: float) -> str:
    """The report as a page: a map of layers × modules with a density slider, pairs, norms, warnings, a table.

    What strangers wrote (names of tensors and models) is data in it, never markup or code.

    Args:
        report: what to show.
        density: where the slider stands at first.
    """
    null = chance(len(report.models), report.density)
    arranged = arrange([tensor.name for tensor in report.tensors])
    titles = row_titles(arranged.rows)
    document = {
        "version": __version__,
        "models": list(report.models),
        "density": list(report.density),
        "at": min(range(len(report.density)), key=lambda i: abs(report.density[i] - density)),
        "sampled": report.sampled,
        "read": sum(t.numel if t.sampled is None else t.sampled for t in report.tensors),
        "entries": sum(t.numel for t in report.tensors),
        "rows": [
            {"label": row.label, "title": title} for row, title in zip(arranged.rows, titles, strict=True)
        ],
        "columns": [{"label": column.label, "module": column.module} for column in arranged.columns],
        "before": [{"label": label, "cell": cell} for label, cell in arranged.before],
        "after": [{"label": label, "cell": cell} for label, cell in arranged.after],
        "cells": [_cell(arranged, titles, cell, report) for cell in arranged.cells],
        "chance": {kind: list(getattr(null, kind)) for kind in KINDS},
        "pairs": [vars(pair) for pair in report.pairs],
        "norms": [vars(norm) for norm in report.norms],
        "warnings": [warning.message for warning in warnings_of(report)],
    }
    page = _beside("page.html")
    for name, text in (
        ("style", _beside("page.css")),
        ("script", _beside("page.js")),
        ("report", as_script_data(document)),
    ):
        page = page.replace(f"{{{{{name}}}}}", text)  # the data last: nothing is looked for in it
    return page


def _beside(name: str) -> str:
    return files("merge_core.interference").joinpath(name).read_text(encoding="utf-8")


def as_script_data(value: Any) -> str:
    """JSON that may stand in a `<script type="application/json">`: nothing in it can end that element."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _cell(
    arranged: Arrangement, titles: Sequence[str], cell: Cell, report: InterferenceReport
) -> dict[str, Any]:
    tensors = [report.tensors[i] for i in cell.tensors]
    label = arranged.columns[cell.column].label if cell.column >= 0 else cell.module
    found: dict[str, Any] = {
        "row": cell.row,
        "column": cell.column,
        "title": label if cell.row < 0 else f"{titles[cell.row][0].upper()}{titles[cell.row][1:]} · {label}",
        "numel": sum(t.numel for t in tensors),
        "tensors": [t.name for t in tensors[:MOST_NAMED]],
        "count": len(tensors),
    }
    for kind in KINDS:
        found[kind] = [sum(counts) for counts in zip(*(getattr(t, kind) for t in tensors), strict=True)]
        if any(t.sampled is not None for t in tensors):
            found[f"{kind}_bounds"] = _bounds(tensors, kind)
    if any(t.sampled is not None for t in tensors):
        found["rate_bounds"] = {
            whole: rate_bounds(tensors, whole).T.round(5).tolist() for whole in ("touched", "contested")
        }
    return found


def _bounds(tensors: Sequence[TensorInterference], kind: str) -> list[list[int]]:
    """[[low, high] per density] of a sum of estimates."""
    sides = [
        [getattr(t, f"{kind}{side}") or getattr(t, kind) for side in ("", "_low", "_high")] for t in tensors
    ]
    found = []
    for at in range(len(tensors[0].touched)):
        low, high = sum_bounds([(count[at], least[at], most[at]) for count, least, most in sides])
        found.append([int(low), -int(-high // 1)])
    return found
