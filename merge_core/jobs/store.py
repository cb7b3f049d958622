"""Every job there is, on disk, shared by the server and the worker.

Each change of state is one transaction, so two processes never both win. The first half is for whoever asks
for work and shows it: every call names the owner. The second half is for the worker.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import diskcache

from merge_core.errors import UserError
from merge_core.home import on_space
from merge_core.jobs.disk import RefusedRow, SafeDisk
from merge_core.jobs.job import KINDS, Job, JobKind, JobProgress
from merge_core.jobs.lease import has_run_out, new_lease
from merge_core.jobs.lock import one_at_a_time
from merge_core.jobs.places import require_a_place
from merge_core.jobs.retention import KEPT, kept_for, kept_words
from merge_core.jobs.space import promised, require_room_for_all, room_wanted
from merge_core.jobs.tidying import tidy_files
from merge_core.jobs.turns import in_turn
from merge_core.prepare.needs import Needs, NoRoom, shortages
from merge_core.removal import removing

MOST_ATTEMPTS = 3
LARGEST_REQUEST = 1 << 20  # characters of recipe and options together


class LeaseLost(Exception):
    """The job is no longer this worker's: another one has it, or it is over."""


class JobStore:
    """The jobs under one root folder.

    Args:
        root: everything jobs write lies under it: `jobs/` (this store), `runs/<job id>/`, and see `tidying`.

    Raises:
        UserError: the folder cannot be made, or its database cannot be read.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root).resolve()
        folder = self.root / "jobs"
        umask = os.umask(0o077)  # jobs say what people work on: nobody else's to read
        try:
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o700)
            self._cache = diskcache.Cache(
                str(folder), disk=SafeDisk, eviction_policy="none", disk_min_file_size=1 << 30
            )
        except (OSError, sqlite3.DatabaseError) as error:
            raise _unusable(folder, error) from error
        finally:
            os.umask(umask)

    def close(self) -> None:
        """Let go of the database in this thread."""
        self._cache.close()

    def folder(self, job_id: str) -> Path:
        """Where the job's files are; made by the step that runs it."""
        assert job_id.isalnum(), "job ids are hexadecimal"
        return self.root / "runs" / job_id

    # For whoever asks for work --------------------------------------------------------------------------

    def submit(
        self,
        kind: JobKind,
        owner: str,
        recipe: str,
        options: Mapping[str, Any] | None = None,
        holder: str | None = None,
        needs: Needs | None = None,
        account: str = "",
    ) -> Job:
        """Queue a job and return it. Asked for twice while unfinished, it is the same job.

        Args:
            kind, owner, recipe, options, account: see `Job`.
            holder: who prepares the job before a worker may take it, as if it were one: it beats, and then releases it.
            needs: the room on the disk that is kept for it until it is over; None keeps none.

        Raises:
            UserError: unknown kind, too large, too many waiting already, or no room beside what they will write.
        """
        options = dict(options or {})
        if kind not in KINDS:
            raise UserError(f"Unknown kind of job {kind!r}.", f"Known: {', '.join(KINDS)}.")
        if len(recipe) + len(repr(options)) > LARGEST_REQUEST:
            raise UserError(
                f"The recipe is longer than {LARGEST_REQUEST:,} characters.", "Paste only the recipe."
            )
        job = Job(
            secrets.token_hex(12),
            kind,
            owner,
            recipe,
            options,
            created=time.time(),
            needs=promised(needs),
            account=account,
        )
        return self._queue_with_room(lambda: job, holder)

    def get(self, job_id: str, owner: str) -> Job | None:
        """The job, or None where there is none of that id or it is somebody else's."""
        with self._readable():
            job = self._read(job_id)
        return job if job is not None and job.owner == owner else None

    def list(self, owner: str | None, limit: int = 50) -> tuple[Job, ...]:
        """The owner's jobs, newest first; everybody's where no owner is named."""
        with self._readable():
            mine = [job for job in self._jobs() if owner in (None, job.owner)]
        return tuple(sorted(mine, key=lambda job: job.created, reverse=True)[:limit])

    def ahead(self, job_id: str, owner: str) -> int:
        """How many jobs of anybody come before this queued one, as things stand; 0 where it is not queued."""
        with self._readable():
            jobs = list(self._jobs())
        mine = next((j for j in jobs if j.id == job_id and j.owner == owner and j.state == "queued"), None)
        if mine is None:
            return 0
        return sum(j.state == "running" for j in jobs) + in_turn(jobs).index(mine)

    def cancel(self, job_id: str, owner: str) -> Job:
        """Stop a job: at once where it waits, within a second where it runs; one that is over stays as it is.

        Raises:
            UserError: the owner has no such job.
        """
        with removing() as removal, self._transaction():
            job = self._owned(job_id, owner)
            if job.state == "queued":
                job = job.ended("cancelled", time.time())
                removal.take(self.folder(job.id))
            elif job.state == "running":
                job = replace(job, cancelling=True)
            self._write(job)
        return job

    def retry(
        self,
        job_id: str,
        owner: str,
        holder: str | None = None,
        needs: Needs | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Job:
        """Queue a failed or cancelled job again; a failed one continues from what it had finished.

        Args:
            job_id, owner: which, and whose.
            holder: see `submit`.
            needs, options: the room that it takes now, and how it is done; None leaves them as they were.

        Raises:
            UserError: the owner has no such job, it has not failed, or see `submit`.
        """

        def renewed() -> Job:
            job = self._owned(job_id, owner)
            if job.state not in ("failed", "cancelled"):
                raise UserError(
                    f"This job is {job.state}.", "Only a failed or cancelled job can be run again."
                )
            job = job.renewed()
            job = job if needs is None else replace(job, needs=promised(needs))
            return job if options is None else replace(job, options=dict(options))

        return self._queue_with_room(renewed, holder)

    def remove(self, job_id: str, owner: str) -> None:
        """Forget a job that is over, and delete what it made.

        Raises:
            UserError: the owner has no such job, or it is not over.
        """
        with removing() as removal, self._transaction():
            job = self._owned(job_id, owner)
            if not job.final:
                raise UserError(f"This job is {job.state}.", "Cancel it, or wait until it is over.")
            del self._cache[job.id]
            removal.take(self.folder(job.id))

    def unfinished(self) -> tuple[Job, ...]:
        """Jobs of anybody that wait or run, for what must not be taken from under them."""
        with self._readable():
            return tuple(job for job in self._jobs() if not job.final)

    # For the worker -------------------------------------------------------------------------------------

    def claim(self, worker: str) -> Job | None:
        """Take the job whose turn it is, or None; first take back those whose worker is dead."""
        with removing() as removal, self._transaction():
            now = time.time()
            for orphan in [j for j in self._jobs() if j.state == "running" and has_run_out(j.lease)]:
                heir = _bereaved(orphan, now)
                self._write(heir)
                if heir.state == "cancelled":
                    removal.take(self.folder(heir.id))
            queue = in_turn(self._jobs())
            if not queue:
                return None
            job = replace(queue[0].claimed(worker, now, new_lease()), taken=now)
            self._write(job)
        return job

    def beat(self, job_id: str, worker: str, progress: JobProgress) -> bool:
        """Say that the worker lives and how far it is. True where the owner wants the job stopped.

        Raises:
            LeaseLost: the job is no longer this worker's.
        """
        with self._transaction():
            job = self._held(job_id, worker)
            self._write(replace(job, progress=progress, lease=new_lease()))
        return job.cancelling

    def finish(self, job_id: str, worker: str, result: Mapping[str, Any]) -> None:
        """Running → done. Raises LeaseLost."""
        with self._transaction():
            self._write(self._held(job_id, worker).ended("done", time.time(), result=result))

    def fail(self, job_id: str, worker: str, error: str) -> None:
        """Running → failed, with the sentence a person will read. Raises LeaseLost."""
        with self._transaction():
            self._write(self._held(job_id, worker).ended("failed", time.time(), error=error))

    def cancelled(self, job_id: str, worker: str) -> None:
        """Running → cancelled. Raises LeaseLost."""
        with self._transaction():
            self._write(self._held(job_id, worker).ended("cancelled", time.time()))

    def release(self, job_id: str, worker: str) -> None:
        """Running → queued: the worker was told to stop, which is not the job's fault. Raises LeaseLost."""
        with self._transaction():
            self._write(self._held(job_id, worker).requeued(counted=False))

    def tidy(self) -> None:
        """Remove jobs finished long ago, every folder that no job needs, and files unused for as long or too many."""
        now = time.time()
        with removing() as removal, self._transaction():
            jobs = list(self._jobs())
            for job in jobs:
                if job.final and (job.finished or 0.0) < now - kept_for():
                    del self._cache[job.id]
            left = list(self._jobs())
            kept = {job.id for job in left if job.state != "cancelled"}
            # Within: a job that is queued now may make its folder next.
            for run in _children(self.root / "runs"):
                if run.name not in kept:
                    removal.take(run)
        probes = {Path(str(path)) for job in left if not job.final for path in job.options.get("probes", ())}
        tidy_files(
            self.root, now - KEPT, {path for path in probes if path.is_relative_to(self.root / "probes")}
        )

    def _queue_with_room(self, asked: Callable[[], Job], holder: str | None) -> Job:
        """Queue what `asked` answers, on a Space after removing what nobody needs where there is no room."""
        while True:
            try:
                with self._transaction():
                    job = asked()
                    return self._queue(job, holder)
            except NoRoom:
                if not on_space() or not self._make_room(job):
                    raise

    def _queue(self, job: Job, holder: str | None) -> Job:
        """Write down a job that is to be queued, or answer the same one that waits already; see `submit`."""
        jobs = [each for each in self._jobs() if each.id != job.id]
        unfinished = [each for each in jobs if not each.final]
        for each in unfinished:
            same = (each.owner, each.kind, each.recipe, each.options, each.cancelling)
            if same == (job.owner, job.kind, job.recipe, job.options, False):
                return each
        require_a_place(job, unfinished)
        if any(job.needs.values()):
            require_room_for_all([job, *unfinished], self.root / "runs")
        if holder is not None:
            job = job.claimed(holder, time.time(), new_lease())
        self._write(job)
        return job

    def _make_room(self, job: Job) -> bool:
        """Remove what nobody needs, so that there is room for a job beside all others; false where that is in vain."""
        from merge_core.jobs.making_room import make_way, survey  # loads the Hub's client

        runs = self.root / "runs"
        with one_at_a_time(self.root / "room.lock"):  # what one deletes is not free yet as another looks
            with self._readable():
                known = survey([job, *(each for each in self._jobs() if each.id != job.id)], runs)
            with removing() as removal, self._transaction():
                jobs = [job, *(each for each in self._jobs() if each.id != job.id)]
                wanted = room_wanted([each for each in jobs if not each.final], runs)
                if not (short := shortages(wanted)):
                    return True
                for emptied in make_way(known, short, jobs, runs, removal):
                    self._write(replace(emptied, files_removed=True))
        return removal.took

    # Rows -----------------------------------------------------------------------------------------------

    def _read(self, job_id: str) -> Job | None:
        try:
            record = self._cache.get(job_id)
            job = Job.from_dict(record) if isinstance(record, dict) else None
        except (RefusedRow, ValueError):
            return None
        return job if job is not None and job.id == job_id and job_id.isalnum() else None

    def _jobs(self) -> Iterator[Job]:
        for key in self._cache.iterkeys():
            if isinstance(key, str) and (job := self._read(key)) is not None:
                yield job

    def _write(self, job: Job) -> None:
        self._cache.set(job.id, job.to_dict())

    def _owned(self, job_id: str, owner: str) -> Job:
        job = self._read(job_id)
        if job is None or job.owner != owner:
            raise UserError(
                "There is no such job of yours.",
                f"It may have been removed: jobs are kept for {kept_words()}.",
            )
        return job

    def _held(self, job_id: str, worker: str) -> Job:
        job = self._read(job_id)
        if job is None or job.state != "running" or job.worker != worker:
            raise LeaseLost(job_id)
        return job

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._readable(), self._cache.transact():
            yield

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.DatabaseError, diskcache.Timeout) as error:
            raise _unusable(self.root / "jobs", error) from error


def _bereaved(job: Job, now: float) -> Job:
    """What becomes of a running job whose worker died."""
    if job.cancelling:
        return job.ended("cancelled", now)
    if job.attempts >= MOST_ATTEMPTS:
        times = f"The job ended its worker {job.attempts} times, most likely for want of memory."
        return job.ended("failed", now, error=f"{times} Try smaller models.")
    return job.requeued(counted=True)


def _children(folder: Path) -> tuple[Path, ...]:
    return tuple(folder.iterdir()) if folder.is_dir() else ()


def _unusable(folder: Path, error: Exception) -> UserError:
    why = str(error) or "another process keeps it locked, or its disk cannot be written"
    return UserError(
        f"The job store in {folder} cannot be used: {why}.", "Move that folder away to begin a new one."
    )
