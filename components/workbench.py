"""The page's layout: what is decided on the left, what is learnt in the middle, what comes of it on the right."""

from __future__ import annotations

import gradio as gr

from components import header, storage
from components import page as pages
from components.interference import conflict_map, drilldown
from components.models import picker
from components.publishing import card_editor, publish
from components.publishing.downloads import Tickets
from components.publishing.pushes import Pushes
from components.reactions import LOOK_EVERY, Parts, Reactions
from components.runs import measuring, results, runs
from components.tuning import recipe_panel, tuner
from components.tuning.editing import Draft
from components.workspace import Workspace
from merge_core.recipe import read_recipe

HOUR = 3600  # seconds


def build(workspace: Workspace, tickets: Tickets) -> gr.Blocks:
    """The page, opening with the demo's recipe."""
    draft = Draft.of(read_recipe(workspace.demo_recipe(), "the demo's recipe"))
    pushes = Pushes()
    publisher = publish.Publisher(workspace, tickets, pushes)
    # Uploads are checked, copied and deleted at once; what nobody asked for goes within the hour.
    with gr.Blocks(
        title="Tiebreak", analytics_enabled=False, fill_width=True, delete_cache=(HOUR, HOUR)
    ) as demo:
        bar = header.build(workspace, draft.recipe)
        page = pages.build(draft)
        editor = recipe_panel.build(page, workspace, bar.recipe_button)
        with gr.Row(elem_classes=["tb-page"]):
            with gr.Column(elem_classes=["tb-left"]):
                with gr.Column(elem_classes=["tb-panel"]):
                    models = picker.build(page, workspace)
                    with gr.Accordion(
                        "Licences", open=False, visible=False, elem_classes=["tb-fold"], elem_id="tb-licences"
                    ) as licences:
                        terms = gr.Markdown("", elem_classes=["tb-quiet"])
                with gr.Column(elem_classes=["tb-panel"]):
                    tuned = tuner.build(page, draft.recipe)
                with gr.Column(elem_classes=["tb-go"]):
                    start = gr.Button(
                        "Merge and measure", variant="primary", interactive=False, elem_id="tb-start"
                    )
                    beneath = gr.Markdown("", elem_id="tb-beneath", elem_classes=["tb-quiet"])
            with gr.Column(elem_classes=["tb-middle"]):
                the_map = conflict_map.build()
                conflict_map.follow(the_map, page, tuned)
                cell = drilldown.build()
            with gr.Column(elem_classes=["tb-right"]):
                with gr.Column(elem_classes=["tb-panel"]):
                    tray = runs.build(workspace)
                    storage.build(page, workspace, pushes)
                with gr.Column(elem_classes=["tb-panel"]):
                    scores = results.build(page, workspace)
                    measured = measuring.build(page, workspace)
                with gr.Column(elem_classes=["tb-panel"]):
                    published = publish.build(page, publisher)
        card_editor.build(page, workspace, published.read, tickets)
        parts = Parts(
            mark=bar.mark,
            models=models,
            editor=editor,
            link=bar.link,
            start=start,
            beneath=beneath,
            licences=licences,
            terms=terms,
            map=the_map,
            cell=cell,
            tray=tray,
            measuring=measured,
            results=scores,
            publish=published,
            moving=gr.Timer(LOOK_EVERY, active=False),
            asked=gr.State({}),
            closer=gr.State({}),
            seen=gr.State({}),
        )
        Reactions(page, parts, workspace, publisher).wire(demo)
    return demo
