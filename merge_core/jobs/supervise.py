"""The server's side of the worker: one lives while the server runs, started anew whenever it dies."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType

import merge_core
from merge_core.jobs.generation import send_off_another_generation
from merge_core.jobs.lock import worker_lives

LOOK_EVERY = 1.0
LARGEST_LOG = 1 << 20

log = logging.getLogger(__name__)


class Supervisor:
    """Keeps a worker alive for the jobs under `root`, from `start()` to `stop()`; the worker outlives it.

    Args:
        root: the job store's root folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = Path(root).resolve()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="worker-supervisor", daemon=True)
        self._worker: subprocess.Popen[bytes] | None = None
        self._sent_off = False

    def start(self) -> Supervisor:
        """Begin to watch; a worker is up soon after."""
        self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop watching. The worker ends by itself once it has been idle for some minutes."""
        self._over.set()
        self._thread.join()

    def __enter__(self) -> Supervisor:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _watch(self) -> None:
        while True:
            try:
                self._look()
            except OSError:  # such as a full disk: the next look may find room
                log.exception("cannot watch over the worker in %s", self._root)
            if self._over.wait(LOOK_EVERY):
                return

    def _look(self) -> None:
        _sign_of_life(self._root).touch()
        if self._worker is None or self._worker.poll() is not None:
            if not worker_lives(self._root):
                self._worker = _start_worker(self._root)
            elif (
                not self._sent_off
            ):  # once: two servers of different programs must not end each other's for ever
                self._sent_off = send_off_another_generation(self._root)


def server_seen(root: Path) -> float:
    """When a server last watched over `root`, in seconds since the epoch; 0 where none ever did."""
    try:
        return _sign_of_life(root).stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _sign_of_life(root: Path) -> Path:
    return root / "server.alive"


def _start_worker(root: Path) -> subprocess.Popen[bytes]:
    """Start a worker in a session of its own, so that it survives the server and its terminal."""
    journal = root / "worker.log"
    if journal.exists() and journal.stat().st_size > LARGEST_LOG:
        journal.replace(root / "worker.log.1")
    command = [sys.executable, "-m", "merge_core.jobs.worker", "--root", str(root)]
    # Recipes name folders relative to the working directory, which need not be where this package lies.
    package = str(Path(merge_core.__file__).parents[1])
    path = os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH"))))
    with journal.open("ab") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": path},
        )
