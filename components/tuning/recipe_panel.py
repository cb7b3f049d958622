"""The recipe as YAML: to copy, or to paste another one and have every mistake named with its line."""

from __future__ import annotations

from typing import Any

import gradio as gr

from components.page import OTHER_RECIPE, QUICK, Page
from components.tuning.editing import Draft
from components.workspace import Workspace
from merge_core.errors import UserError
from merge_core.recipe import Recipe, read_recipe, write_plain_mergekit


def parse(text: str, workspace: Workspace) -> Recipe:
    """A pasted recipe, checked for what this server may open.

    Raises:
        UserError: names the line and what is wrong there.
    """
    recipe = read_recipe(text, "pasted recipe")
    workspace.check_reach(recipe)
    return recipe


def build(page: Page, workspace: Workspace, opener: gr.Button) -> gr.Code:
    """The panel, shown and hidden by `opener`; answers the editor, which the page keeps up to date."""
    shown = gr.State(False)
    with gr.Column(visible=False, elem_id="tb-recipe-panel", elem_classes=["tb-panel"]) as panel:
        with gr.Row(elem_classes=["tb-head"]):
            gr.Markdown("## Recipe", elem_classes=["tb-title"])
            close = gr.Button("Close", size="sm", elem_classes=["tb-small"], elem_id="tb-recipe-close")
        gr.Markdown(
            "This is everything the merge depends on, in mergekit's format. Copy it, or paste another recipe over it.",
            elem_classes=["tb-quiet"],
        )
        editor = gr.Code(
            page.draft.value.text,
            language="yaml",
            show_label=False,
            lines=14,
            max_lines=30,
            interactive=True,
            wrap_lines=True,
            buttons=["copy"],
            elem_id="tb-recipe-text",
        )
        with gr.Row(elem_classes=["tb-actions"]):
            apply = gr.Button("Use this recipe", size="sm", elem_id="tb-apply", elem_classes=["tb-small"])
            plain = gr.Button("Without Tiebreak's own keys", size="sm", elem_classes=["tb-small"])

    def toggle(is_shown: bool, draft: Draft) -> tuple[Any, ...]:
        return not is_shown, gr.Column(visible=not is_shown), draft.text

    for button in (opener, close):
        button.click(toggle, [shown, page.draft], [shown, panel, editor], **QUICK)
    page.edit(apply.click, lambda _, text: parse(text or "", workspace), [editor], what=OTHER_RECIPE)

    def as_plain(draft: Draft) -> tuple[str, Any]:
        try:
            return write_plain_mergekit(draft.recipe), ""
        except UserError as error:
            return draft.text, {"message": error.message, "hint": error.hint}

    plain.click(as_plain, page.draft, [editor, page.notice], **QUICK)
    return editor
