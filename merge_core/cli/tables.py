"""Results as aligned text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from merge_core.cli.terminal import plain
from merge_core.interference.report import InterferenceReport
from merge_core.interference.summary import Counts, summarise
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
    found = summarise(report, density)
    several = len({counts.stack for counts in found.layers if counts.layer is not None}) > 1
    rows = [(_layer_name(counts, several), *_shares(counts)) for counts in found.layers]
    rows.append(("all", *_shares(found.total)))
    by_layer = table(("layer", "entries", "touched", "contested", "conflicted", "of contested"), rows)
    by_pair = table(
        ("pair", "cosine", "same sign"),
        [(f"{p.a} × {p.b}", _number(p.cosine), _share(p.sign_agreement)) for p in report.pairs],
    )
    by_model = table(
        ("model", "‖τ‖", "‖τ‖/‖base‖"),
        [(n.model, f"{n.norm:.4g}", _number(n.relative)) for n in report.norms],
    )
    title = f"Where {len(report.models)} task vectors disagree, each trimmed to density {found.density:g}"
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


def _layer_name(counts: Counts, several: bool) -> str:
    if counts.layer is None:
        return "outside"
    return f"{counts.stack}.{counts.layer}" if several else str(counts.layer)


def _shares(counts: Counts) -> tuple[str, ...]:
    of_contested = _share(counts.conflicted / counts.contested) if counts.contested else "–"
    of_all = (counts.touched, counts.contested, counts.conflicted)
    return (
        f"{counts.entries:,}",
        *(_share(n / counts.entries) if counts.entries else "–" for n in of_all),
        of_contested,
    )


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
