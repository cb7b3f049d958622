"""In which order waiting jobs are done: their owners take turns, so that one long queue does not hold up the others."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable

from merge_core.jobs.job import Job


def in_turn(jobs: Iterable[Job]) -> list[Job]:
    """The queued jobs, next first, as if each took as long as any other.

    It is the turn of the owner whose last job was taken longest ago; of owners with equal right, and of one owner's
    jobs, the oldest job is first.

    Args:
        jobs: all jobs of the store; those that are no longer queued tell whose turn it was.
    """
    queues: dict[str, list[Job]] = defaultdict(list)
    last: dict[str, float] = {}
    for job in jobs:
        last[job.owner] = max(last.get(job.owner, 0.0), job.taken)
        if job.state == "queued":
            queues[job.owner].append(job)
    for queue in queues.values():
        queue.sort(key=lambda job: job.created, reverse=True)
    # (place of the owner's last job in this order or 0, when one was taken before, creation of the next job, owner)
    heap = [(0, last[owner], queue[-1].created, owner) for owner, queue in queues.items()]
    heapq.heapify(heap)
    order: list[Job] = []
    while heap:
        _, _, _, owner = heapq.heappop(heap)
        order.append(queues[owner].pop())
        if queues[owner]:
            heapq.heappush(heap, (len(order), 0.0, queues[owner][-1].created, owner))
    return order
