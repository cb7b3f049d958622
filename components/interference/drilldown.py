"""Beneath the map: the chosen cell with its tensors and its curve, and the models against each other.

Both are drawn in the browser from what the map holds there; the server is asked for single tensors by heads or rows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from components.interference.conflict_map import SHARED
from components.scripts import script

HERE = Path(__file__).parent
OWN = (
    "interference/cell_models.js",
    "interference/block_picture.js",
    "interference/cell_tensor.js",
    "interference/drilldown.js",
)


class CellView(gr.HTML):
    """The cell that is chosen on the map; its value is `tensor_blocks.update`'s.

    Events:
        blocks: the visitor chose `tensor`, to be shown by heads or rows; "" for none.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(
            value={"state": "empty"},
            html_template=(HERE / "drilldown.html").read_text(encoding="utf-8"),
            js_on_load=script(*SHARED, *OWN),
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


def build() -> CellView:
    """The two panels; the first one."""
    with gr.Column(elem_classes=["tb-panel"]):
        cell = CellView(elem_id="tb-cell")
    with gr.Column(elem_classes=["tb-panel"]):
        ModelPairs(elem_id="tb-pairs")
    return cell
