"""The dot chart of a merge's probes: accuracies on one axis, bits per byte on another beneath."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from components.runs.scores import BITS, PER_BYTE, Score, Task, tasks_of

ROW_HEIGHT = 15  # pixels for one model's dot
TASK_GAP = 20
AXIS_HEIGHT = 34
LONGEST_NAME = 48  # characters in what shows under the pointer


def score_chart(scores: Sequence[Score], colours: Mapping[str, str], merge: str) -> go.Figure:
    """One dot with its interval per model and task, by task; the page resolves the CSS variables.

    Args:
        colours: model name → CSS variable.
        merge: the name the merged model goes by.
    """
    models = list(dict.fromkeys(s.model for s in scores))
    panels = [
        [task for task in tasks_of(scores) if task[1] != BITS],
        [task for task in tasks_of(scores) if task[1] == BITS],
    ]
    panels = [tasks for tasks in panels if tasks]
    group = len(models) * ROW_HEIGHT + TASK_GAP
    heights = [len(tasks) * group + AXIS_HEIGHT for tasks in panels]
    figure = go.Figure()
    figure.update_layout(
        height=sum(heights),
        margin={"l": 8, "r": 12, "t": 0, "b": 0},
        showlegend=False,
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"color": "var(--tb-soft)", "size": 12, "family": "var(--tb-font)"},
        hoverlabel={"bgcolor": "var(--tb-ink)", "font": {"color": "var(--tb-bg)"}},
    )
    below = 0
    for number, (tasks, height) in enumerate(zip(reversed(panels), reversed(heights), strict=True), start=1):
        axis = "" if number == 1 else str(number)
        domain = [(below + AXIS_HEIGHT) / sum(heights), (below + height) / sum(heights)]
        below += height
        for place, model in enumerate(models):
            mine = [s for s in scores if s.model == model and (s.probe, s.metric) in tasks]
            if mine:
                heights_of = [tasks.index((s.probe, s.metric)) * group + place * ROW_HEIGHT for s in mine]
                figure.add_trace(_dots(mine, heights_of, colours[model], model == merge, axis))
        figure.update_layout({f"xaxis{axis}": _across(tasks[0][1], axis)})
        figure.update_layout({f"yaxis{axis}": _down(tasks, group, len(models), domain, axis)})
    return figure


def _dots(scores: Sequence[Score], heights: Sequence[int], colour: str, merge: bool, axis: str) -> go.Scatter:
    """One model's scores on one panel."""
    bits = scores[0].metric == BITS
    scale, digits, unit = (1, ".3f", "bits per byte") if bits else (100, ".1f", "%")
    ends = ".2f" if bits else ".0f"
    colour = f"var({colour})"
    return go.Scatter(
        x=[scale * s.score for s in scores],
        y=list(heights),
        xaxis=f"x{axis}",
        yaxis=f"y{axis}",
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [scale * (s.high - s.score) for s in scores],
            "arrayminus": [scale * (s.score - s.low) for s in scores],
            "color": colour,
            "thickness": 2,
            "width": 0,
        },
        mode="markers",
        marker={"color": colour, "size": 10 if merge else 8, "symbol": "circle"},
        name=_short(scores[0].model, LONGEST_NAME),
        customdata=[
            [_words((s.probe, s.metric), LONGEST_NAME), scale * s.low, scale * s.high, s.n] for s in scores
        ],
        hovertemplate=(
            f"%{{fullData.name}}<br>%{{customdata[0]}}: %{{x:{digits}}} {unit}<br>"
            f"95 % interval %{{customdata[1]:{ends}}}–%{{customdata[2]:{ends}}}, n = %{{customdata[3]}}<extra></extra>"
        ),
    )


def _across(metric: str, axis: str) -> dict[str, object]:
    """The axis of the scores."""
    shown = {
        "gridcolor": "var(--tb-line)",
        "zeroline": False,
        "fixedrange": True,
        "nticks": 6,
        "anchor": f"y{axis}",
    }
    if metric != BITS:
        return {**shown, "ticksuffix": " %"}
    title = {"text": "bits per byte: less is better", "standoff": 2, "font": {"size": 11}}
    return {**shown, "title": title}


def _down(
    tasks: Sequence[Task], group: int, models: int, domain: list[float], axis: str
) -> dict[str, object]:
    """The axis of the tasks, the first on top."""
    middle = (models - 1) * ROW_HEIGHT / 2
    return {
        "domain": domain,
        "anchor": f"x{axis}",
        "tickvals": [place * group + middle for place in range(len(tasks))],
        "ticktext": [_words(task, 16) for task in tasks],
        "range": [len(tasks) * group - TASK_GAP / 2, -TASK_GAP],
        "showgrid": False,
        "zeroline": False,
        "fixedrange": True,
        "automargin": True,
    }


def _words(task: Task, longest: int) -> str:
    probe, metric = task
    return _short(probe, longest) + (", per byte" if metric == PER_BYTE else "")


def _short(name: str, longest: int) -> str:
    """A label of bounded length. Plotly reads links and other tags in its labels: none are let through."""
    plain = name.replace("<", "‹").replace(">", "›").replace("&", "＆")
    return plain if len(plain) <= longest else plain[: longest - 1] + "…"
