"""Uploads under way. They run in threads of the web process, so that a visitor's token is never written anywhere."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from merge_core.errors import UserError
from merge_core.jobs.retention import in_use
from merge_core.progress import Cancelled, Progress

log = logging.getLogger(__name__)


class Publisher(Protocol):
    """What an upload needs of a Hub client."""

    def publish(
        self,
        folder: Path,
        repo_id: str,
        *,
        private: bool,
        pull_request: bool,
        progress: Callable[[Progress], None],
        cancelled: Callable[[], bool],
    ) -> Any:
        """Upload a folder; answers `url`, `commit` and `pull_request_url`."""


@dataclass(frozen=True)
class Push:
    """How far an upload is.

    Args:
        run: whose files.
        fraction, message: of work under way.
        url: where the result can be seen; None until done.
        error: why it failed; None otherwise.
        stopping: it was asked to stop.
        cancelled: it did, and nothing shows on the Hub; what it left there, or "". None otherwise.
    """

    run: str
    fraction: float = 0.0
    message: str = "Starting"
    url: str | None = None
    error: str | None = None
    stopping: bool = False
    cancelled: str | None = None

    @property
    def over(self) -> bool:
        """True once nothing more will happen."""
        return self.url is not None or self.error is not None or self.cancelled is not None


@dataclass
class Pushes:
    """The uploads of all visitors, by run; a run belongs to one visitor."""

    _pushes: dict[str, Push] = field(default_factory=dict)
    _stops: dict[str, threading.Event] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def get(self, run: str) -> Push | None:
        """The last upload of a run."""
        with self._lock:
            return self._pushes.get(run)

    def start(
        self, run: str, folder: Path, client: Publisher, repo_id: str, *, private: bool, pull_request: bool
    ) -> Push:
        """Begin an upload; it goes on when the page is closed.

        Raises:
            UserError: this run is being uploaded already.
        """
        with self._lock:
            earlier = self._pushes.get(run)
            if earlier is not None and not earlier.over:
                raise UserError("This run is being uploaded already.", "Wait until that is done.")
            push = self._pushes[run] = Push(run)
            self._stops[run] = threading.Event()

        def work() -> None:
            self._set(run, self._upload(run, folder, client, repo_id, private, pull_request))

        threading.Thread(target=work, name=f"push-{run}", daemon=True).start()
        return push

    def cancel(self, run: str) -> Push | None:
        """Ask an upload to stop; one that is over, or has committed by then, stays as it is."""
        with self._lock:
            push = self._pushes.get(run)
            if push is None or push.over:
                return push
            self._stops[run].set()
            push = self._pushes[run] = replace(push, stopping=True)
            return push

    def _upload(
        self, run: str, folder: Path, client: Publisher, repo_id: str, private: bool, pull_request: bool
    ) -> Push:
        stop = self._stops[run]

        def told(progress: Progress) -> None:
            self._set(run, Push(run, progress.fraction, progress.message, stopping=stop.is_set()))

        try:
            with in_use(folder):
                made = client.publish(
                    folder,
                    repo_id,
                    private=private,
                    pull_request=pull_request,
                    progress=told,
                    cancelled=stop.is_set,
                )
        except Cancelled as stopped:
            return Push(run, cancelled=str(stopped))
        except UserError as error:
            return Push(run, error=str(error))
        except Exception as error:  # noqa: BLE001 - a thread has nobody above it to tell
            # The type alone: an HTTP client's message may quote the request, and with it the token.
            log.error("upload of run %s failed: %s", run, type(error).__name__)
            return Push(run, error="The upload failed for a reason Tiebreak does not know. Try again.")
        return Push(run, 1.0, "Done", url=made.pull_request_url or made.url)

    def _set(self, run: str, push: Push) -> None:
        with self._lock:
            self._pushes[run] = replace(push)
