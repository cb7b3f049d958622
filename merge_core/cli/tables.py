"""Results as aligned text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from merge_core.cli.terminal import plain, size
from merge_core.interference.chance import chance
from merge_core.interference.report import InterferenceReport
from merge_core.interference.summary import Counts, summarise
from merge_core.interference.warnings import warnings_of
from merge_core.methods import Method, Parameter
from merge_core.recipe import ModelRef

if TYPE_CHECKING:
    from merge_core.hub.cached_models import CachedModel

Row = Sequence[str]
COMMITS_SHOWN = 5  # of one cached model


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


def report_text(
    report: InterferenceReport, density: float, weights: Sequence[Sequence[float]] | None = None
) -> str:
    """An interference report at one density of its grid: by layer, by pair, by model.

    Args:
        report: to tell.
        density: a share; the nearest of the grid is told.
        weights: per tensor, of each of the report's models; default all 1. See `summary.merging_weights`.
    """
    found = summarise(report, density)
    several = len({counts.stack for counts in found.layers if counts.layer is not None}) > 1
    rows = [(_layer_name(counts, several), *_shares(counts)) for counts in found.layers]
    rows.append(("all", *_shares(found.total)))
    expected = chance(len(report.models), [found.density])
    by_chance = expected.touched[0], expected.contested[0], expected.conflicted[0]
    rows.append(("chance", "–", *percents(*by_chance)))
    names = _short_names(report.models)
    by_layer = table(("layer", "entries", "touched", "contested", "conflicted", "of contested"), rows)
    by_pair = table(
        ("pair", "cosine", "same sign"),
        [
            (
                f"{names[p.a]} × {names[p.b]}",
                _number(p.cosine) + _within(p.cosine, p.cosine_low, p.cosine_high, _number),
                _share(p.sign_agreement)
                + _within(p.sign_agreement, p.sign_agreement_low, p.sign_agreement_high, _share),
            )
            for p in report.pairs
        ],
    )
    by_model = table(
        ("model", "‖τ‖", "‖τ‖/‖base‖"),
        [
            (
                names[n.model],
                _length(n.norm) + _within(n.norm, n.norm_low, n.norm_high, _as_exact_as(n.norm)),
                _number(n.relative) + _within(n.relative, n.relative_low, n.relative_high, _number),
            )
            for n in report.norms
        ],
    )
    title = f"Where {len(report.models)} task vectors disagree, each trimmed to density {found.density:g}"
    if report.sampled:
        read, entries = sum(t.sampled or 0 for t in report.tensors), sum(t.numel for t in report.tensors)
        title += f";\nestimated from {read:,} of {entries:,} entries, ± for 95 times in 100"
    lost = _outvoted_table(
        report, found.density, names, weights or [[1.0] * len(names)] * len(report.tensors)
    )
    found_odd = "\n".join(f"warning: {plain(w.message)}" for w in warnings_of(report, names))
    parts = (title, by_layer, by_pair if report.pairs else "", by_model, lost, found_odd)
    return "\n\n".join(part for part in parts if part)


def _outvoted_table(
    report: InterferenceReport, density: float, names: Mapping[str, str], weights: Sequence[Sequence[float]]
) -> str:
    """Per model, the share of what survives of it that the election outvotes; nothing where that was not asked for."""
    told = [(t.elections, w) for t, w in zip(report.tensors, weights, strict=True) if t.elections is not None]
    if not told:
        return ""
    at = min(range(len(report.coarse)), key=lambda i: abs(report.coarse[i] - density))
    rows = []
    for m, model in enumerate(report.models):
        kept = sum(abs(weight[m]) * t.kept_mass[m][at] for t, weight in told)
        lost = sum(abs(weight[m]) * t.outvoted[m][at] for t, weight in told)
        rows.append((names[model], _share(lost / kept if kept else None)))
    elections = " and ".join(sorted({t.election for t, _ in told}))
    held = "no election: nobody is outvoted" if elections == "none" else f"elected by {elections}"
    return table((f"outvoted at density {report.coarse[at]:g}, {held}", "of its own"), rows)


def report_document(report: InterferenceReport) -> dict[str, Any]:
    """What `inspect --json` writes. Its keys are a promise to scripts: README.md lists them."""
    document = report.to_json()
    ranged = ("touched", "contested", "conflicted", "of_touched", "of_contested")
    bounds = (f"{kind}_{side}" for kind in ranged for side in ("low", "high"))
    some = ("energy", "base_energy", "elections", "sampled", *bounds)  # which depends on how it was made
    named = ("name", "layer", "module", "numel", "touched", "contested", "conflicted")
    return {
        "models": document["models"],
        "density": document["density"],
        "tensors": [
            {key: tensor[key] for key in named} | {key: tensor[key] for key in some if key in tensor}
            for tensor in document["tensors"]
        ],
        "pairs": document["pairs"],
        "norms": document["norms"],
        "warnings": [
            {"cause": w.cause, "models": list(w.models), "message": w.message} for w in warnings_of(report)
        ],
    }


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


def family_text(scores: Sequence[Mapping[str, Any]]) -> str:
    """Probe results of a merge, its base and its parents, one a line."""
    names = _short_names(list(dict.fromkeys(str(s["model"]) for s in scores)))
    rows = [
        (
            names[s["model"]],
            str(s["probe"]),
            str(s["metric"]),
            f"{s['score']:.3f}",
            f"{s['low']:.3f} – {s['high']:.3f}",
            str(s["n"]),
        )
        for s in scores
    ]
    return table(("model", "probe", "metric", "score", "95 % interval", "items"), rows)


def kept_text(models: Sequence[Any], runs: Sequence[Any], cache: Path, home: Path) -> str:
    """Cached models and finished runs, what each takes and when it was last used, or where nothing was found.

    Args:
        models, runs: what there is.
        cache: where models were looked for.
        home: where runs were looked for.
    """
    parts = []
    if models:
        rows = [row for model in models for row in _model_rows(model)]
        rows.append((f"{len(models)} in all", size(sum(m.bytes for m in models)), "", ""))
        parts.append(table(("model", "size", "last used", "commit"), rows))
    if runs:
        rows = [(r.job.id, size(r.bytes), _day(r.job.finished or r.job.created), r.job.state) for r in runs]
        parts.append(table(("run", "size", "finished", "state"), rows))
    if not models:
        parts.append(f"no models in {plain(str(cache))}; set HF_HOME to look elsewhere")
    if not runs:
        parts.append(f"no runs in {plain(str(home))}; set TIEBREAK_HOME to look elsewhere")
    return ("\n\n" if models or runs else "\n").join(parts)


def _model_rows(model: CachedModel) -> list[Row]:
    """A model; below it its commits, where it has several: their sizes add up to its own."""
    commits = model.commits
    told = commits[0].sha[:7] if len(commits) == 1 else f"{len(commits)} commits"
    rows: list[Row] = [(model.repo_id, size(model.bytes), _day(model.last_used), told)]
    if len(commits) > 1:
        rows += [("", size(commit.bytes), "", commit.sha[:7]) for commit in commits[:COMMITS_SHOWN]]
        older = commits[COMMITS_SHOWN:]
        if older:
            rows.append(("", size(sum(commit.bytes for commit in older)), "", f"{len(older)} older"))
    return rows


def kept_document(models: Sequence[Any], runs: Sequence[Any]) -> dict[str, Any]:
    """What `cache --json` writes: bytes, and times in seconds since 1970."""
    return {
        "models": [
            {
                "name": m.repo_id,
                "bytes": m.bytes,
                "last_used": m.last_used,
                "commits": [c.sha for c in m.commits],
            }
            for m in models
        ],
        "runs": [
            {"id": r.job.id, "bytes": r.bytes, "finished": r.job.finished, "state": r.job.state} for r in runs
        ],
    }


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M")


def _method_text(method: Method) -> str:
    base = "needs a base model" if method.space == "delta" else "needs no base model"
    lines = [
        f"{method.name}: {method.title} ({method.reference}); {base}",
        f"    {method.help.splitlines()[0]}",
    ]
    for p in method.parameters:
        default = _default(p)
        scope = ", per model" if p.per_model else ""
        lines.append(f"    {p.name}: {p.describe_range()}; {default}{scope}. {p.help}")
    return "\n".join(lines)


def _default(parameter: Parameter) -> str:
    """What holds where a recipe says nothing, spelled as YAML spells it."""
    if parameter.required_unless is not None:
        other, values = parameter.required_unless
        return f"required, unless {other} is {' or '.join(values)}"
    if parameter.required:
        return "required"
    if parameter.default is None:
        return "the dialect decides"
    value = parameter.default
    return f"default {str(value).lower() if isinstance(value, bool) else value}"


def _short_names(models: Sequence[str]) -> dict[str, str]:
    """Folders by their names alone, unless two share one."""
    last = {model: Path(model).name if ModelRef.parse(model).looks_like_path else model for model in models}
    return {model: name if list(last.values()).count(name) == 1 else model for model, name in last.items()}


def _layer_name(counts: Counts, several: bool) -> str:
    if counts.layer is None:
        return "outside"
    return f"{counts.stack}.{counts.layer}" if several else str(counts.layer)


def _shares(counts: Counts) -> tuple[str, ...]:
    if not counts.entries:
        return "0", "–", "–", "–", "–"
    shares = [n / counts.entries for n in (counts.touched, counts.contested, counts.conflicted)]
    if counts.bounds is None:
        return f"{counts.entries:,}", *percents(*shares)
    spread = [
        _within(share, low / counts.entries, high / counts.entries, _share)
        for share, (low, high) in zip(shares, counts.bounds, strict=True)
    ]
    rate = counts.conflicted / counts.contested if counts.contested else None
    low, high = counts.rate or (None, None)
    spread.append(_within(rate, low, high, _share))
    return f"{counts.entries:,}", *(t + s for t, s in zip(percents(*shares), spread, strict=True))


def percents(touched: float, contested: float, conflicted: float) -> tuple[str, ...]:
    """Three shares of all entries, and the third of the second, as text."""
    of_contested = conflicted / contested if contested else None
    return _share(touched), _share(contested), _share(conflicted), _share(of_contested)


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def _within(value: float | None, low: float | None, high: float | None, told: Callable[[float], str]) -> str:
    """ " ± …" for an estimate, the farther of its bounds; nothing for an exact value."""
    if value is None or low is None or high is None:
        return ""
    return f" ± {told(max(value - low, high - value))}"


def _length(value: float) -> str:
    return f"{value:#.4g}"


def _as_exact_as(value: float) -> Callable[[float], str]:
    """How to tell a range of `value`: with as many decimals as `_length` gives that."""
    decimals = len(_length(value).partition(".")[2])
    return lambda reach: f"{reach:.{decimals}f}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
