"""What a merge's probes say: the table, and what cannot be told from luck."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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
    mean = sum(s.score for s in known) / len(known)
    half = math.sqrt(sum(((s.high - s.low) / 2) ** 2 for s in known)) / len(known)
    low, high = max(0.0, mean - half), min(1.0, mean + half)
    return {"score": f"{100 * mean:.1f}", "interval": f"{100 * low:.0f}–{100 * high:.0f}"}


def verdict_sentence(scores: Sequence[Score], merge: str, base: str, unmeasured: Sequence[str] = ()) -> str:
    """How the merge's mean accuracy stands against the base's and the best fine-tune's; empty where it has none.

    Args:
        merge, base: the names that these go by; every other model is a fine-tune.
        unmeasured: the names of models that have no scores, among which a better one may be.
    """
    found = {(s.model, s.probe): s.score for s in scores if s.metric == ACCURACY}
    probes = sorted(probe for model, probe in found if model == merge)
    models = list(dict.fromkeys(s.model for s in scores))
    means = {
        model: sum(found[model, probe] for probe in probes) / len(probes)
        for model in models
        if probes and all((model, probe) in found for probe in probes)
    }
    if merge not in means:
        return ""
    tuned = [model for model in means if model not in (merge, base)]
    best = max(tuned, key=lambda model: means[model], default=None)
    against = [(name, means[model]) for name, model in (("the base", base),) if model in means]
    which = "the best fine-tune measured" if unmeasured else "the best fine-tune"
    against += [(f"{which}, {best}", means[best])] if best is not None else []
    if not against:
        return ""
    parts = [_stands(100 * (means[merge] - mean), name) for name, mean in against]
    average = "On average the merge" if len(probes) > 1 else "The merge"
    return f"{average} is {' and '.join(parts)}."


def unmeasured_sentence(names: Sequence[str]) -> str:
    """Which models were not measured, and why; empty where all were."""
    if not names:
        return ""
    were, their = ("were", "their") if len(names) > 1 else ("was", "its")
    return f"{listed(names)} {were} not measured: {their} weights stayed on the Hub."


def _stands(points: float, name: str) -> str:
    if abs(points) < 0.05:
        return f"level with {name}"
    return f"{abs(points):.1f} points {'above' if points > 0 else 'below'} {name}"


def luck_sentence(scores: Sequence[Score]) -> str:
    """What difference these probes cannot tell from luck, in words; empty without scores.

    A paired difference is found 4 times in 5, where one item in ten differs between two models, from
    2.8 · sqrt(0.1 / n) upward (the normal approximation to McNemar's test, two-sided at 5 %).
    """
    shares = [s for s in scores if s.metric != BITS]
    said = []
    if shares:
        fewest, most = min(s.n for s in shares), max(s.n for s in shares)
        points = 100 * 2.8 * math.sqrt(0.1 / fewest)
        items = f"{fewest}" if fewest == most else f"{fewest} to {most}"
        said.append(
            f"With {items} items per probe, a difference between two models of less than about "
            f"{points:.0f} points cannot be told from luck, even if the two differ in only one item of ten."
        )
    if len(shares) < len(scores):
        said.append("Of bits per byte, less is better.")
    return " ".join([*said, "Bars are 95 % intervals."]) if said else ""
