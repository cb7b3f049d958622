"""The layer × module map and its scrubber; curves are sent once, the browser redraws at any density."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from components import wording
from components.event_fields import field, number
from components.interference import map_settings
from components.interference.inspecting import SAMPLES, Asked, MapState
from components.interference.map_editing import edit_cells, own_settings
from components.interference.map_payload import map_payload
from components.page import CHANGE, QUICK, Page, complaint, edited
from components.scripts import plotly_address, script
from components.tuning import editing
from components.tuning.tuner import Tuner
from merge_core.interference import InterferenceReport
from merge_core.methods import METHODS
from merge_core.recipe import read_recipe

if TYPE_CHECKING:
    from components.tuning.editing import Draft

HERE = Path(__file__).parent

# One scope: what the earlier files define, the later ones use. The drill-down shares the first.
SHARED = (
    "dom.js",
    "interference/map_state.js",
    "interference/map_words.js",
    "interference/map_intervals.js",
    "interference/map_models.js",
    "interference/map_curve.js",
)
SCRIPTS = (
    *SHARED,
    "plotly.js",
    "interference/map_scale.js",
    "interference/map_picture.js",
    "interference/map_compare.js",
    "interference/map_cursor.js",
    "interference/map_editor.js",
    "interference/map_scrubber.js",
    "interference/map_table.js",
    "interference/map_figure.js",
    "interference/map_export.js",
    "interference/conflict_map.js",
)


class ConflictMap(gr.HTML):
    """The map, drawn from `update`'s values.

    Args:
        own: what the draft says of single cells, see `map_editing.own_settings`.

    Events:
        slide: the scrubber moved; tells the page's density control without the server.
        density: the scrubber was let go, at `share`.
        download: the visitor wants the models downloaded.
        elections: the visitor wants to know who is outvoted.
        sample: the visitor wants `mb` of them read for a preview.
        cells: the visitor changed some cells; see `map_editing.edit_cells`.
    """

    def __init__(self, own: str = "", **settings: Any) -> None:
        super().__init__(
            value={"state": "empty"},
            html_template=(HERE / "conflict_map.html").read_text(encoding="utf-8"),
            js_on_load=script(*SCRIPTS),
            apply_default_css=False,
            plotly=plotly_address(),
            methods={name: method.title for name, method in METHODS.items()},
            trimming=_trimming(),
            own=own,
            budgets=list(SAMPLES),
            **settings,
        )


def build() -> ConflictMap:
    """The panel with the map."""
    with gr.Column(elem_classes=["tb-panel"]):
        return ConflictMap(elem_id="tb-map")


def shown(state: MapState | None, draft: Draft, asked: Mapping[str, Any]) -> Any:
    """What the map is told: its next value, if there is one, and what the draft says of single cells.

    Args:
        state: what has become of its inspection; None where nothing has.
        asked: `MapState.asked` before.
    """
    names = (state.asked if state is not None and "names" in state.asked else asked).get("names", ())
    own = own_settings(draft.recipe, names) if draft.problem is None else ""
    value = {} if state is None else {"value": update(state)}
    return gr.update(own=own, **value)


def update(state: MapState) -> Any:
    """The map's next value; while work is under way or cannot be done, the browser keeps what it has drawn."""
    offer = {"offer": wording.size(state.offer)} if state.offer else {}
    if state.problem is not None:
        said = complaint(state.problem)
        return {"state": "problem", **said, **offer}
    if state.report is not None:
        payload = _payload(state.asked, state.report)
        # As one string: Gradio clones values piece by piece whenever anything on the page changes.
        text = json.dumps(payload, ensure_ascii=False, separators=(",", ":"))
        return {"state": "map", "payload": text, "budget": state.asked.get("sample_mb"), **offer}
    if state.fraction is not None:
        beside = {"refining": True} if "seen" in state.asked else {}
        beside |= {"aside": True} if state.asked.get("aside") else {}
        return {"state": "loading", "fraction": state.fraction, "message": state.message, **beside}
    return {"state": "empty"}


def _payload(asked: Asked, report: InterferenceReport) -> dict[str, Any]:
    """What the browser draws, with what the question says of it."""
    if "question" not in asked:
        return {**map_payload(report), "settings": [], "whole_model": False}
    recipe = read_recipe(asked["question"])
    counted = asked.get("counted", False)
    weights = map_settings.weights(recipe, [t.name for t in report.tensors]) if counted else None
    settings = map_settings.in_words(recipe, report)
    return {
        **map_payload(report, map_settings.voters(recipe), weights),
        "settings": settings,
        "whole_model": "trim within the whole model" in settings,
        "base": asked.get("base"),
    }


def follow(the_map: ConflictMap, page: Page, tuned: Tuner) -> None:
    """Let the map's scrubber and the density control say the same; neither needs the server to redraw."""
    density = tuned.controls["density"]
    # For the visitor's own drag, and for what undo, a pasted recipe or a link set.
    for event in (density.change, tuned.redrawn.then):
        event(
            None,
            [tuned.method, density],
            None,
            js="(method, percent) => window.tiebreakMap?.tuned(method, percent)",
            **QUICK,
        )
    the_map.slide(None, None, density, js="() => window.tiebreakMap.percent()", **QUICK)

    def slid(draft: Any, past: Any, redraws: int, event: gr.EventData) -> tuple[Any, ...]:
        share = round(min(max(number(event, "share"), 0.01), 1.0), 6)
        return edited(
            draft, past, redraws, lambda recipe: editing.set_parameter(recipe, "density", share), "density"
        )

    shared = [page.draft, page.past, page.redraw]
    the_map.density(slid, shared, [*shared, page.notice], **CHANGE)


def edit(the_map: ConflictMap, page: Page, asked: gr.State) -> None:
    """Let edits of cells change the draft."""

    def changed(draft: Any, past: Any, redraws: int, asked: Any, event: gr.EventData) -> tuple[Any, ...]:
        names, said = asked.get("names", ()), field(event, "edit")
        return edited(draft, past, redraws + 1, lambda recipe: edit_cells(recipe, names, said), "cells")

    shared = [page.draft, page.past, page.redraw]
    the_map.cells(changed, [*shared, asked], [*shared, page.notice], **CHANGE)


def _trimming() -> list[str]:
    """Methods whose density says how much of the largest is kept, which is what the map shows."""
    return [name for name, method in METHODS.items() if method.trim is not None]
