"""Places in the queue: how many jobs may wait, of one who asked, of those who have not signed in, and of all."""

from __future__ import annotations

from collections.abc import Collection

from merge_core.errors import UserError
from merge_core.home import on_space
from merge_core.jobs.job import Job

MOST_WAITING = 20  # unfinished jobs of one who asked
MOST_WAITING_IN_ALL = 200
MOST_WAITING_SIGNED_OUT = 100  # on a Space: one visitor can have many browsers' names


def require_a_place(job: Job, unfinished: Collection[Job]) -> None:
    """Refuse a job where too much waits already.

    Args:
        job: who wants to be queued.
        unfinished: all other jobs that wait or run.

    Raises:
        UserError: says of whom so many wait.
    """
    mine = sum(each.asker == job.asker for each in unfinished)
    if mine >= MOST_WAITING:
        raise UserError(
            f"{mine} of your jobs are waiting already.", "Cancel some, or wait for one to finish."
        )
    signed_out = sum(not each.account for each in unfinished)
    if on_space() and not job.account and signed_out >= MOST_WAITING_SIGNED_OUT:
        raise UserError(
            f"{signed_out} jobs of visitors who have not signed in are waiting already.",
            "Sign in, or try again when some have finished.",
        )
    if len(unfinished) >= MOST_WAITING_IN_ALL:
        raise UserError(
            f"{len(unfinished)} jobs of all visitors are waiting already.",
            "Try again when some have finished.",
        )
