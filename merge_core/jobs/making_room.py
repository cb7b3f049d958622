"""On a Space, where nobody looks after the disk: what no job needs makes way for one that has no room.

Cached models go first, those used longest ago: they can be fetched again. Then finished runs, the oldest first. Nothing
goes that a waiting or running job needs, that another program brought, that is being sent, or in vain.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from merge_core.errors import UserError
from merge_core.hub import cache
from merge_core.hub.cached_models import cached_models, remove_models
from merge_core.jobs.job import Job
from merge_core.jobs.pins import models_of
from merge_core.jobs.retention import is_in_use, may_make_way
from merge_core.jobs.space import written
from merge_core.prepare.needs import disk_of, shortages

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Removable:
    """Something that may go.

    Args:
        what: for the log.
        device: the disk it is on.
        bytes: what that frees.
        remove: removes it.
    """

    what: str
    device: int
    bytes: int
    remove: Callable[[], None]


def make_room(wanted: Mapping[Path, int], jobs: Collection[Job], runs: Path) -> list[Job]:
    """Remove as little as it takes until the disks hold what is wanted; nothing where that cannot be reached.

    Args:
        wanted: bytes to be written under each folder.
        jobs: all jobs; the models of those that are not over stay.
        runs: the folder of all jobs' folders.

    Returns:
        The finished jobs whose files are gone.
    """
    gone: list[Job] = []
    short = shortages(wanted)
    if not short:
        return gone
    found = [*_models(jobs), *_runs(jobs, runs, gone)]
    for shortage in short:
        there = [each for each in found if each.device == shortage.device]
        missing = shortage.missing
        if sum(each.bytes for each in there) < missing:
            continue
        for each in there:
            if missing <= 0:
                break
            try:
                each.remove()
            except (UserError, OSError) as error:
                log.warning("cannot remove %s: %s", each.what, error)
                continue
            missing -= each.bytes
            log.info("removed %s, %.1f MB, to make room for a job", each.what, each.bytes / 1e6)
    return gone


def _models(jobs: Iterable[Job]) -> list[_Removable]:
    pinned = models_of(job for job in jobs if not job.final)
    disk = disk_of(cache.root())
    return [
        _Removable(model.repo_id, disk, model.bytes, partial(_remove_model, model.repo_id, pinned))
        for model in reversed(cached_models())
        if model.fetched_here and model.repo_id not in pinned
    ]


def _remove_model(repo_id: str, pinned: Collection[str]) -> None:
    remove_models([repo_id], pinned)


def _runs(jobs: Iterable[Job], runs: Path, gone: list[Job]) -> list[_Removable]:
    def remove(job: Job) -> None:
        shutil.rmtree(runs / job.id)
        gone.append(job)

    disk = disk_of(runs)
    found = []
    for job in may_make_way(jobs):
        nbytes = written(runs / job.id)
        if nbytes and not is_in_use(runs / job.id / "model"):
            found.append(_Removable(f"the files of run {job.id}", disk, nbytes, partial(remove, job)))
    return found
