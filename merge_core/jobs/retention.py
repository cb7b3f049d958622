"""How long finished runs stay, and which may go earlier because others need the room.

On a machine of one's own nothing goes before its time. A Space has one disk for all its visitors and nobody who looks
after it: there a run has a day, and after its first hour makes way for a job that has no room otherwise.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from merge_core.errors import UserError
from merge_core.home import on_space
from merge_core.jobs.job import Job
from merge_core.removal import Removal

KEPT = 7 * 24 * 3600.0  # seconds
KEPT_ON_SPACE = 24 * 3600.0
AT_LEAST = 3600.0  # on a Space, whatever others need


def kept_for() -> float:
    """Seconds that a job which is over is kept, with what it made."""
    return KEPT_ON_SPACE if on_space() else KEPT


def kept_words() -> str:
    """`kept_for` in words."""
    return "a day" if on_space() else "seven days"


def kept_until(job: Job) -> float | None:
    """When a job that is over will be removed, in seconds since the epoch; None where that is no concern of anybody's.

    That is so while it is not over, where its files are gone already, and on a machine of one's own.
    """
    if not job.final or job.finished is None or job.files_removed or not on_space():
        return None
    return job.finished + KEPT_ON_SPACE


def may_make_way(jobs: Iterable[Job]) -> list[Job]:
    """The jobs whose files may be removed for others on a Space, the one finished longest ago first."""
    latest = time.time() - AT_LEAST
    over = [job for job in jobs if job.final and not job.files_removed and (job.finished or 0.0) < latest]
    return sorted(over, key=lambda job: job.finished or 0.0)


@contextmanager
def in_use(folder: Path) -> Iterator[None]:
    """Keep a run from making way while its model folder is sent. The system lets go however the process ends.

    Raises:
        UserError: it has made way.
    """
    gone = UserError("The files of this run made way for others.", "Run it again.")
    try:
        handle = _handle(folder)
    except FileNotFoundError:
        raise gone from None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH)
        if not _is_at(handle, folder):  # whoever held the lock until now has taken it away
            raise gone
        yield
    finally:
        os.close(handle)


def is_in_use(folder: Path) -> bool:
    """True where some process sends the files of `folder`."""
    with _unsent(folder) as unsent:
        return not unsent


def take_run(run: Path, removal: Removal) -> None:
    """Take a run's folder away, unless its model is being sent.

    Raises:
        UserError: it is being sent, or cannot be moved.
    """
    with _unsent(run / "model") as unsent:
        if not unsent:
            raise UserError(f"{run} is being sent.")
        if not removal.take(run):
            raise UserError(f"{run} cannot be removed.", "Make it writable.")


@contextmanager
def _unsent(folder: Path) -> Iterator[bool]:
    """False where some process sends the files of `folder`; otherwise none begins to within the block."""
    try:
        handle = _handle(folder)
    except FileNotFoundError:
        yield True
        return
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(handle)


def _handle(folder: Path) -> int:
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _is_at(handle: int, folder: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(folder))
    except FileNotFoundError:
        return False
