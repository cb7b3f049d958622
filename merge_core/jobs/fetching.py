"""Downloads that a job needs, made in the name of whoever asked for it: a visitor's token never reaches the worker."""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from merge_core.errors import UserError
from merge_core.jobs.heartbeat import Heartbeat
from merge_core.jobs.job import Job, JobKind
from merge_core.jobs.staged_progress import Pace
from merge_core.jobs.store import JobStore, LeaseLost
from merge_core.prepare import fetch
from merge_core.prepare.needs import Needs
from merge_core.progress import Cancelled
from merge_core.recipe import read_recipe

if TYPE_CHECKING:
    from merge_core.hub import HubClient

log = logging.getLogger(__name__)


def submit_fetched(
    store: JobStore,
    kind: JobKind,
    owner: str,
    recipe: str,
    options: Mapping[str, Any],
    hub: HubClient,
    needs: Needs,
    account: str = "",
) -> Job:
    """A job whose models this process downloads first, in a thread; then it is queued for the worker.

    It shows its progress and can be cancelled all the while. If this process dies, the worker takes the job over, and
    says what it may not read.

    Args:
        store, kind, owner, recipe, options, needs, account: see `JobStore.submit`.
        hub: the Hub as the owner sees it.

    Raises:
        UserError: see `JobStore.submit`.
    """
    holder = _new_holder()
    return _fetched(store, store.submit(kind, owner, recipe, options, holder, needs, account), holder, hub)


def retry_fetched(store: JobStore, job: Job, hub: HubClient, needs: Needs, options: Mapping[str, Any]) -> Job:
    """A failed or cancelled job once more, as `submit_fetched` queues a new one.

    Raises:
        UserError: see `JobStore.retry`.
    """
    holder = _new_holder()
    return _fetched(store, store.retry(job.id, job.owner, holder, needs, options), holder, hub)


def _new_holder() -> str:
    return f"fetch-{secrets.token_hex(8)}"


def _fetched(store: JobStore, job: Job, holder: str, hub: HubClient) -> Job:
    if job.worker == holder:  # else the same job is under way already
        threading.Thread(
            target=_fetch, args=(store, job, holder, hub), name=f"fetch-{job.id}", daemon=True
        ).start()
    return job


def _fetch(store: JobStore, job: Job, holder: str, hub: HubClient) -> None:
    try:
        try:
            with Heartbeat(store, job, holder, force=lambda: None) as pulse:
                told = Pace(pulse.report, pulse.stopped).part(1.0, "Downloading")
                stream = bool(job.options.get("stream", False))
                fetch(read_recipe(job.recipe), hub, told, pulse.stopped, stream=stream)
            store.release(job.id, holder)
        except Cancelled:
            store.cancelled(job.id, holder)
        except UserError as error:
            store.fail(job.id, holder, str(error))
        except Exception as error:  # noqa: BLE001 - a thread has nobody above it to tell
            # The type alone: an HTTP client's message may quote the request, and with it the token.
            log.error("fetching for job %s failed: %s", job.id, type(error).__name__)
            store.fail(
                job.id, holder, f"The download failed for a reason Tiebreak does not know (job {job.id})."
            )
    except LeaseLost:
        log.warning("job %s: taken from its download", job.id)
