"""The bar at the top: mark, where models come from, recipe, link, light or dark."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import gradio as gr
from huggingface_hub import constants

from components.link import Link
from components.scripts import script
from components.workspace import Workspace
from merge_core.recipe import Recipe

_MARK = """<div class="tb-mark">
<svg viewBox="0 0 24 24" aria-hidden="true"><path d="M4 8h9l-3-3M20 16h-9l3 3"/></svg>
<h1>Tiebreak</h1><p>Merge fine-tuned models, and see where they disagree</p>
<span class="tb-chip tb-where"></span></div>"""


class Mark(gr.HTML):
    """The name and a chip; its value is the chip's text."""

    def __init__(self, value: str, **settings: Any) -> None:
        super().__init__(
            value=value,
            html_template=_MARK,
            js_on_load="""const chip = element.querySelector(".tb-where");
const say = () => { chip.textContent = props.value; };
watch("value", say); say();""",
            apply_default_css=False,
            **settings,
        )


class Appearance(gr.HTML):
    """Light or dark: the system's choice until the visitor makes one, which the browser remembers."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(
            value="",
            html_template='<button type="button" class="tb-small"></button>',
            js_on_load=script("appearance.js"),
            apply_default_css=False,
            **settings,
        )


@dataclass(frozen=True)
class Header:
    """What the page wires together."""

    mark: Mark
    recipe_button: gr.Button
    link: Link


def whereabouts(recipe: Recipe, workspace: Workspace) -> str:
    """Where the recipe's models are. What a visitor searches or pushes is between them and the Hub all the same."""
    demo = set(workspace.demo_models())
    rest = [ref for ref in recipe.refs() if ref not in demo]
    if not rest:
        return "demo models" if workspace.on_space else "demo models · on this machine"
    if all(Path(ref.path).expanduser().is_dir() for ref in rest):
        return "local models · on this machine"
    host = urlsplit(constants.ENDPOINT).netloc
    return f"models of {host}"


def build(workspace: Workspace, recipe: Recipe) -> Header:
    """The bar. Call inside a Blocks context."""
    with gr.Row(elem_id="tb-header"):
        mark = Mark(whereabouts(recipe, workspace), elem_id="tb-mark")
        recipe_button = gr.Button("Recipe", size="sm", elem_classes=["tb-small"], elem_id="tb-recipe-button")
        link = Link(elem_id="tb-link")
        Appearance(elem_id="tb-appearance")
        if workspace.on_space:  # elsewhere Gradio asks for a local token to show it
            gr.LoginButton("Sign in", logout_value="Sign out {}", size="sm", elem_classes=["tb-small"])
    return Header(mark, recipe_button, link)
