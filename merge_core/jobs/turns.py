"""In which order waiting jobs are done: who asked takes turns, so that one long queue does not hold up the others.

A browser's name costs nothing: whoever drops it gets a new one, and with it a turn. So turns go by account, which the
Hub vouches for, and all who have not signed in share one turn. Among themselves they take turns by browser; where
nobody signs in, as on a machine of one's own, that is all there is. An address would tell visitors apart no better:
many share one behind a proxy, and who sends a request can write another into its headers.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from merge_core.jobs.job import Job

_SIGNED_OUT = ""


def in_turn(jobs: Iterable[Job]) -> list[Job]:
    """The queued jobs, next first, as if each took as long as any other.

    It is the turn of the account whose last job was taken longest ago. With equal right accounts come before those who
    have not signed in, and otherwise the oldest job is first, as it is among the jobs of one account.

    Args:
        jobs: all jobs of the store; those that are no longer queued tell whose turn it was.
    """
    jobs = list(jobs)
    signed_in = sorted((job for job in jobs if job.account), key=lambda job: job.created)
    signed_out = sorted((job for job in jobs if not job.account), key=lambda job: job.created)
    others = [job for job in signed_out if job.state != "queued"]
    by_browser = _take_turns(signed_out, lambda job: job.owner)
    return _take_turns([*signed_in, *others, *by_browser], lambda job: job.account)


def _take_turns(jobs: Sequence[Job], whose: Callable[[Job], str]) -> list[Job]:
    """The queued jobs among `jobs`, next first; those of one who asked stay in their order."""
    queues: dict[str, list[Job]] = defaultdict(list)
    last: dict[str, float] = defaultdict(float)
    for job in jobs:
        last[whose(job)] = max(last[whose(job)], job.taken)
        if job.state == "queued":
            queues[whose(job)].append(job)
    for queue in queues.values():
        queue.reverse()

    def right(name: str, place: int, before: float) -> tuple[int, float, bool, float, str]:
        """What is smaller comes first: place of the last job in this order, or 0 and when one was taken before."""
        return place, before, name == _SIGNED_OUT, queues[name][-1].created, name

    heap = [right(name, 0, last[name]) for name in queues]
    heapq.heapify(heap)
    order: list[Job] = []
    while heap:
        name = heapq.heappop(heap)[-1]
        order.append(queues[name].pop())
        if queues[name]:
            heapq.heappush(heap, right(name, len(order), 0.0))
    return order
