"""The thread that keeps a running job's lease while its step works, and carries the wish to stop to it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from types import TracebackType

from merge_core.errors import UserError
from merge_core.jobs.job import Job, JobProgress
from merge_core.jobs.store import JobStore, LeaseLost

BEAT = 0.3  # seconds between heartbeats: progress is this old at most, and so is a wish to stop
PATIENCE = 0.5  # seconds a step has to obey before it is ended by force

log = logging.getLogger(__name__)


class Heartbeat:
    """Beats for one job while its block runs.

    Args:
        force: called with every beat, in its thread, once a step has not stopped in time. It may end the process, or
            return where the step stops by itself in the end.
    """

    def __init__(self, store: JobStore, job: Job, worker: str, force: Callable[[], None]) -> None:
        self._store = store
        self._job = job
        self._worker = worker
        self._force = force
        self._progress = job.progress
        self._stop = threading.Event()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat_until_over, name="heartbeat", daemon=True)

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def report(self, progress: JobProgress) -> None:
        """Keep the latest progress for the next beat."""
        self._progress = progress

    def stopped(self) -> bool:
        """True once the step has to stop."""
        return self._stop.is_set()

    def _beat_until_over(self) -> None:
        asked: float | None = None
        while not self._over.wait(BEAT):
            try:
                if self._store.beat(self._job.id, self._worker, self._progress) and asked is None:
                    asked = time.monotonic()
            except LeaseLost:
                asked = asked or time.monotonic()
            except UserError:
                log.exception("heartbeat of job %s", self._job.id)
            if asked is not None:
                self._stop.set()
                if time.monotonic() - asked > PATIENCE and not self._over.is_set():
                    self._force()
