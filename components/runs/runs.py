"""The tray of this visitor's runs, and the button that adds one."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

import gradio as gr

from components.event_fields import Refused
from components.runs.run_rows import run_row
from components.scripts import script
from components.workspace import Workspace
from merge_core.errors import UserError
from merge_core.jobs import Job, JobStore
from merge_core.recipe import Recipe, read_recipe

SHORTEST_OWNER = 24  # characters; a name this long that we made cannot be guessed

_TRAY = """<ol class="tb-runs" aria-label="Runs"></ol>
<p class="tb-runs-empty tb-quiet">Nothing merged yet. Each run you start is listed here.</p>"""


class Tray(gr.HTML):
    """Rows of runs, drawn by `runs.js` from `tray`."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(
            value={"runs": []},
            html_template=_TRAY,
            js_on_load=script("dom.js", "runs/runs.js"),
            apply_default_css=False,
            **settings,
        )


def new_owner() -> str:
    """A name for a browser, which nobody can guess."""
    return secrets.token_urlsafe(SHORTEST_OWNER)


def known_owner(owner: Any) -> str:
    """`owner` where it can be one that we gave out.

    Raises:
        Refused: it is none, as where a page was opened without its script.
    """
    if not isinstance(owner, str) or len(owner) < SHORTEST_OWNER:
        raise Refused("This page has lost track of who you are. Reload it.")
    return owner


def runs_of(store: JobStore, owner: str) -> tuple[Job, ...]:
    """The visitor's merges and measurements, newest first."""
    return tuple(job for job in store.list(owner) if job.kind in ("merge", "probe"))


def newest_merge(store: JobStore, owner: str, recipe: Recipe | None) -> Job | None:
    """The visitor's newest finished merge, of that recipe where one is given."""
    for job in runs_of(store, owner):
        if job.kind == "merge" and job.state == "done" and (recipe is None or _is_of(job, recipe)):
            return job
    return None


def _is_of(job: Job, recipe: Recipe) -> bool:
    try:
        return read_recipe(job.recipe) == recipe
    except UserError:  # written by an earlier version that knew other keys
        return False


def tray(store: JobStore, owner: str, jobs: Sequence[Job], selected: str) -> dict[str, Any]:
    """What the tray shows."""
    rows = [
        run_row(
            job,
            selected=job.id == selected,
            ahead=store.ahead(job.id, owner) if job.state == "queued" else 0,
        )
        for job in jobs
    ]
    return {"runs": rows}


def build(workspace: Workspace) -> Tray:
    """The panel's contents."""
    said = "kept for a day, the first hour for sure" if workspace.on_space else "kept for 7 days"
    with gr.Row(elem_classes=["tb-head"]):
        gr.Markdown("## Runs", elem_classes=["tb-title"])
        gr.Markdown(said, elem_classes=["tb-quiet"])
    return Tray(elem_id="tb-runs")
