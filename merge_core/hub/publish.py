"""A folder → a repository of the Hub. Adds files; never deletes one, never replaces one that is there."""

from __future__ import annotations

import io
import os
import re
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from huggingface_hub import CommitInfo, CommitOperationAdd
from huggingface_hub.hf_api import RepoFile

from merge_core.errors import UserError
from merge_core.hub.listing import Listing, ask_files, git_id
from merge_core.hub.problems import TROUBLE, is_cut, root_cause, status_of
from merge_core.hub.session import PATIENT, Session
from merge_core.progress import CancelCheck, Cancelled, Progress, ProgressCallback, seconds_left

MESSAGE = "Upload a merge made with Tiebreak"
_NAME = re.compile(r"\w[\w.-]{0,95}/\w[\w.-]{0,95}", re.ASCII)
_REPORT_EVERY = 0.2  # seconds
_AT_ONCE = 4  # files
_READ_BACK = 10_000_000  # bytes; larger files are LFS


@dataclass(frozen=True)
class Published:
    """Where an upload is.

    Args:
        url: the repository's page.
        commit: SHA of the commit that holds the files.
        pull_request_url: the pull request's page; None for a direct upload.
    """

    url: str
    commit: str
    pull_request_url: str | None


def publish(
    session: Session,
    folder: Path,
    repo_id: str,
    *,
    private: bool,
    pull_request: bool,
    progress: ProgressCallback | None = None,
    cancelled: CancelCheck | None = None,
) -> Published:
    """Upload the plain files of a folder, and compare what arrived with what was sent.

    A repository that does not exist is made. One that does keeps every file it has: files that are there already with
    another content can only be changed by a pull request, which its owners may accept or not.

    Args:
        session: who uploads where.
        folder: its files are uploaded, except links, hidden files, and what lies in hidden folders.
        repo_id: `owner/name`.
        private: whether a repository that is made is private.
        pull_request: propose the files to an existing repository instead of committing them.
        progress: told bytes and seconds left.
        cancelled: asked all the time until the commit, before which nothing shows on the Hub.

    Raises:
        UserError: it cannot be uploaded; what had arrived is not sent again the next time.
        Cancelled: `cancelled` answered true in time; says so where an empty repository stays, for none is deleted.
    """
    files = plain_files(folder)
    if not _NAME.fullmatch(repo_id):
        raise UserError(f"{repo_id[:100]!r} is no name of a repository.", "Write owner/name.")
    if not session.signed_in:
        raise UserError(
            "Nobody is signed in to the Hub.", "Sign in with `hf auth login`, then publish again."
        )
    with session.explained(session.about(repo_id, writing=True)), ExitStack() as opened:
        there = _existing(session, repo_id)
        if there is None and pull_request:
            raise UserError(
                f"{repo_id} does not exist, so there is nothing to propose a change to.",
                "Publish without a pull request, which makes it.",
            )
        sent = _Sent(progress, cancelled, repo_id, sum(path.stat().st_size for path in files.values()))
        operations = [
            CommitOperationAdd(name, opened.enter_context(_Counted(path, partial(sent.at, name))))
            for name, path in files.items()
        ]
        if there is not None and not pull_request:
            _refuse_to_replace(there, operations, files)
        sent.begin()
        if there is None:
            session.retried(lambda: session.api.create_repo(repo_id, private=private))
        try:
            made = _commit(session, repo_id, operations, files, there, pull_request)
        except (Cancelled, *TROUBLE) as error:
            if there is None and isinstance(root_cause(error), Cancelled):
                raise Cancelled(f"{repo_id} was made, and is empty.") from None
            raise
        if made is None:
            commit, revision = ask_files(session, repo_id).commit, None
        else:
            commit, revision = made.oid, made.pr_revision
        if wrong := _differences(session, repo_id, revision or commit, operations, files):
            raise UserError(
                f"{repo_id}: {wrong[0]} did not arrive as it was sent.",
                "Publish again.",
            )
        sent.end()
    return Published(f"{session.endpoint}/{repo_id}", commit, made.pr_url if made else None)


def plain_files(folder: Path) -> dict[str, Path]:
    """The files of a folder that are published, by their path in it.

    Raises:
        UserError: there are none.
    """
    found: dict[str, Path] = {}
    for where, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(where) / name
            if not name.startswith(".") and path.is_file() and not path.is_symlink():
                found[path.relative_to(folder).as_posix()] = path
    if not found:
        raise UserError(f"{folder} holds no files to publish.", "Name the folder of a finished merge.")
    return found


def _existing(session: Session, repo_id: str) -> Listing | None:
    try:
        return ask_files(session, repo_id)
    except TROUBLE as error:
        if status_of(error) == 404:
            return None
        raise


