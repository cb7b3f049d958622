"""A repository's files at one commit → this machine, only those that are needed, each checked against its hash."""

from __future__ import annotations

import hashlib
import queue
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub.utils import tqdm
from huggingface_hub.utils._xet import abort_xet_session

from merge_core.checkpoint import Checkpoint, open_folder
from merge_core.checkpoint.lora import is_adapter
from merge_core.errors import UserError
from merge_core.hub import cache
from merge_core.hub.listing import Listing, RemoteFile, git_id, git_id_of
from merge_core.hub.receipts import give_receipt, note_fetch
from merge_core.hub.session import PATIENT, Session
from merge_core.hub.small_files import SmallFiles
from merge_core.progress import CancelCheck, Cancelled, Progress, ProgressCallback, seconds_left

AT_ONCE = 4  # files
POLL = 0.1  # seconds between two looks at cancel and progress
QUIET = 5.0  # seconds without a byte after which the wait is mentioned
TIDY = 0.5  # seconds for stopped threads to end
GIVE_UP = 300.0  # seconds without a byte
_HASH_READ = 1 << 20
_SHA256_DIGITS = 64
_SMALL = 1 << 20  # bytes


def download(
    session: Session,
    checkpoint: Checkpoint,
    listing: Listing,
    small: SmallFiles,
    progress: ProgressCallback | None = None,
    cancelled: CancelCheck | None = None,
) -> Checkpoint:
    """Fetch what is missing of a checkpoint into the Hugging Face cache.

    Args:
        session: who asks whom.
        checkpoint: opened from the Hub.
        listing: its repository's files at its commit.
        small: those that a check may have read already.
        progress: told bytes and seconds left.
        cancelled: asked ten times a second.

    Raises:
        UserError: the Hub does not give the files, they are not what it lists, or the disk is full.
        Cancelled: `cancelled` answered true; finished files stay and are not fetched again.
    """
    files = cache.needed_files(checkpoint, listing)
    folder = fetch_files(session, checkpoint.ref, listing, small, files, progress, cancelled)
    adapter = is_adapter(checkpoint)
    give_receipt(listing, files, adapter=adapter)
    return open_folder(folder, checkpoint.ref, listing.commit, adapter=adapter)


def fetch_files(
    session: Session,
    ref: str,
    listing: Listing,
    small: SmallFiles,
    files: Sequence[str],
    progress: ProgressCallback | None = None,
    cancelled: CancelCheck | None = None,
) -> Path:
    """Fetch those of `files` that are missing into the Hugging Face cache; the folder in which all of them lie then.

    Args:
        session, listing, small, progress, cancelled: see `download`.
        ref: the model as its recipe spells it.
        files: some of the repository's.

    Raises:
        UserError, Cancelled: see `download`.
    """
    folder = cache.snapshot(listing.repo_id, listing.commit)
    missing = [name for name in files if not cache.is_here(folder, [name], listing)]
    if missing:
        cache.remove_orphans()
        cache.require_space(cache.bytes_to_fetch(missing, listing), ref)
        note_fetch(listing.repo_id, listing.commit)
        _Transfer(session, listing, small, missing).run(ref, progress, cancelled)
    return folder


