"""Work that outlives the page and the server that asked for it: its records, steps and worker."""

from __future__ import annotations

from merge_core.jobs.job import Job, JobKind, JobState
from merge_core.jobs.store import JobStore
from merge_core.jobs.supervise import Supervisor

__all__ = ["Job", "JobKind", "JobState", "JobStore", "Supervisor"]
