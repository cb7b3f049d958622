"""Room on the disk that is promised to jobs: what one is to write, no other may count on."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from merge_core.jobs.job import Job
from merge_core.prepare.needs import Needs, require_room


def promised(needs: Needs | None) -> dict[str, Any]:
    """`needs` as a job's record holds them."""
    return asdict(needs) if needs is not None else {}


def require_room_for_all(jobs: Iterable[Job], runs: Path) -> None:
    """Raise unless the disks hold what unfinished jobs have still to write.

    Args:
        jobs, runs: see `room_wanted`.

    Raises:
        UserError: there is no room.
    """
    jobs = list(jobs)
    require_room(
        room_wanted(jobs, runs), "this and the jobs before it take" if len(jobs) > 1 else "this takes"
    )


def room_wanted(jobs: Iterable[Job], runs: Path) -> dict[Path, int]:
    """Bytes that jobs have still to write, by the folder under which they will.

    A model that two jobs wait for is downloaded once, and counts once.

    Args:
        jobs: unfinished ones.
        runs: the folder of all jobs' folders.
    """
    downloads: dict[str, int] = {}
    output = 0
    for job in jobs:
        downloads |= {name: int(size) for name, size in _told(job, "downloads", {}).items()}
        output += max(0, int(_told(job, "output", 0)) - written(runs / job.id))
    wanted = {runs: output}
    if downloads:
        from merge_core.hub.cache import root

        wanted[root()] = sum(_still_to_come(name, size) for name, size in downloads.items())
    return wanted


def _told(job: Job, key: str, default: Any) -> Any:
    found = job.needs.get(key, default)
    return found if isinstance(found, type(default)) else default


def _still_to_come(name: str, size: int) -> int:
    from merge_core.hub.cache import bytes_under_way
    from merge_core.hub.receipts import receipt_path

    repo_id, _, commit = name.partition("@")
    if any(receipt_path(repo_id, commit, adapter=adapter).exists() for adapter in (False, True)):
        return 0
    return max(0, size - bytes_under_way(repo_id))


def written(folder: Path) -> int:
    """Bytes that a folder takes on the disk; a merge takes its weight files' room at once."""
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(where, name)).st_blocks * 512
            except OSError:  # gone meanwhile
                continue
    return total
