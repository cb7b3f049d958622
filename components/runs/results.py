"""What the selected run gave: the verdict, and scores as a table and a chart."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from components import wording
from components.colours import BASE, MERGE, model_colours
from components.models.names import distinct_names
from components.page import OTHER_RECIPE, Page
from components.runs.run_folder import owned_run
from components.runs.run_rows import title
from components.runs.score_chart import score_chart
from components.runs.scores import Score, reading_sentence, score_table, unmeasured_sentence, verdict_of
from components.scripts import plotly_address, script
from components.workspace import Workspace
from merge_core.errors import UserError
from merge_core.jobs import Job
from merge_core.jobs.retention import kept_words
from merge_core.recipe import ModelRef, Recipe, read_recipe

MERGED = "this merge"

_TABLE = """<p class="tb-results-empty tb-quiet"></p>
<div class="tb-scroll"><table class="tb-table" hidden></table></div>"""
_FIGURE = """<div class="tb-figure" hidden></div>
<p class="tb-figure-failure tb-quiet" hidden>The chart cannot be drawn here. The table holds the same numbers.</p>"""


class ScoreTable(gr.HTML):
    """Scores by model and probe, drawn by `results.js` from `score_table`, or {"empty": why there are none}."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(
            value={"empty": _nothing_yet(None)},
            html_template=_TABLE,
            js_on_load=script("dom.js", "runs/results.js"),
            apply_default_css=False,
            **settings,
        )


class Figure(gr.HTML):
    """A Plotly figure as plain data, drawn by `figure.js` in the page's colours."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(
            value=None,
            html_template=_FIGURE,
            js_on_load=script("plotly.js", "runs/figure.js"),
            plotly=plotly_address(),
            apply_default_css=False,
            **settings,
        )


@dataclass(frozen=True)
class Results:
    """What the page sets when a run is selected."""

    verdict: gr.Markdown
    table: ScoreTable
    chart: Figure
    notes: gr.Markdown
    whose: gr.Markdown
    settings: gr.Button

    @property
    def outputs(self) -> list[Any]:
        """In the order of `shown`."""
        return [self.verdict, self.table, self.chart, self.notes, self.whose, self.settings]


def measured(
    scores: Sequence[Mapping[str, Any]], left_out: Sequence[str] = ()
) -> tuple[list[Score], dict[str, str]]:
    """A run's scores under short names, and the colour of each name.

    Args:
        scores: as a job's result holds them; those of a model that was measured by itself have no role.
        left_out: further models, whose names none of these may go by.
    """
    parents = list(dict.fromkeys(s["model"] for s in scores if s.get("role", "parent") == "parent"))
    colours = model_colours(parents)
    names = _names(scores, left_out)
    rows, shades = [], {}
    for score in scores:
        role = score.get("role", "parent")
        name = MERGED if role == "merge" else names[score["model"]]
        shades[name] = MERGE if role == "merge" else BASE if role == "base" else colours[score["model"]]
        rows.append(Score(name, **{k: score[k] for k in ("probe", "metric", "score", "low", "high", "n")}))
    return rows, shades


def _names(scores: Sequence[Mapping[str, Any]], left_out: Sequence[str]) -> dict[str, str]:
    """A model as scores and `left_out` spell it → its short name."""
    spelled = [*(s["model"] for s in scores if s.get("role") != "merge"), *left_out]
    refs = {name: ModelRef.parse(name) for name in spelled}
    distinct = distinct_names(list(refs.values()))
    return {name: distinct[ref] for name, ref in refs.items()}


def shown(job: Job | None) -> tuple[Any, ...]:
    """(verdict, table, chart, notes, whose, settings) of a run; the table says why where there is nothing to show."""
    merge = job is not None and job.kind == "merge"
    whose = wording.plain_markdown(title(job)) if job is not None else ""
    return *_scores(job), whose, gr.Button(visible=merge)


def _scores(job: Job | None) -> tuple[Any, Any, Any, Any]:
    if job is None or job.state != "done":
        return "", {"empty": _nothing_yet(job)}, None, ""
    result = job.result or {}
    scores, left_out = result.get("scores", []), result.get("unmeasured", [])
    rows, colours = measured(scores, left_out)
    if not rows:
        return "", {"empty": "This merge was not measured: no probe fits its models."}, None, ""
    table = score_table(rows, colours, MERGED)
    chart = json.loads(score_chart(rows, colours, MERGED).to_json())
    base = next((name for name, colour in colours.items() if colour == BASE), "")
    names = _names(scores, left_out)
    others = unmeasured_sentence([names[model] for model in left_out])
    said = verdict_of(rows, MERGED, base, left_out)
    notes = " ".join(filter(None, (others, said.rule, reading_sentence(rows))))
    return wording.plain_markdown(said.sentence), table, chart, wording.plain_markdown(notes)


def _nothing_yet(job: Job | None) -> str:
    if job is None:
        return "Merge and measure to see how the result scores beside the models it is made of."
    return {
        "failed": "This run failed before it could be measured.",
        "cancelled": "This run was cancelled.",
    }.get(job.state, "Scores appear here when the run is done.")


def settings_of(workspace: Workspace, run: str, owner: str) -> Recipe:
    """The recipe of a visitor's run.

    Raises:
        UserError: there is no such run of theirs, or this server may not open its models.
    """
    job = owned_run(workspace, run, owner)
    if job is None or not job.recipe:
        raise UserError("That run is not yours, or it is gone.", f"Runs are kept for {kept_words()}.")
    recipe = read_recipe(job.recipe, "the run's recipe")
    workspace.check_reach(recipe)
    return recipe


def build(page: Page, workspace: Workspace) -> Results:
    """The panel's contents."""
    with gr.Row(elem_classes=["tb-head"]):
        gr.Markdown("## Measured", elem_classes=["tb-title"])
        whose = gr.Markdown("", elem_classes=["tb-quiet"], elem_id="tb-whose")
    verdict = gr.Markdown("", elem_classes=["tb-verdict"], elem_id="tb-verdict")
    table = ScoreTable(elem_id="tb-scores")
    chart = Figure(elem_id="tb-chart")
    notes = gr.Markdown("", elem_classes=["tb-quiet"], elem_id="tb-notes")
    settings = gr.Button(
        "Bring back this run's settings",
        size="sm",
        visible=False,
        elem_classes=["tb-small"],
        elem_id="tb-settings",
    )
    page.edit(
        settings.click,
        lambda _, run, owner: settings_of(workspace, run, owner),
        [page.run, page.owner],
        what=OTHER_RECIPE,
    )
    return Results(verdict, table, chart, notes, whose, settings)
