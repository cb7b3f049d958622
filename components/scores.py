"""What a merge's probes say: the table, the dot chart, and what cannot be told from luck."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import plotly.graph_objects as go

ROW_HEIGHT = 15  # pixels for one model's dot
TASK_GAP = 20


class Score(Protocol):
    """One model on one probe: a share with the ends of its 95 % interval, over `n` items."""

    model: str
    probe: str
    metric: str
    score: float
    low: float
    high: float
    n: int


def score_table(scores: Sequence[Score], colours: Mapping[str, str], merge: str) -> dict[str, Any] | None:
    """Rows are models in the order given, columns are probes, cells are percentages; None without scores.

    Args:
        colours: model name → CSS variable.
        merge: the name the merged model goes by.
    """
    if not scores:
        return None
    models = list(dict.fromkeys(s.model for s in scores))
    probes = list(dict.fromkeys(s.probe for s in scores))
    found = {(s.model, s.probe): s for s in scores}
    items = {s.probe: s.n for s in scores}
    return {
        "metric": scores[0].metric,
        "columns": [{"name": probe, "note": f"n = {items[probe]}"} for probe in probes],
        "rows": [
            {
                "name": model,
                "colour": colours[model],
                "merge": model == merge,
                "cells": [_cell(found.get((model, probe))) for probe in probes],
            }
            for model in models
        ],
    }


def _cell(score: Score | None) -> dict[str, str]:
    if score is None:
        return {"score": "–", "interval": ""}
    return {
        "score": f"{100 * score.score:.1f}",
        "interval": f"{100 * score.low:.0f}–{100 * score.high:.0f}",
    }


def luck_sentence(scores: Sequence[Score]) -> str:
    """What difference these probes cannot tell from luck, in words; empty without scores.

    A paired difference is found 4 times in 5, where one item in ten differs between two models, from
    2.8 · sqrt(0.1 / n) upward (the normal approximation to McNemar's test, two-sided at 5 %).
    """
    if not scores:
        return ""
    fewest, most = min(s.n for s in scores), max(s.n for s in scores)
    points = 100 * 2.8 * math.sqrt(0.1 / fewest)
    items = f"{fewest}" if fewest == most else f"{fewest} to {most}"
    return (
        f"With {items} items per task, a difference between two models of less than about "
        f"{points:.0f} points cannot be told from luck. Bars are 95 % intervals."
    )


def score_chart(scores: Sequence[Score], colours: Mapping[str, str], merge: str) -> go.Figure:
    """One dot with its interval per model and probe, by probe; the page resolves the CSS variables."""
    models = list(dict.fromkeys(s.model for s in scores))
    probes = list(dict.fromkeys(s.probe for s in scores))
    group = len(models) * ROW_HEIGHT + TASK_GAP
    figure = go.Figure()
    for place, model in enumerate(models):
        mine = [s for s in scores if s.model == model]
        colour = f"var({colours[model]})"
        figure.add_scatter(
            x=[100 * s.score for s in mine],
            y=[probes.index(s.probe) * group + place * ROW_HEIGHT for s in mine],
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [100 * (s.high - s.score) for s in mine],
                "arrayminus": [100 * (s.score - s.low) for s in mine],
                "color": colour,
                "thickness": 2,
                "width": 0,
            },
            mode="markers",
            marker={"color": colour, "size": 10 if model == merge else 8, "symbol": "circle"},
            name=_plain(model),
            customdata=[[_plain(s.probe), 100 * s.low, 100 * s.high, s.n] for s in mine],
            hovertemplate=(
                "%{fullData.name}<br>%{customdata[0]}: %{x:.1f} %<br>"
                "95 % interval %{customdata[1]:.0f}–%{customdata[2]:.0f}, n = %{customdata[3]}<extra></extra>"
            ),
        )
    middle = (len(models) - 1) * ROW_HEIGHT / 2
    figure.update_layout(
        height=len(probes) * group + 34,
        margin={"l": 8, "r": 12, "t": 6, "b": 28},
        showlegend=False,
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"color": "var(--tb-soft)", "size": 12, "family": "var(--tb-font)"},
        hoverlabel={"bgcolor": "var(--tb-ink)", "font": {"color": "var(--tb-bg)"}},
    )
    figure.update_xaxes(
        gridcolor="var(--tb-line)", zeroline=False, ticksuffix=" %", fixedrange=True, nticks=6
    )
    figure.update_yaxes(
        tickvals=[i * group + middle for i in range(len(probes))],
        ticktext=[_short(probe) for probe in probes],
        range=[len(probes) * group - TASK_GAP / 2, -TASK_GAP],
        showgrid=False,
        zeroline=False,
        fixedrange=True,
        automargin=True,
    )
    return figure


def _plain(name: str) -> str:
    """Plotly reads links and other tags in its labels: none are let through."""
    return name.replace("<", "‹").replace(">", "›").replace("&", "＆")


def _short(name: str) -> str:
    plain = _plain(name)
    return plain if len(plain) <= 16 else plain[:15] + "…"
