"""The list of models, and the panel that adds one: from the demo, a folder, or the Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from components import editing
from components.model_rows import short_name
from components.page import CHANGE, QUICK, Page, edited, undone
from components.workspace import Workspace
from merge_core.errors import UserError
from merge_core.hub import HubClient
from merge_core.recipe import ModelRef, Recipe

DEMO, FOLDER, HUB = "Demo", "Folder", "Hub"
SHORTEST_SEARCH = 2
SEARCH_LIMIT = 20

_LIST = """<ul class="tb-models" aria-label="Models"></ul>
<p class="tb-models-empty tb-quiet" hidden>No models yet. Add the base model first, then the models that were
fine-tuned from it.</p>"""


class ModelList(gr.HTML):
    """Rows of models, drawn by `picker.js` from `model_rows`."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(
            value={"models": []},
            html_template=_LIST,
            js_on_load=Path(__file__).with_suffix(".js").read_text(),
            apply_default_css=False,
            **settings,
        )


def search_hub(text: str) -> list[tuple[str, str]]:
    """(words, repository) of models on the Hub whose name holds `text`; none for less than two characters.

    Raises:
        UserError: the Hub cannot be reached.
    """
    if len(text.strip()) < SHORTEST_SEARCH:
        return []
    return [(found.id, found.id) for found in HubClient().search(text.strip(), SEARCH_LIMIT)]


def chosen_ref(source: str, demo: str | None, folder: str, hub: str | None) -> ModelRef:
    """The model that the add panel names.

    Raises:
        UserError: nothing is named, or the folder is none.
    """
    text = {DEMO: demo, FOLDER: folder, HUB: hub}[source]
    text = (text or "").strip()
    if not text:
        raise UserError("No model is chosen.", "Choose one from the list, or type its name.")
    if source == FOLDER and not Path(text).expanduser().is_dir():
        raise UserError(f"{text} is not a folder.", "Name the folder that holds config.json and the weights.")
    if source == FOLDER and not Path(text).is_absolute() and not text.startswith((".", "~")):
        text = f"./{text}"
    return ModelRef.parse(text)


def build(page: Page, workspace: Workspace) -> ModelList:
    """The models panel, wired to the page's draft."""
    with gr.Row(elem_classes=["tb-head"]):
        gr.Markdown("## Models", elem_classes=["tb-title"])
        undo = gr.Button("Undo", size="sm", elem_classes=["tb-small"], interactive=False, elem_id="tb-undo")
        add = gr.Button("+ Add", size="sm", elem_classes=["tb-small"], elem_id="tb-add")
    panel = _add_panel(page, workspace)
    models = ModelList(elem_id="tb-models")

    def remove(draft: Any, past: Any, redraws: int, event: gr.EventData) -> tuple[Any, ...]:
        key = str(event.key)
        return edited(draft, past, redraws + 1, lambda r: editing.remove(r, _listed(r, key)), f"remove {key}")

    def weigh(draft: Any, past: Any, redraws: int, event: gr.EventData) -> tuple[Any, ...]:
        key, weight = str(event.key), float(event.weight)
        return edited(
            draft, past, redraws, lambda r: editing.set_weight(r, _listed(r, key), weight), f"weight {key}"
        )

    shared = [page.draft, page.past, page.redraw]
    models.remove(remove, shared, [*shared, page.notice], **CHANGE)
    models.weight(weigh, shared, [*shared, page.notice], **CHANGE)
    undo.click(undone, shared, [*shared, page.notice], **CHANGE)
    page.past.change(lambda past: gr.Button(interactive=bool(past)), page.past, undo, **QUICK)
    open_panel = gr.State(False)
    add.click(
        lambda shown: (not shown, gr.Column(visible=not shown), "Close" if not shown else "+ Add"),
        open_panel,
        [open_panel, panel, add],
        **QUICK,
    )
    return models


def _listed(recipe: Recipe, key: str) -> ModelRef:
    """The recipe's model of that spelling: an event's word is a stranger's."""
    for ref in recipe.refs():
        if str(ref) == key:
            return ref
    raise UserError("That model is not in the list any more.", "Reload the page.")


def _add_panel(page: Page, workspace: Workspace) -> gr.Column:
    sources = [DEMO, *([] if workspace.on_space else [FOLDER]), HUB]
    demo_models = [(short_name(ref), str(ref)) for ref in workspace.demo_models()]
    with gr.Column(visible=False, elem_id="tb-add-panel", elem_classes=["tb-inset"]) as panel:
        source = gr.Radio(sources, value=DEMO, label="Where from", elem_classes=["tb-control", "tb-seg"])
        demo = gr.Dropdown(demo_models, label="Demo model", value=None, filterable=False)
        folder = gr.Textbox(label="Folder", placeholder="./my-model", visible=False, max_lines=1)
        hub = gr.Dropdown(
            [],
            label="Search the Hugging Face Hub",
            info="Type two letters or more, or a full name such as owner/model@revision.",
            allow_custom_value=True,
            value=None,
            visible=False,
            elem_id="tb-hub-search",
        )
        with gr.Row(elem_classes=["tb-actions"]):
            as_tune = gr.Button("Add as fine-tune", size="sm", elem_id="tb-add-tune")
            as_base = gr.Button("Use as base", size="sm", elem_id="tb-add-base")

    source.input(
        lambda s: [gr.update(visible=s == DEMO), gr.update(visible=s == FOLDER), gr.update(visible=s == HUB)],
        source,
        [demo, folder, hub],
        **QUICK,
    )

    def searched(event: gr.KeyUpData) -> tuple[Any, Any]:
        try:
            return gr.Dropdown(choices=search_hub(event.input_value)), ""
        except UserError as error:
            return gr.skip(), {"message": error.message, "hint": error.hint}

    hub.key_up(searched, None, [hub, page.notice], **QUICK)

    def added(recipe: Recipe, *fields: Any) -> Recipe:
        return _reachable(workspace, editing.add_model(recipe, chosen_ref(*fields)))

    def based(recipe: Recipe, *fields: Any) -> Recipe:
        return _reachable(workspace, editing.set_base(recipe, chosen_ref(*fields)))

    page.edit(as_tune.click, added, [source, demo, folder, hub], what="add")
    page.edit(as_base.click, based, [source, demo, folder, hub], what="base")
    return panel


def _reachable(workspace: Workspace, recipe: Recipe) -> Recipe:
    workspace.check_reach(recipe)
    return recipe
