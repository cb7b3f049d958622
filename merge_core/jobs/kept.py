"""What jobs keep on the disk: finished runs, which can be removed, and models that must not be yet."""

from __future__ import annotations

from dataclasses import dataclass

from merge_core.jobs.job import Job
from merge_core.jobs.pins import models_of
from merge_core.jobs.space import written
from merge_core.jobs.store import JobStore

MOST_LISTED = 10_000


@dataclass(frozen=True)
class FinishedRun:
    """A job that is over, and the bytes that what it made takes."""

    job: Job
    bytes: int


def finished_runs(store: JobStore, owner: str | None = None) -> tuple[FinishedRun, ...]:
    """Jobs that are over and still take room, the largest first. `JobStore.remove` removes one.

    Args:
        store: the jobs.
        owner: whose; None is everybody's.
    """
    over = [job for job in store.list(owner, MOST_LISTED) if job.final]
    found = [FinishedRun(job, written(store.folder(job.id))) for job in over]
    return tuple(sorted((run for run in found if run.bytes), key=lambda run: -run.bytes))


def models_in_use(store: JobStore) -> frozenset[str]:
    """Repositories, `owner/name`, that jobs of anybody need which wait or run."""
    return models_of(store.unfinished())
