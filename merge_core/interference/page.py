"""InterferenceReport → one HTML file that needs nothing else: no network, no server, no other file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from typing import Any

from merge_core import __version__
from merge_core.interference.chance import chance
from merge_core.interference.rates import rate_bounds
from merge_core.interference.report import InterferenceReport, TensorInterference
from merge_core.interference.summary import sum_bounds
from merge_core.interference.warnings import warnings_of
from merge_core.network.data_flow import precedes_layers, role_of

KINDS = ("touched", "contested", "conflicted")
MOST_NAMED = 32  # tensors named in one cell; a cell of a mixture of experts holds hundreds

_NUMBER = re.compile(r"(?<=\.)\d+(?=\.)|^\d+(?=\.)|(?<=\.)\d+$")


def report_page(report: InterferenceReport, density: float) -> str:
    """The report as a page: a map of layers × modules with a density slider, pairs, norms, warnings, a table.

    What strangers wrote (names of tensors and models) is data in it, never markup or code.

    Args:
        report: what to show.
        density: where the slider stands at first.
    """
    null = chance(len(report.models), report.density)
    document = {
        "version": __version__,
        "models": list(report.models),
        "density": list(report.density),
        "at": min(range(len(report.density)), key=lambda i: abs(report.density[i] - density)),
        "sampled": report.sampled,
        "read": sum(t.numel if t.sampled is None else t.sampled for t in report.tensors),
        "entries": sum(t.numel for t in report.tensors),
        "cells": [_cell(*key, tensors) for key, tensors in _ordered(_cells(report.tensors))],
        "chance": {kind: list(getattr(null, kind)) for kind in KINDS},
        "pairs": [vars(pair) for pair in report.pairs],
        "norms": [vars(norm) for norm in report.norms],
        "warnings": [warning.message for warning in warnings_of(report)],
    }
    template = files("merge_core.interference").joinpath("page.html").read_text(encoding="utf-8")
    return template.replace("{{report}}", as_script_data(document))


def as_script_data(value: Any) -> str:
    """JSON that may stand in a `<script type="application/json">`: nothing in it can end that element."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


_Key = tuple[str, int | None, str]


def _cells(tensors: Iterable[TensorInterference]) -> dict[_Key, list[TensorInterference]]:
    """Tensors by stack, layer and module; those that differ by an index within the layer (experts) share a cell."""
    cells: dict[_Key, list[TensorInterference]] = {}
    for tensor in tensors:
        key = (tensor.stack, tensor.layer, _NUMBER.sub("*", tensor.module).removesuffix(".weight"))
        cells.setdefault(key, []).append(tensor)
    return cells


def _ordered(
    cells: Mapping[_Key, list[TensorInterference]],
) -> list[tuple[_Key, list[TensorInterference]]]:
    """Cells as data flows: embeddings, the layers of each stack by number, then the last norm and the head."""
    stacks = list(dict.fromkeys(stack for stack, _, _ in cells))

    def place(key: _Key) -> tuple[int, int, int, int, str]:
        stack, layer, module = key
        if layer is None:
            return (
                (0, 0, 0, 0, module) if precedes_layers(module) else (2, 0, 0, "norm" not in module, module)
            )
        return 1, stacks.index(stack), layer, role_of(module.removesuffix(".bias"))[0], module

    return sorted(cells.items(), key=lambda cell: place(cell[0]))


def _cell(
    stack: str, layer: int | None, module: str, tensors: Sequence[TensorInterference]
) -> dict[str, Any]:
    numel = sum(t.numel for t in tensors)
    cell: dict[str, Any] = {
        "stack": stack,
        "layer": layer,
        "module": module,
        "numel": numel,
        "tensors": [t.name for t in tensors[:MOST_NAMED]],
        "count": len(tensors),
    }
    for kind in KINDS:
        cell[kind] = [sum(counts) for counts in zip(*(getattr(t, kind) for t in tensors), strict=True)]
        if any(t.sampled is not None for t in tensors):
            cell[f"{kind}_bounds"] = _bounds(tensors, kind)
    if any(t.sampled is not None for t in tensors):
        cell["rate_bounds"] = {
            whole: rate_bounds(tensors, whole).T.round(5).tolist() for whole in ("touched", "contested")
        }
    return cell


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
