"""Work that outlives the page and the server that asked for it: its records, steps and worker."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from merge_core.jobs.job import Job, JobKind, JobState
    from merge_core.jobs.store import JobStore
    from merge_core.jobs.supervise import Supervisor

__all__ = ["Job", "JobKind", "JobState", "JobStore", "Supervisor"]

_FOUND_IN = {
    "Job": "job",
    "JobKind": "job",
    "JobState": "job",
    "JobStore": "store",
    "Supervisor": "supervise",
}


def __getattr__(name: str) -> Any:
    """Load a name on its first use: the command line keeps reports as jobs do, and needs no store for it."""
    if name not in _FOUND_IN:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_FOUND_IN[name]}"), name)