def _refuse_to_replace(there: Listing, operations: list[CommitOperationAdd], files: dict[str, Path]) -> None:
    for operation in operations:
        held = there.files.get(operation.path_in_repo)
        if held is None:
            continue
        path = files[operation.path_in_repo]
        same = operation.upload_info.sha256.hex() == held.sha256 if held.sha256 else git_id(path) == held.git
        if not same:
            raise UserError(
                f"{there.repo_id} has a {operation.path_in_repo} already, and publishing never replaces a file.",
                "Publish as a pull request, or under a new name.",
            )


def _commit(
    session: Session,
    repo_id: str,
    operations: list[CommitOperationAdd],
    files: dict[str, Path],
    there: Listing | None,
    pull_request: bool,
) -> CommitInfo | None:
    """The commit that was made; None where all files are there, but the Hub's answer got lost."""
    try:
        return session.api.create_commit(
            repo_id,
            operations,
            commit_message=MESSAGE,
            create_pr=pull_request,
            num_threads=_AT_ONCE,
            # Should somebody commit meanwhile, the Hub refuses: what was found out about its files holds no more.
            parent_commit=there.commit if there is not None and not pull_request else None,
        )
    except TROUBLE as error:
        cause = root_cause(error)
        if pull_request or not (is_cut(cause) or (status_of(cause) or 0) >= 500):
            raise
        if _differences(session, repo_id, None, operations, files):
            raise
        return None


def _differences(
    session: Session,
    repo_id: str,
    revision: str | None,
    operations: list[CommitOperationAdd],
    files: dict[str, Path],
) -> list[str]:
    """Files that the Hub does not hold as they were sent."""
    names = [operation.path_in_repo for operation in operations]
    found = session.retried(lambda: session.api.get_paths_info(repo_id, names, revision=revision), PATIENT)
    held = {entry.path: entry for entry in found if isinstance(entry, RepoFile)}

    def arrived(operation: CommitOperationAdd) -> bool:
        name = operation.path_in_repo
        entry = held.get(name)
        if entry is None or entry.size != operation.upload_info.size:
            return False
        if entry.lfs is not None:
            return entry.lfs.sha256 == operation.upload_info.sha256.hex()
        # Not every mirror of the Hub names its blobs as git does: small files can be read back instead.
        return entry.blob_id == git_id(files[name]) or (
            entry.size <= _READ_BACK
            and session.read(repo_id, revision or "main", name, 0, entry.size) == files[name].read_bytes()
        )

    return [operation.path_in_repo for operation in operations if not arrived(operation)]


class _Counted(io.BufferedReader):
    """A file that tells how far it has been read, and stops being read when the upload is cancelled.

    The client sends open files by LFS, in any Hub. It would send paths by Xet where hf_xet is installed, as it
    downloads (see `download`), but that reads files outside Python: it tells progress to the client's own bars alone,
    and is stopped for the whole process only, other visitors' transfers included. What Xet saves, bytes that the Hub
    holds already, a merge has hardly any of: nearly each of its weights is a new number.
    """

    def __init__(self, path: Path, tell: Callable[[int], None]) -> None:
        super().__init__(io.FileIO(path), 1 << 20)
        self._told = tell

    def read(self, size: int | None = -1, /) -> bytes:
        """As of any file."""
        data = super().read(size)
        self._told(self.tell())
        return data

    def readinto(self, buffer: Any, /) -> int:
        """As of any file."""
        count = super().readinto(buffer)
        self._told(self.tell())
        return count


class _Sent:
    """Bytes read for sending, told now and then. Files are read once before, for their hashes."""

    def __init__(
        self, progress: ProgressCallback | None, cancelled: CancelCheck | None, repo_id: str, total: int
    ) -> None:
        self._progress = progress
        self._cancelled = cancelled
        self._repo_id = repo_id
        self._total = total
        self._positions: dict[str, int] = {}
        self._lock = threading.Lock()
        self._started: float | None = None
        self._next = 0.0

    def begin(self) -> None:
        """From here on, reading is sending. Raises Cancelled."""
        self._stop_if_cancelled()
        with self._lock:
            self._positions.clear()
            self._started, self._next = time.monotonic(), 0.0

    def end(self) -> None:
        """All is sent; files that the Hub had already were not read again."""
        if self._progress is not None:
            self._progress(Progress(self._total, self._total, f"Uploaded to {self._repo_id}"))

    def _stop_if_cancelled(self) -> None:
        if self._cancelled is not None and self._cancelled():
            raise Cancelled

    def at(self, name: str, position: int) -> None:
        """A file has been read up to `position`. Raises Cancelled, which ends the upload that reads it."""
        self._stop_if_cancelled()
        with self._lock:
            self._positions[name] = position
            now = time.monotonic()
            if self._progress is None or now < self._next:
                return
            self._next = now + _REPORT_EVERY
            if self._started is None:
                self._progress(Progress(0, self._total, f"Preparing the upload to {self._repo_id}"))
                return
            done = sum(self._positions.values())
            left = seconds_left(done, self._total, now - self._started)
            self._progress(Progress(done, self._total, f"Uploading to {self._repo_id}", left))
