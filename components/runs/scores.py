"""What a merge's probes say: the table, and the words about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from merge_core.card.verdict import Measured, Verdict, mean_of, verdict
from merge_core.preflight.licences import listed

BITS = "bits per byte"
ACCURACY = "accuracy"
PER_BYTE = "accuracy per byte"


@dataclass(frozen=True)
class Score:
    """One model on one probe by one metric, with the ends of its 95 % interval, over `n` items.

    Accuracies go from 0 to 1. Of bits per byte, less is better, and there may be any number of them.
    """

    model: str
    probe: str
    metric: str
    score: float
    low: float
    high: float
    n: int


Task = tuple[str, str]  # (probe, metric): what a column of the table and a group of the chart show


def tasks_of(scores: Sequence[Score]) -> list[Task]:
    """Every probe and metric, in the order of their first score."""
    return list(dict.fromkeys((s.probe, s.metric) for s in scores))


def score_table(scores: Sequence[Score], colours: Mapping[str, str], merge: str) -> dict[str, Any] | None:
    """Rows are models in the order given, columns are probes and then the mean accuracy; None without scores.

    Accuracies are percentages. The mean stands where there are two or more to take it of.

    Args:
        colours: model name → CSS variable.
        merge: the name the merged model goes by.
    """
    if not scores:
        return None
    models = list(dict.fromkeys(s.model for s in scores))
    tasks = tasks_of(scores)
    found = {(s.model, s.probe, s.metric): s for s in scores}
    items = {(s.probe, s.metric): s.n for s in scores}
    averaged = [task for task in tasks if task[1] == ACCURACY]
    sizes = set(items.values())
    columns = [
        {"name": task[0], "note": _note(task[1], items[task] if len(sizes) > 1 else None)} for task in tasks
    ]
    if len(averaged) > 1:
        columns.append({"name": "mean", "note": ""})
    rows = []
    for model in models:
        cells = [_cell(found.get((model, *task))) for task in tasks]
        if len(averaged) > 1:
            cells.append(_mean([found.get((model, *task)) for task in averaged]))
        rows.append({"name": model, "colour": colours[model], "merge": model == merge, "cells": cells})
    shares = any(metric != BITS for _, metric in tasks)
    return {
        "metric": "accuracy, %" if shares else "",
        "items": f"n = {sizes.pop()}" if len(sizes) == 1 else "",
        "columns": columns,
        "rows": rows,
    }


def _note(metric: str, n: int | None) -> str:
    """What stands beneath a probe's name: what is not said for the whole table."""
    words = {ACCURACY: "", PER_BYTE: "per byte", BITS: BITS}.get(metric, metric)
    return ", ".join(filter(None, (words, f"n = {n}" if n is not None else "")))


def _cell(score: Score | None) -> dict[str, str]:
    if score is None:
        return {"score": "–", "interval": ""}
    if score.metric == BITS:
        return {"score": f"{score.score:.3f}", "interval": f"{score.low:.2f}–{score.high:.2f}"}
    return {
        "score": f"{100 * score.score:.1f}",
        "interval": f"{100 * score.low:.0f}–{100 * score.high:.0f}",
    }


def _mean(scores: Sequence[Score | None]) -> dict[str, str]:
    """The mean accuracy; its interval takes the probes' items as drawn independently of each other."""
    known = [s for s in scores if s is not None]
    if len(known) < len(scores):
        return {"score": "–", "interval": ""}
    mean = mean_of([(s.score, s.low, s.high) for s in known])
    low, high = max(0.0, mean.value - mean.half), min(1.0, mean.value + mean.half)
    return {"score": f"{100 * mean.value:.1f}", "interval": f"{100 * low:.0f}–{100 * high:.0f}"}


def verdict_of(scores: Sequence[Score], merge: str, base: str, unmeasured: Sequence[str] = ()) -> Verdict:
    """How the merge's mean accuracy stands against the base's and the best fine-tune's.

    Args:
        merge, base: the names that these go by; every other model is a fine-tune.
        unmeasured: the names of models that have no scores, among which a better one may be.
    """
    found: dict[str, dict[str, Measured]] = {}
    for s in scores:
        if s.metric == ACCURACY:
            found.setdefault(s.model, {})[s.probe] = (s.score, s.low, s.high)
    ours, before = found.pop(merge, {}), found.pop(base, {})
    return verdict(ours, before, found, unmeasured=bool(unmeasured))


def unmeasured_sentence(names: Sequence[str]) -> str:
    """Which models were not measured, and why; empty where all were."""
    if not names:
        return ""
    were, their = ("were", "their") if len(names) > 1 else ("was", "its")
    return f"{listed(names)} {were} not measured: {their} weights stayed on the Hub."


def reading_sentence(scores: Sequence[Score]) -> str:
    """How to read table and chart; empty without scores."""
    if not scores:
        return ""
    bits = "Of bits per byte, less is better. " if any(s.metric == BITS for s in scores) else ""
    return bits + "Bars are 95 % intervals."
