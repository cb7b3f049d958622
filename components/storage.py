"""What takes room on this machine: the visitor's finished runs and cached models, each with a way to be rid of it."""

from __future__ import annotations

import time
from typing import Any

import gradio as gr

from components import wording
from components.event_fields import text
from components.page import QUICK, Page, complaint
from components.publishing.pushes import Pushes
from components.runs.run_rows import title
from components.runs.runs import known_owner
from components.scripts import script
from components.workspace import Workspace
from merge_core.errors import UserError
from merge_core.hub.cached_models import cached_models, remove_models
from merge_core.jobs.kept import finished_runs, models_in_use
from merge_core.jobs.retention import kept_until

MOST = 50
DAY = 24 * 3600

_SHARED = (
    "All visitors share this disk. Cached models make way when a run has no room, and so do finished runs after their "
    "first hour, the oldest first. Download or push what you need."
)

_LIST = """<p class="tb-kept-empty tb-quiet"></p><ul class="tb-kept" aria-label="What takes room"></ul>"""


class Kept(gr.HTML):
    """Runs and models with their size, drawn by `storage.js`. Event: `remove` {kind, id}."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(
            value={"rows": [], "said": "Looking …"},
            html_template=_LIST,
            js_on_load=script("dom.js", "storage.js"),
            apply_default_css=False,
            **settings,
        )


def kept(workspace: Workspace, owner: str, now: float | None = None) -> dict[str, Any]:
    """What the list shows: this visitor's runs, and, where the machine is the visitor's own, cached models."""
    now = time.time() if now is None else now
    rows = [
        {
            "kind": "run",
            "id": run.job.id,
            "name": title(run.job),
            "facts": f"{wording.size(run.bytes)} · run, {_ago(now - (run.job.finished or run.job.created))}",
            "until": kept_until(run.job),
        }
        for run in finished_runs(workspace.store, owner)
    ]
    if not workspace.on_space:
        rows += [
            {
                "kind": "model",
                "id": model.repo_id,
                "name": model.repo_id,
                "facts": f"{wording.size(model.bytes)} · cached model, used {_ago(now - model.last_used)}",
            }
            for model in cached_models()
        ]
    return {"rows": rows[:MOST], "said": _SHARED if workspace.on_space else "" if rows else "Nothing yet."}


def remove(workspace: Workspace, pushes: Pushes, owner: str, kind: str, name: str) -> None:
    """Delete a finished run of this visitor, or a model from the cache.

    Raises:
        UserError: it is in use, it is not there, or it is not the visitor's.
    """
    if kind == "run":
        push = pushes.get(name)
        if push is not None and not push.over and workspace.store.get(name, owner) is not None:
            raise UserError("This run is being uploaded.", "Wait until that is over.")
        workspace.store.remove(name, owner)
    elif workspace.on_space:
        raise UserError("Cached models belong to all visitors.", "Only finished runs can be removed here.")
    else:
        remove_models([name], models_in_use(workspace.store))


def _ago(seconds: float) -> str:
    days = int(seconds // DAY)
    return "today" if days < 1 else "yesterday" if days == 1 else f"{days} days ago"


def build(page: Page, workspace: Workspace, pushes: Pushes) -> None:
    """The fold with the list; it is filled when opened."""
    with gr.Accordion(
        "Room on this machine", open=False, elem_classes=["tb-fold"], elem_id="tb-storage"
    ) as fold:
        shown = Kept(elem_id="tb-kept")

    def filled(owner: str) -> dict[str, Any]:
        return kept(workspace, known_owner(owner))

    def removed(owner: str, run: str, event: gr.EventData) -> tuple[Any, ...]:
        kind, name = text(event, "kind"), text(event, "id")
        try:
            remove(workspace, pushes, known_owner(owner), kind, name)
        except UserError as error:
            return gr.skip(), gr.skip(), complaint(error)
        gone = kind == "run" and name == run
        return kept(workspace, owner), "" if gone else gr.skip(), ""

    fold.expand(filled, page.owner, shown, **QUICK)
    shown.remove(removed, [page.owner, page.run], [shown, page.run, page.notice], **QUICK)
