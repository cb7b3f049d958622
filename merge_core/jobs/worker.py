"""The process that does the work: `python -m merge_core.jobs.worker --root DIR`.

It outlives the server that started it, and may be killed at any moment: the job's lease runs out, the next
worker takes the job back and continues from the parts that are finished on disk.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import logging
import math
import os
import secrets
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from merge_core.errors import UserError
from merge_core.jobs.generation import announce
from merge_core.jobs.heartbeat import Heartbeat
from merge_core.jobs.housekeeping import tidy_up
from merge_core.jobs.job import Job
from merge_core.jobs.lock import only_worker
from merge_core.jobs.steps import run_step
from merge_core.jobs.store import JobStore, LeaseLost
from merge_core.jobs.supervise import server_seen
from merge_core.progress import Cancelled

IDLE_WAIT = 0.2  # seconds between looks at an empty queue
TIDY_EVERY = 3600.0
LINGER = 300.0
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

log = logging.getLogger("merge_core.jobs")


class Terminated(BaseException):
    """The system asked this process to end."""


def work(root: Path, linger: float) -> None:
    """Do jobs until there are none and the server has been gone for `linger` seconds."""
    store = JobStore(root)
    worker = secrets.token_hex(8)
    busy, tidied = time.monotonic(), -math.inf
    while True:
        if (
            time.monotonic() - tidied > TIDY_EVERY
        ):  # between two jobs too: a busy worker may never be without one
            tidy_up(store)
            tidied = time.monotonic()
        if time.monotonic() - busy > linger and time.time() - server_seen(root) > linger:
            return
        job = store.claim(worker)
        if job is None:
            time.sleep(IDLE_WAIT)
            continue
        attend(store, job, worker)
        busy = time.monotonic()


def attend(store: JobStore, job: Job, worker: str) -> None:
    """Run one claimed job's step and record how it ended."""
    folder = store.folder(job.id)
    log.info("job %s (%s): attempt %d", job.id, job.kind, job.attempts)
    try:
        try:
            with Heartbeat(store, job, worker, force=lambda: _begin_anew(store, job, worker)) as pulse:
                result = run_step(job, store.root, pulse.report, pulse.stopped)
            store.finish(job.id, worker, result)
        except Cancelled:
            shutil.rmtree(folder, ignore_errors=True)
            store.cancelled(job.id, worker)
        except UserError as error:
            store.fail(job.id, worker, str(error))
        except OSError as error:
            if error.errno not in FULL:
                raise
            shutil.rmtree(
                folder, ignore_errors=True
            )  # what fills the disk, and what the record needs room from
            store.fail(
                job.id,
                worker,
                f"The disk that holds {folder.parent} is full. Make room and run the job again.",
            )
        except Terminated:
            store.release(job.id, worker)
            raise
    except LeaseLost:
        log.warning("job %s: taken from this worker", job.id)
    except Exception:
        log.exception("job %s", job.id)
        store.fail(
            job.id,
            worker,
            f"Something went wrong inside Tiebreak; its log has the details under job {job.id}.",
        )
    log.info("job %s: over", job.id)


def _begin_anew(store: JobStore, job: Job, worker: str) -> None:
    """Become a new worker: ends a step that does not stop when asked, whatever it is doing.

    The job counts as cancelled before that. Its folder goes when the new worker tidies up.
    """
    log.warning("job %s did not stop in time: starting over", job.id)
    with contextlib.suppress(LeaseLost, UserError):  # then the lease runs out, with the same end
        store.cancelled(job.id, worker)
    os.execv(sys.executable, [sys.executable, "-m", "merge_core.jobs.worker", *sys.argv[1:]])


def _terminate(signum: int, frame: object) -> None:
    raise Terminated


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a worker unless one runs already."""
    parser = argparse.ArgumentParser(prog="python -m merge_core.jobs.worker", description=__doc__)
    parser.add_argument("--root", type=Path, required=True, help="folder of the job store")
    parser.add_argument(
        "--linger",
        type=float,
        default=LINGER,
        help="seconds to stay without work and server (default: %(default)s)",
    )
    options = parser.parse_args(arguments)
    os.umask(0o077)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    signal.signal(signal.SIGTERM, _terminate)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is meant for the server in the same terminal
    with only_worker(options.root, wait=1.0) as ours:
        if not ours:
            log.info("another worker is at work in %s", options.root)
            return 0
        try:
            announce(options.root)
            work(options.root, options.linger)
        except Terminated:
            log.info("told to end")
    return 0


if __name__ == "__main__":
    sys.exit(main())
