"""The list of models, and the panel that adds one: from the demo, a folder, or the Hub."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from components.choice import Choice
from components.event_fields import number, text
from components.models import hub_search
from components.models.names import short_name
from components.page import CHANGE, QUICK, Notice, Page, Past, earlier, edited, undone
from components.scripts import script
from components.tuning import editing
from components.tuning.editing import Draft
from components.visitor import visitor
from components.workspace import Workspace
from merge_core.errors import UserError
from merge_core.prepare.opening import open_checkpoint
from merge_core.recipe import ModelRef, Recipe

DEMO, FOLDER, HUB = "Demo", "Folder", "Hub"

_LIST = """<ul class="tb-models" aria-label="Models"></ul>
<p class="tb-models-empty tb-quiet" hidden>No models yet. Add the base model first, then the models that were
fine-tuned from it.</p>"""


class ModelList(gr.HTML):
    """Rows of models, drawn by `picker.js` from `model_rows`."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(
            value={"models": []},
            html_template=_LIST,
            js_on_load=script("dom.js", "models/picker.js"),
            apply_default_css=False,
            **settings,
        )


def chosen_ref(source: str, demo: str | None, folder: str) -> ModelRef:
    """The demo model or folder that the add panel names.

    Raises:
        UserError: nothing is named.
    """
    text = {DEMO: demo, FOLDER: folder}.get(source)
    text = (text or "").strip()
    if not text:
        raise UserError("No model is chosen.", "Choose one from the list, or type its name.")
    if source == FOLDER and not Path(text).is_absolute() and not text.startswith((".", "~")):
        text = f"./{text}"
    return ModelRef.parse(text)


def build(page: Page, workspace: Workspace) -> ModelList:
    """The models panel, wired to the page's draft."""
    with gr.Row(elem_classes=["tb-head"]):
        gr.Markdown("## Models", elem_classes=["tb-title"])
        clear = gr.Button("Clear", size="sm", elem_classes=["tb-small"], elem_id="tb-clear")
        undo = gr.Button("Undo", size="sm", elem_classes=["tb-small"], interactive=False, elem_id="tb-undo")
        add = gr.Button("+ Add", size="sm", elem_classes=["tb-small"], elem_id="tb-add")
    panel = _add_panel(page, workspace)
    models = ModelList(elem_id="tb-models")

    def remove(draft: Any, past: Any, redraws: int, event: gr.EventData) -> tuple[Any, ...]:
        key = text(event, "key")
        return edited(draft, past, redraws + 1, lambda r: editing.remove(r, _listed(r, key)), f"remove {key}")

    def weigh(draft: Any, past: Any, redraws: int, event: gr.EventData) -> tuple[Any, ...]:
        key, weight = text(event, "key"), number(event, "weight")
        return edited(
            draft, past, redraws, lambda r: editing.set_weight(r, _listed(r, key), weight), f"weight {key}"
        )

    def toggle(draft: Any, past: Any, redraws: int, event: gr.EventData) -> tuple[Any, ...]:
        key = text(event, "key")
        return edited(
            draft, past, redraws + 1, lambda r: _toggled(r, _listed(r, key), past), f"leave out {key}"
        )

    shared = [page.draft, page.past, page.redraw]
    models.toggle(toggle, shared, [*shared, page.notice], **CHANGE)
    models.remove(remove, shared, [*shared, page.notice], **CHANGE)
    models.weight(weigh, shared, [*shared, page.notice], **CHANGE)
    page.edit(clear.click, editing.cleared, what="clear")
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


def _toggled(recipe: Recipe, ref: ModelRef, past: Past) -> Recipe:
    """The recipe without a model's say, or with it again."""
    left_out = any(e.ref == ref and editing.is_left_out(recipe, e) for e in recipe.models)
    return editing.bring_back(recipe, ref, earlier(past)) if left_out else editing.leave_out(recipe, ref)


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
        demo = Choice(demo_models, None, "Demo model")
        folder = gr.Textbox(label="Folder", placeholder="./my-model", visible=False, max_lines=1)
        problem = Notice(elem_id="tb-add-problem")
        with gr.Row(elem_classes=["tb-actions"]) as actions:
            as_tune = gr.Button("Add as fine-tune", size="sm", elem_id="tb-add-tune")
            as_base = gr.Button("Use as base", size="sm", elem_id="tb-add-base")
        hub = hub_search.HubSearch(visible=False, elem_id="tb-hub-search")

    source.input(
        lambda s: [gr.update(visible=on) for on in (s == DEMO, s == FOLDER, s != HUB, s == HUB)],
        source,
        [demo, folder, actions, hub],
        **QUICK,
    )

    def choose(place: Callable[[Recipe, ModelRef], Recipe], what: str) -> Callable[..., tuple[Any, ...]]:
        def chosen(draft: Draft, past: Past, redraws: int, source: str, *fields: Any) -> tuple[Any, ...]:
            def change(recipe: Recipe) -> Recipe:
                ref = chosen_ref(source if source in sources else "", *fields)
                recipe = _reachable(workspace, place(recipe, ref))
                open_checkpoint(ref)  # what has no weights is refused here, and does not get into the list
                return recipe

            return edited(draft, past, redraws + 1, change, what)

        return chosen

    inputs = [page.draft, page.past, page.redraw, source, demo, folder]
    outputs = [page.draft, page.past, page.redraw, problem]
    as_tune.click(choose(editing.add_model, "add"), inputs, outputs, **CHANGE)
    as_base.click(choose(editing.set_base, "base"), inputs, outputs, **CHANGE)
    gr.on([source.input, folder.change], lambda: "", None, problem, trigger_mode="always_last", **QUICK)
    _wire_hub(page, workspace, hub)
    return panel


def _wire_hub(page: Page, workspace: Workspace, hub: hub_search.HubSearch) -> None:
    def searched(draft: Draft, request: gr.Request, event: gr.EventData) -> dict[str, Any]:
        return hub_search.search(visitor(workspace, request).hub, text(event, "text")[:300], draft.recipe)

    def looked_up(draft: Draft, request: gr.Request, event: gr.EventData) -> dict[str, Any]:
        client = visitor(workspace, request).hub
        return hub_search.related(client, text(event, "kind"), text(event, "id"), draft.recipe)

    def chosen(
        draft: Draft, past: Past, redraws: int, request: gr.Request, event: gr.EventData
    ) -> tuple[Any, ...]:
        role, repository, revision = text(event, "role"), text(event, "id"), text(event, "revision")
        place = editing.set_base if role == "base" else editing.add_model

        def change(recipe: Recipe) -> Recipe:
            client = visitor(workspace, request).hub
            ref = hub_search.pinned(client, repository, revision)
            return _reachable(workspace, place(recipe, ref))

        *changed, problem = edited(draft, past, redraws + 1, change, f"add {repository}")
        recipe = changed[0].recipe if isinstance(changed[0], Draft) else draft.recipe
        said = f"{repository} is in the list now." if recipe is not draft.recipe else ""
        refused = f"{problem['message']} {problem['hint']}" if problem else ""
        return *changed, {"models": None, "said": refused or said, "offers": hub_search.offers(recipe)}

    shared = [page.draft, page.past, page.redraw]
    hub.search(searched, page.draft, hub, trigger_mode="always_last", **QUICK)
    hub.related(looked_up, page.draft, hub, trigger_mode="always_last", **QUICK)
    hub.choose(chosen, shared, [*shared, hub], **CHANGE)


def _reachable(workspace: Workspace, recipe: Recipe) -> Recipe:
    workspace.check_reach(recipe)
    return recipe
