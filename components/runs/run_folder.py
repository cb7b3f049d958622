"""A visitor's run and the folder it made, for whoever shows, downloads or pushes it."""

from __future__ import annotations

from pathlib import Path

from components.runs.runs import known_owner
from components.workspace import Workspace
from merge_core.jobs import Job


def owned_run(workspace: Workspace, run: str, owner: str) -> Job | None:
    """The run of that id, where it is this visitor's."""
    return workspace.store.get(run, known_owner(owner)) if run else None


def finished_folder(job: Job | None, workspace: Workspace) -> Path | None:
    """Where a finished merge lies; None where there is none (any more)."""
    if job is None or job.state != "done" or not (job.result or {}).get("model"):
        return None
    folder = workspace.store.root / str((job.result or {})["model"])
    return folder if folder.is_dir() else None
