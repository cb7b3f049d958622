"""Beneath the map: the chosen cell with its tensors and its curve, and the models against each other.

Both are drawn in the browser from what the map holds there: nothing is asked of the server.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from components.interference.conflict_map import SHARED
from components.scripts import script

HERE = Path(__file__).parent


class CellView(gr.HTML):
    """The cell that is chosen on the map."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(
            value=None,
            html_template=(HERE / "drilldown.html").read_text(encoding="utf-8"),
            js_on_load=script(*SHARED, "interference/cell_models.js", "interference/drilldown.js"),
            apply_default_css=False,
            **settings,
        )


class ModelPairs(gr.HTML):
    """Cosine, sign agreement and norms of the map's models, with warnings."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(
            value=None,
            html_template=(HERE / "model_pairs.html").read_text(encoding="utf-8"),
            js_on_load=script(*SHARED, "interference/model_pairs.js"),
            apply_default_css=False,
            **settings,
        )


def build() -> None:
    """The two panels."""
    with gr.Column(elem_classes=["tb-panel"]):
        CellView(elem_id="tb-cell")
    with gr.Column(elem_classes=["tb-panel"]):
        ModelPairs(elem_id="tb-pairs")