class _Transfer:
    """Files on their way, in threads of their own, so that whoever waits for them can stop at any moment."""

    def __init__(self, session: Session, listing: Listing, small: SmallFiles, files: Sequence[str]) -> None:
        self._session = session
        self._listing = listing
        self._small = small
        self._total = sum(listing.files[name].size for name in files)
        self._waiting: queue.SimpleQueue[str] = queue.SimpleQueue()
        for name in files:
            self._waiting.put(name)
        self._arrived = dict.fromkeys(files, 0)
        self._moved = time.monotonic()
        self._elsewhere = 0
        self._stop = threading.Event()
        self._failed: list[BaseException] = []
        self._over = threading.Semaphore(0)
        self._threads = min(AT_ONCE, len(files))

    def run(self, ref: str, progress: ProgressCallback | None, cancelled: CancelCheck | None) -> None:
        """Wait for all files, telling how far they are."""
        started = time.monotonic()
        threads = [
            threading.Thread(target=self._work, name="download", daemon=True) for _ in range(self._threads)
        ]
        for thread in threads:
            thread.start()
        running = len(threads)
        try:
            while running and not self._failed:
                running -= self._over.acquire(timeout=POLL)
                if cancelled is not None and cancelled():
                    raise Cancelled
                quiet = self._quiet_for()
                if quiet > GIVE_UP:
                    raise UserError(
                        f"{ref}: the Hub has sent nothing for {GIVE_UP / 60:.0f} minutes.", "Try again later."
                    )
                if progress is not None:
                    done = sum(self._arrived.values())
                    message = f"Waiting for the Hub: {ref}" if quiet > QUIET else f"Downloading {ref}"
                    left = seconds_left(done, self._total, time.monotonic() - started)
                    progress(Progress(done, self._total, message, left))
        finally:
            self._stop.set()
            if running:
                abort_xet_session()  # that transport runs outside Python, and hears of a stop only so
            deadline = time.monotonic() + TIDY
            for thread in threads:  # they remove their partial files, unless the Hub keeps them waiting
                thread.join(max(0.0, deadline - time.monotonic()))
        if self._failed:
            listing = self._listing
            about = self._session.about(listing.repo_id, listing.commit, gated=listing.gated)
            with self._session.explained(about):
                raise self._failed[0]

    def _quiet_for(self) -> float:
        """Seconds without a byte, here or in another process that fetches what is waited for."""
        if time.monotonic() - self._moved > QUIET:
            growing = cache.bytes_under_way(self._listing.repo_id)
            if growing != self._elsewhere:
                self._elsewhere, self._moved = growing, time.monotonic()
        return time.monotonic() - self._moved

    def _work(self) -> None:
        try:
            while not self._stop.is_set():
                self._fetch(self._waiting.get_nowait())
        except queue.Empty:
            pass
        except BaseException as error:  # noqa: BLE001  reported by the thread that waits
            self._failed.append(error)
        finally:
            self._over.release()

    def _fetch(self, name: str) -> None:
        expected = self._listing.files[name]
        if self._take_small(name, expected):
            return
        found: list[str] = []
        for _ in range(2):
            path = Path(self._session.retried(lambda: self._download(name), PATIENT, self._stop.is_set))
            # The client keeps a file under its ETag: on most Hubs, and those that list no contents, that is a hash too.
            told = expected.sha256 or expected.git or path.resolve().name
            found.append(_hash(path, told, self._stop.is_set))
            # Not every mirror of the Hub names small files as git does. What comes twice alike was not garbled.
            if found[-1] == told or (not expected.sha256 and found[1:] == found[:1]):
                self._arrived[name] = expected.size
                return
            cache.forget(path)
        raise UserError(
            f"{self._listing.repo_id}: {name} arrived twice with another content than the Hub lists.",
            "Try again later; if it stays so, the repository is damaged.",
        )

    def _take_small(self, name: str, expected: RemoteFile) -> bool:
        """Whether a small file could be had in one request or none; the client makes two of each."""
        if expected.git is None or expected.size > _SMALL:
            return False
        content = self._small.whole(name, PATIENT, self._stop.is_set)
        if self._stop.is_set():
            raise Cancelled
        if git_id_of(content) != expected.git:
            return False
        cache.keep(self._listing, name, content)
        self._count(name, expected.size)
        return True

    def _download(self, name: str) -> str:
        self._arrived[name] = 0
        return self._session.api.hf_hub_download(
            self._listing.repo_id,
            name,
            revision=self._listing.commit,
            tqdm_class=_counter(lambda count: self._count(name, count)),
        )

    def _count(self, name: str, count: int) -> None:
        if self._stop.is_set():
            raise Cancelled
        self._arrived[name] = max(0, self._arrived[name] + count)
        self._moved = time.monotonic()


def _hash(path: Path, told: str, stopped: CancelCheck) -> str:
    """The SHA-256 of a file where `told` is as long as one, or else its git blob id."""
    if len(told) != _SHA256_DIGITS:
        return git_id(path)
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while data := file.read(_HASH_READ):
            if stopped():
                raise Cancelled
            digest.update(data)
    return digest.hexdigest()


def _counter(count: Callable[[int], None]) -> type[tqdm]:
    """A progress bar that shows nothing and tells `count` the bytes as they come."""

    class Counter(tqdm):
        def __init__(self, *args: Any, **settings: Any) -> None:
            super().__init__(*args, **{**settings, "disable": True})  # type: ignore[no-untyped-call]

        def update(self, n: float | None = 1) -> None:
            count(int(n or 0))

        # With these two, the client's other transport counts in one bar instead of two.
        def update_transfer(self, n: float) -> None:
            """Bytes over the network; those on the disk are what is counted."""

        def set_transfer_postfix_str(self, *args: Any, **settings: Any) -> None:
            """Nothing is shown."""

    return Counter
