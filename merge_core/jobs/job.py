"""The record of one piece of work, and the only ways it may change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, get_args

JobKind = Literal["inspect", "merge", "probe"]
JobState = Literal["queued", "running", "done", "failed", "cancelled"]

KINDS: tuple[str, ...] = get_args(JobKind)
STATES: tuple[str, ...] = get_args(JobState)
FINAL: tuple[str, ...] = ("done", "failed", "cancelled")


@dataclass(frozen=True)
class JobProgress:
    """How far a job is.

    Args:
        fraction: share done, 0 to 1.
        message: what is being done now.
        eta: seconds left; None while unknown.
        shown: a file that can be looked at meanwhile, relative to the store's root; "" while there is none.
    """

    fraction: float = 0.0
    message: str = ""
    eta: float | None = None
    shown: str = ""


@dataclass(frozen=True)
class Job:
    """One piece of work, as it stands now. Times are seconds since the epoch.

    Args:
        id: unguessable; also the name of the job's folder.
        kind: what is done, see `merge_core.jobs.steps`.
        owner: who asked; nobody else may see the job.
        recipe: the recipe's text, "" for kinds that need none.
        options: what else the step needs, JSON values only, never a token.
        state: queued → running → done | failed | cancelled.
        result: what the step returned, paths relative to the store's root; None until done.
        error: why it failed, one sentence; None otherwise.
        attempts: how often a worker has started on it.
        cancelling: the owner asked to stop it and the worker has not yet.
        worker: the worker that holds it while running.
        lease: when that worker counts as dead unless it says otherwise, see `merge_core.jobs.lease`.
        needs: the room on the disk it was promised, see `merge_core.jobs.space`.
        taken: when a worker last took it from the queue; 0 before.
        account: the account that asked, where somebody signed in; "" elsewhere.
        files_removed: what it made was removed to make room, before the job itself is forgotten.
    """

    id: str
    kind: JobKind
    owner: str
    recipe: str
    options: Mapping[str, Any] = field(default_factory=dict)
    state: JobState = "queued"
    progress: JobProgress = JobProgress()
    result: Mapping[str, Any] | None = None
    error: str | None = None
    created: float = 0.0
    started: float | None = None
    finished: float | None = None
    attempts: int = 0
    cancelling: bool = False
    worker: str | None = None
    lease: float = 0.0
    needs: Mapping[str, Any] = field(default_factory=dict)
    taken: float = 0.0
    account: str = ""
    files_removed: bool = False

    @property
    def asker(self) -> tuple[str, str]:
        """Who asked: the account, or where nobody signed in, the browser."""
        return (self.account, "") if self.account else ("", self.owner)

    @property
    def final(self) -> bool:
        """True once nothing more will happen to it."""
        return self.state in FINAL

    def to_dict(self) -> dict[str, Any]:
        """JSON values only; `from_dict` reads it back."""
        return asdict(self)

    @staticmethod
    def from_dict(record: Mapping[str, Any]) -> Job:
        """Read what `to_dict` wrote. Fields of a later version are ignored.

        Raises:
            ValueError: the record is none of ours.
        """
        known = {f.name for f in fields(Job)}
        values = {key: value for key, value in record.items() if key in known}
        try:
            values["progress"] = JobProgress(**values.get("progress", {}))
            job = Job(**values)
        except TypeError as error:
            raise ValueError(f"not a job record: {error}") from None
        texts = (job.id, job.owner, job.recipe)
        if job.kind not in KINDS or job.state not in STATES or not all(isinstance(t, str) for t in texts):
            raise ValueError("not a job record: unknown kind or state")
        return job

    def claimed(self, worker: str, now: float, lease: float) -> Job:
        """Queued → running, held by `worker` until `lease`."""
        assert self.state == "queued"
        return replace(
            self,
            state="running",
            worker=worker,
            lease=lease,
            started=self.started or now,
            attempts=self.attempts + 1,
            progress=JobProgress(message="Starting"),
        )

    def requeued(self, *, counted: bool) -> Job:
        """Running → queued, to be continued. `counted` false: the worker gave it back, not its fault."""
        assert self.state == "running"
        attempts = self.attempts if counted else self.attempts - 1
        waiting = replace(self.progress, message="Waiting to continue", eta=None)
        return replace(self, state="queued", worker=None, lease=0.0, attempts=attempts, progress=waiting)

    def ended(
        self,
        state: JobState,
        now: float,
        *,
        result: Mapping[str, Any] | None = None,
        error: str | None = None,
    ) -> Job:
        """Queued or running → done, failed or cancelled."""
        assert not self.final
        assert state in FINAL
        progress = JobProgress(1.0, "Done") if state == "done" else replace(self.progress, eta=None)
        return replace(
            self,
            state=state,
            result=result,
            error=error,
            finished=now,
            worker=None,
            lease=0.0,
            cancelling=False,
            progress=progress,
        )

    def renewed(self) -> Job:
        """Failed or cancelled → queued, as if asked for anew; what it had finished on disk still counts."""
        assert self.state in ("failed", "cancelled")
        return replace(
            self,
            state="queued",
            error=None,
            started=None,
            finished=None,
            attempts=0,
            progress=JobProgress(),
            files_removed=False,
        )
