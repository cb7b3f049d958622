"""The inspection behind the map: asked for when a draft needs another one, looked at while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from components.editing import Draft
from components.inspection import question
from components.visitor import Visitor
from components.workspace import Workspace
from merge_core.errors import UserError
from merge_core.interference import InterferenceReport
from merge_core.jobs import Job
from merge_core.jobs.inspections import find_report
from merge_core.json_files import read_json
from merge_core.recipe import read_recipe

Asked = Mapping[str, Any]


@dataclass(frozen=True)
class MapState:
    """What the map is to show.

    Args:
        asked: the question it answers and the job that works on it, None where none does any more.
        report: to draw; None leaves what is drawn.
        fraction, message: of work under way; None and "" where nothing is.
        problem: why there can be no map; None where there can.
    """

    asked: Asked
    report: InterferenceReport | None = None
    fraction: float | None = None
    message: str = ""
    problem: UserError | None = None


def ask(workspace: Workspace, draft: Draft, owner: str, asked: Asked, who: Visitor) -> MapState | None:
    """See to it that the map answers the draft; None where it does already or soon will."""
    try:
        if draft.problem is not None:
            raise draft.problem
        workspace.check_reach(draft.recipe)
        wanted = question(draft.recipe)
        if asked.get("question") == wanted:
            return None
        _give_up(workspace, owner, asked)
        report = find_report(workspace.store.root, read_recipe(wanted), who.hub)
        if report is not None:
            return MapState({"question": wanted, "job": None}, report=report)
        job = who.submit(workspace, "inspect", owner, read_recipe(wanted), {})
    except UserError as error:
        return MapState({}, problem=error)
    return MapState({"question": wanted, "job": job.id}, fraction=0.0, message="Waiting for the worker")


def look(workspace: Workspace, owner: str, asked: Asked) -> MapState | None:
    """How far the map's inspection is; None where none is under way."""
    if not asked.get("job"):
        return None
    job = workspace.store.get(asked["job"], owner)
    if job is None or job.state == "cancelled":
        return MapState(
            {}, problem=UserError("The comparison was stopped.", "Change anything to begin it anew.")
        )
    if job.state == "failed":
        return MapState({**asked, "job": None}, problem=UserError(job.error or "The comparison failed."))
    if job.state == "done":
        report = _read_report(workspace, job)
        return MapState({**asked, "job": None}, report=report)
    return MapState(asked, fraction=job.progress.fraction, message=job.progress.message)


def _read_report(workspace: Workspace, job: Job) -> InterferenceReport:
    document = read_json(workspace.store.root / str((job.result or {}).get("report", "")))
    return InterferenceReport.from_json(document or {})


def _give_up(workspace: Workspace, owner: str, asked: Asked) -> None:
    """Stop an inspection that nobody waits for any more."""
    if not asked.get("job"):
        return
    job = workspace.store.get(asked["job"], owner)
    if job is not None and not job.final:
        workspace.store.cancel(job.id, owner)
