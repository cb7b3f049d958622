"""The model card of a finished run, over the page: read as the Hub will show it, changed before it is sent."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import gradio as gr
import yaml

from components.page import CHANGE, QUICK, Page, complaint
from components.publishing.downloads import Tickets
from components.runs.run_folder import finished_folder, owned_run
from components.workspace import Workspace
from merge_core.card.map_picture import FILE as MAP
from merge_core.errors import UserError

LONGEST_CARD = 200_000  # characters
READ, EDIT = "Read", "Edit"

_HEAD = re.compile(r"\A---\n(.*?\n)---\n", re.DOTALL)


def read_card(workspace: Workspace, run: str, owner: str) -> str:
    """The card of a visitor's finished run.

    Raises:
        UserError: the visitor has no such run.
    """
    path = _folder(workspace, run, owner) / "README.md"
    return path.read_text()[:LONGEST_CARD] if path.is_file() else ""


def save_card(workspace: Workspace, run: str, owner: str, text: str) -> None:
    """Put `text` in the place of a run's card.

    Raises:
        UserError: the visitor has no such run, or the card's head is not YAML.
    """
    folder = _folder(workspace, run, owner)
    check_card(text)
    partial = folder / ".README.md"
    partial.write_text(text)
    partial.replace(folder / "README.md")


def check_card(text: str) -> None:
    """Find out here what the Hub would refuse.

    Raises:
        UserError: the card is too long, or its head is no mapping in YAML.
    """
    if len(text) > LONGEST_CARD:
        raise UserError(
            f"The card has {len(text):,} characters, at most {LONGEST_CARD:,} are kept.", "Shorten it."
        )
    head = _HEAD.match(text)
    if head is None:
        raise UserError(
            "The card has no head.", "Begin it with a line of three dashes, YAML, and three dashes again."
        )
    try:
        found = yaml.safe_load(head[1])
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 2}" if mark else "its head"
        raise UserError(
            f"The card's head is not YAML: see {where}.", "Mend it, or close without saving."
        ) from None
    if not isinstance(found, dict):
        raise UserError("The card's head holds no `key: value` lines.", "Give at least a `license:`.")


def _folder(workspace: Workspace, run: str, owner: str) -> Path:
    folder = finished_folder(owned_run(workspace, run, owner), workspace)
    if folder is None:
        raise UserError("There is no finished run to show a card of.", "Select one, or merge first.")
    return folder


def body_of(card: str, ticket: str) -> str:
    """A card without its head, which is for machines, and with its picture from the run's folder."""
    return _HEAD.sub("", card, count=1).replace(f"]({MAP})", f"](download/{ticket}/{MAP})")


def build(page: Page, workspace: Workspace, opener: gr.Button, tickets: Tickets) -> None:
    """The card over the page, shown by `opener`."""
    ticket = gr.State("")
    with gr.Column(visible=False, elem_id="tb-card", elem_classes=["tb-dialog"]) as dialog:
        with gr.Row(elem_classes=["tb-head"]):
            gr.Markdown("## Model card", elem_classes=["tb-title"])
            mode = gr.Radio(
                [READ, EDIT],
                value=READ,
                show_label=False,
                container=False,
                elem_classes=["tb-control", "tb-seg"],
            )
            save = gr.Button(
                "Save", size="sm", visible=False, elem_classes=["tb-small"], elem_id="tb-card-save"
            )
            close = gr.Button("Close", size="sm", elem_classes=["tb-small"], elem_id="tb-card-close")
        shown = gr.Markdown("", sanitize_html=True, elem_id="tb-card-text")
        editor = gr.Code(
            "",
            language="markdown",
            show_label=False,
            visible=False,
            wrap_lines=True,
            elem_id="tb-card-editor",
        )

    def opened(run: str, owner: str) -> tuple[Any, ...]:
        try:
            folder = _folder(workspace, run, owner)
            text = read_card(workspace, run, owner)
        except UserError as error:
            return gr.skip(), gr.skip(), gr.skip(), gr.skip(), complaint(error)
        given = tickets.give(folder, run)
        return gr.Column(visible=True), body_of(text, given), text, given, ""

    def switched(mode: str, text: str, given: str) -> tuple[Any, ...]:
        reading = mode == READ
        return (
            gr.Markdown(body_of(text or "", given), visible=reading),
            gr.Code(visible=not reading),
            gr.Button(visible=not reading),
        )

    def saved(run: str, owner: str, text: str) -> tuple[Any, ...]:
        try:
            save_card(workspace, run, owner, text or "")
        except UserError as error:
            return gr.skip(), complaint(error)
        return READ, ""

    opening = opener.click(
        opened, [page.run, page.owner], [dialog, shown, editor, ticket, page.notice], **CHANGE
    )
    opening.then(None, js="() => { document.querySelector('#tb-card-close')?.focus(); }")
    mode.change(switched, [mode, editor, ticket], [shown, editor, save], **QUICK)
    save.click(saved, [page.run, page.owner, editor], [mode, page.notice], **CHANGE)
    # A change that was not saved is dropped with the dialog: opening it reads the card anew.
    close.click(lambda: (gr.Column(visible=False), READ), None, [dialog, mode], **QUICK)
