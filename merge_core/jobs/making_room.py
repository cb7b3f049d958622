"""On a Space, where nobody looks after the disk: what no job needs makes way for one that has no room.

Cached models go first, those used longest ago: they can be fetched again. Then finished runs, the oldest first. Nothing
goes that a waiting or running job needs, that another program brought, that is being sent, or in vain.

Finding out what may go takes long, and so does deleting it. Meanwhile others must be able to say that they live, so
only what lies between is done within the store's transaction.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from merge_core.errors import UserError
from merge_core.hub import cache
from merge_core.hub.cached_models import CachedModel, cached_models, take_model
from merge_core.jobs.job import Job
from merge_core.jobs.pins import models_of
from merge_core.jobs.retention import is_in_use, may_make_way, take_run
from merge_core.jobs.space import written
from merge_core.prepare.needs import Shortage, disk_of
from merge_core.removal import Removal

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Removable:
    """Something that may go.

    Args:
        what: a model, or the id of a run.
        device: the disk it is on.
        bytes: what that frees.
    """

    what: CachedModel | str
    device: int
    bytes: int

    def __str__(self) -> str:
        return f"the files of run {self.what}" if isinstance(self.what, str) else self.what.repo_id


@dataclass(frozen=True)
class Survey:
    """What may go as things stood, what goes first first.

    Args:
        found: see `_Removable`.
        needed: the models that each job needs which was not over, by its id.
    """

    found: tuple[_Removable, ...]
    needed: Mapping[str, frozenset[str]]


def survey(jobs: Iterable[Job], runs: Path) -> Survey:
    """Find what may go. This looks at every file in the cache and of every run.

    Args:
        jobs: all jobs.
        runs: the folder of all jobs' folders.
    """
    jobs = list(jobs)
    in_cache, in_runs = disk_of(cache.root()), disk_of(runs)
    models = [_Removable(m, in_cache, m.bytes) for m in reversed(cached_models()) if m.fetched_here]
    over = [_Removable(job.id, in_runs, written(runs / job.id)) for job in may_make_way(jobs)]
    made = [run for run in over if run.bytes and not is_in_use(runs / str(run.what) / "model")]
    return Survey((*models, *made), {job.id: models_of([job]) for job in jobs if not job.final})


def make_way(
    known: Survey, short: Iterable[Shortage], jobs: Collection[Job], runs: Path, removal: Removal
) -> list[Job]:
    """Take away as little as it takes until nothing is missing on the disks; nothing where that cannot be reached.

    Args:
        known: what may go, unless a job needs it since.
        short: the disks that are too small.
        jobs: all jobs as they are now; the models of those that are not over stay.
        runs: the folder of all jobs' folders.
        removal: takes it, and deletes it later.

    Returns:
        The finished jobs whose files are gone.
    """
    unfinished = [job for job in jobs if not job.final]
    recent = [job for job in unfinished if job.id not in known.needed]
    needed = models_of(recent).union(*(known.needed.get(job.id, ()) for job in unfinished))
    over = {job.id: job for job in may_make_way(jobs)}
    left = [
        each
        for each in known.found
        if (each.what in over if isinstance(each.what, str) else each.what.repo_id not in needed)
    ]
    gone = []
    for shortage in short:
        there = [each for each in left if each.device == shortage.device]
        missing = shortage.missing
        if sum(each.bytes for each in there) < missing:
            continue
        for each in there:
            if missing <= 0:
                break
            try:
                if isinstance(each.what, str):
                    take_run(runs / each.what, removal)
                    gone.append(over[each.what])
                else:
                    take_model(each.what, removal)
            except (UserError, OSError) as error:
                log.warning("cannot remove %s: %s", each, error)
                continue
            missing -= each.bytes
            log.info("removed %s, %.1f MB, to make room for a job", each, each.bytes / 1e6)
    return gone
