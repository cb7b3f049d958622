"""The inspection behind the map: asked for when a draft needs another one, looked at while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from components.interference.wanted_inspection import question
from components.tuning.editing import Draft
from components.visitor import Visitor
from components.workspace import Workspace
from merge_core.errors import UserError
from merge_core.interference import InterferenceReport
from merge_core.jobs.inspections import find_report
from merge_core.json_files import read_json
from merge_core.prepare import open_all
from merge_core.recipe import read_recipe

Asked = Mapping[str, Any]

SAMPLES = (16, 64, 256)  # MB
SAMPLE_MB = 64  # of all models together, unless the visitor says otherwise
SMALL = 200_000_000  # bytes of all models together; of more, elections are counted only when asked for
UNASKED = 50_000_000  # bytes; more than that is downloaded only when the visitor says so


@dataclass(frozen=True)
class MapState:
    """What the map is to show.

    Args:
        asked: the question it answers, and that of a map without elections (`base`); the job that works on it, None
            where none does any more; `counted`, whether it says who is outvoted. Of what is drawn, the names of the
            tensors, and its `base` as `drawn`; `seen`, the report on part of a sample that is drawn until the rest has
            been read. `aside`: only who is outvoted is counted anew.
        report: to draw; None leaves what is drawn.
        fraction, message: of work under way; None and "" where nothing is.
        offer: bytes of weights to download for an exact map, where that waits for the visitor's word; else 0. Until
            then the report is of a sample.
        problem: why there can be no map; None where there can.

    With none of these it shows nothing: models are still to be chosen.
    """

    asked: Asked
    report: InterferenceReport | None = None
    fraction: float | None = None
    message: str = ""
    offer: int = 0
    problem: UserError | None = None


def ask(
    workspace: Workspace,
    draft: Draft,
    owner: str,
    asked: Asked,
    who: Visitor,
    *,
    download: bool = False,
    sample_mb: int | None = None,
    elections: bool = False,
) -> MapState | None:
    """See to it that the map answers the draft; None where it does already or soon will.

    Args:
        download: whatever the models' size; the visitor has said so.
        sample_mb: how much to read of models that are too large to fetch unasked, where the visitor has just said so.
        elections: find out who is outvoted as well; unasked only for small models, or if it was asked for before.
    """
    told = download or elections or sample_mb is not None
    budget = sample_mb or asked.get("sample_mb", SAMPLE_MB)
    if draft.missing:
        give_up(workspace, owner, asked)
        return MapState({})
    try:
        if draft.problem is not None:
            raise draft.problem
        workspace.check_reach(draft.recipe)
        base = question(draft.recipe)
        if asked.get("question") == question(draft.recipe, elections=bool(asked.get("counted"))) and not told:
            return None
        give_up(workspace, owner, asked)
        recipe = read_recipe(base)
        checkpoints = open_all(recipe, who.hub).values()
        missing = sum(c.nbytes for c in checkpoints if c.root is None)
        small = sum(checkpoint.nbytes for checkpoint in checkpoints) <= SMALL
        wish = elections or bool(asked.get("elections"))
        counted = wish or small
        wanted = question(draft.recipe, elections=counted)
        known: Asked = {"base": base, "counted": counted, "elections": wish}
        report = find_report(workspace.store.root, read_recipe(wanted), who.hub, counted)
        if report is not None:
            return MapState(_answered({**known, "question": wanted}, report), report=report)
        sampling = {"missing": missing, "sample_mb": budget} if missing > UNASKED and not download else {}
        if sampling:
            known, wanted = {**known, "counted": False}, base
        options = {"sample_mb": budget} if sampling else {"elections": True} if counted else {}
        recipe = read_recipe(wanted)
        job = who.submit(workspace, "inspect", owner, recipe, options)
    except UserError as error:
        return MapState({}, problem=error)
    drawn = {key: asked[key] for key in ("drawn", "names") if key in asked}
    aside = asked.get("drawn") == base and not told
    waiting = {**known, **drawn, "question": wanted, "job": job.id, "aside": aside, **sampling}
    return MapState(waiting, fraction=0.0, message="Waiting for the worker")


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
        problem = UserError(job.error or "The comparison failed.")
        return MapState({**asked, "job": None}, problem=problem, offer=asked.get("missing", 0))
    if job.state == "done":
        report = _read(workspace, str((job.result or {}).get("report", "")))
        return MapState(_answered(asked, report), report=report, offer=asked.get("missing", 0))
    first = job.progress.shown
    if first and asked.get("seen") != first:
        report = _read(workspace, first)
        part = {**_answered(asked, report), "job": asked["job"], "seen": first}
        return MapState(part, report=report, offer=asked.get("missing", 0))
    return MapState(asked, fraction=job.progress.fraction, message=job.progress.message)


def _answered(asked: Asked, report: InterferenceReport) -> Asked:
    names = tuple(tensor.name for tensor in report.tensors)
    return {**asked, "job": None, "names": names, "drawn": asked["base"], "aside": False}


def _read(workspace: Workspace, path: str) -> InterferenceReport:
    return InterferenceReport.from_json(read_json(workspace.store.root / path) or {})


def give_up(workspace: Workspace, owner: str, asked: Asked) -> None:
    """Stop the job that is `asked` for and that nobody waits for any more."""
    if not asked.get("job"):
        return
    job = workspace.store.get(asked["job"], owner)
    if job is not None and not job.final:
        workspace.store.cancel(job.id, owner)
