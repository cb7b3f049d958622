"""Results as aligned text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from merge_core.cli.terminal import plain
from merge_core.interference.report import InterferenceReport
from merge_core.methods import Method

Row = Sequence[str]


def table(head: Row, rows: Iterable[Row]) -> str:
    """Columns as wide as their widest cell: the first flush left, the others flush right."""
    cells = [[plain(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    lines = (
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    )
    return "\n".join(lines)


def report_text(report: InterferenceReport, density: float) -> str:
    """An interference report at one density of its grid: by layer, by pair, by model."""
    at = min(range(len(report.density)), key=lambda i: abs(report.density[i] - density))
    layers: dict[tuple[str, int | None], list[int]] = {}
    for tensor in report.tensors:
        counts = layers.setdefault((tensor.stack, tensor.layer), [0, 0, 0, 0])
        for column, value in enumerate(
            (tensor.numel, tensor.touched[at], tensor.contested[at], tensor.conflicted[at])
        ):
            counts[column] += value
    total = [sum(counts[column] for counts in layers.values()) for column in range(4)]
    several = len({stack for stack, layer in layers if layer is not None}) > 1
    rows = [
        (_layer_name(stack, layer, several), *_shares(layers[stack, layer]))
        for stack, layer in _ordered(layers)
    ]
    rows.append(("all", *_shares(total)))
    by_layer = table(("layer", "entries", "touched", "contested", "conflicted", "of contested"), rows)
    by_pair = table(
        ("pair", "cosine", "same sign"),
        [(f"{p.a} × {p.b}", _number(p.cosine), _share(p.sign_agreement)) for p in report.pairs],
    )
    by_model = table(
        ("model", "‖τ‖", "‖τ‖/‖base‖"),
        [(n.model, f"{n.norm:.4g}", _number(n.relative)) for n in report.norms],
    )
    title = (
        f"Where {len(report.models)} task vectors disagree, each trimmed to density {report.density[at]:g}"
    )
    return "\n\n".join((title, by_layer, *([by_pair] if report.pairs else []), by_model))


def methods_text(methods: Iterable[Method]) -> str:
    """Every method with its parameters."""
    return "\n\n".join(_method_text(method) for method in methods)


def methods_document(methods: Iterable[Method]) -> list[dict[str, Any]]:
    """Every method with its parameters, as plain data."""
    return [
        {
            "name": method.name,
            "title": method.title,
            "reference": method.reference,
            "help": method.help,
            "needs_base": method.space == "delta",
            "parameters": [
                {
                    "name": p.name,
                    "kind": p.kind,
                    "default": p.default,
                    "low": p.low,
                    "high": p.high,
                    "choices": list(p.choices),
                    "per_model": p.per_model,
                    "required": p.required,
                    "help": p.help,
                }
                for p in method.parameters
            ],
        }
        for method in methods
    ]


def scores_text(scores: Sequence[Any]) -> str:
    """Probe results, one a line."""
    rows = [
        (str(s.probe), str(s.metric), f"{s.score:.3f}", f"{s.low:.3f} – {s.high:.3f}", str(s.n))
        for s in scores
    ]
    return table(("probe", "metric", "score", "95 % interval", "items"), rows)


def _method_text(method: Method) -> str:
    base = "needs a base model" if method.space == "delta" else "needs no base model"
    lines = [
        f"{method.name}: {method.title} ({method.reference}); {base}",
        f"    {method.help.splitlines()[0]}",
    ]
    for p in method.parameters:
        default = (
            "required"
            if p.required
            else "the dialect decides"
            if p.default is None
            else f"default {p.default}"
        )
        scope = ", per model" if p.per_model else ""
        lines.append(f"    {p.name}: {p.describe_range()}; {default}{scope}. {p.help}")
    return "\n".join(lines)


def _ordered(layers: dict[tuple[str, int | None], list[int]]) -> list[tuple[str, int | None]]:
    """Layers by stack and number, what lies outside the layers last."""
    return sorted(layers, key=lambda key: (key[1] is None, key[0], key[1] or 0))


def _layer_name(stack: str, layer: int | None, several: bool) -> str:
    if layer is None:
        return "outside"
    return f"{stack}.{layer}" if several else str(layer)


def _shares(counts: Sequence[int]) -> tuple[str, ...]:
    entries, touched, contested, conflicted = counts
    of_contested = _share(conflicted / contested) if contested else "–"
    return (
        f"{entries:,}",
        *(_share(n / entries) if entries else "–" for n in (touched, contested, conflicted)),
        of_contested,
    )


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
