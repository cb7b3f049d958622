"""The output folder: it appears under its name only when complete, and a killed merge finds its finished pieces again.

While a merge runs, everything lies in a hidden folder beside the final one. A journal beside both names the pieces
whose bytes have reached the disk: data is synchronised first, then the journal, so that after a power loss no piece is
believed that is not there. Whoever locks the journal owns the hidden folder: no other merge writes or removes it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shutil
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np

from merge_core.errors import TryAgain, UserError
from merge_core.plan import MergePlan
from merge_core.plan.layout import Shard
from merge_core.streaming.pieces import Piece

Array = np.ndarray[Any, np.dtype[Any]]

# Written between two commits to the journal: a killed merge loses about this much work.
COMMIT_BYTES = 128 << 20
SPARE_BYTES = 16 << 20  # left free for what is written beside the weights


class OutputFolder:
    """A merge's output in the making.

    Args:
        final: where the finished folder appears. Must not exist, or be empty.
        plan: what is merged; a partial output of another plan is thrown away.
    """

    def __init__(self, final: Path, plan: MergePlan) -> None:
        self.final = final
        self.partial = final.parent / f".{final.name}.partial"
        self.journal = final.parent / f".{final.name}.journal"
        self._plan = plan
        self._lock = threading.Lock()
        self._commits: list[Future[None]] = []
        self._written: list[Piece] = []
        self._uncommitted = 0
        self.done: set[Piece] = set()

    @contextlib.contextmanager
    def open(self) -> Iterator[OutputFolder]:
        """Hold the folder; on `UserError` and cancellation nothing of it remains, on a crash its journal does.

        On `TryAgain` its journal remains as well, if there is a finished piece in it and the disk takes it.

        Raises:
            UserError: the output folder is not empty or cannot be made, another merge writes it, or the disk is full.
        """
        refuse_occupied(self.final)
        with self._held():
            self._files: list[int] = []
            # Waiting for the disk must not keep a core waiting, so a thread of its own does it.
            self._committer = ThreadPoolExecutor(1, thread_name_prefix="commit")
            try:
                refuse_occupied(self.final)  # again: the merge that held it until now may just have finished
                self._recover()
                self._files = [self._reserve(shard) for shard in self._plan.shards]
                _sync_folder(self.partial)  # or a journal could outlive the files that it speaks of
                try:
                    yield self
                finally:
                    self._committer.shutdown()
            except OSError as error:
                self._forget()
                if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                    raise
                raise _no_space(self.final, self._plan.bytes_out) from None
            except TryAgain as error:
                if not self._commit_last():
                    self._forget()
                    raise
                raise TryAgain(
                    error.message, f"{error.hint} The same merge then goes on where it stopped."
                ) from None
            except Exception:
                self._forget()
                raise
            else:
                # Last, when the folder has its name for good: a merge killed before finds all of its pieces again, and
                # one killed after leaves a hidden file that the next merge to that place overwrites.
                self._forget()
            finally:
                for descriptor in self._files:
                    os.close(descriptor)

    @contextlib.contextmanager
    def _held(self) -> Iterator[None]:
        """Make the hidden folder and hold its journal's lock."""
        busy = UserError(
            f"Another merge is writing {self.final} now.", "Wait for it, or pick another folder."
        )
        while True:
            try:
                if not self.journal.parent.exists():
                    self.journal.parent.mkdir(parents=True, exist_ok=True)
                flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
                descriptor = os.open(self.journal, flags, 0o666)
            except OSError as error:
                raise _unmakeable(self.final, error) from None
            try:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    raise busy from None
                if not _is_at(descriptor, self.journal):
                    continue  # its holder removed it while we opened it: what we locked is no longer the journal
                try:
                    self.partial.mkdir(exist_ok=True)
                except OSError as error:
                    self.journal.unlink()
                    raise _unmakeable(self.final, error) from None
                yield
                return
            finally:
                os.close(descriptor)

    def _forget(self) -> None:
        """Remove the hidden folder and the journal, in this order; only while the lock is held."""
        shutil.rmtree(self.partial, ignore_errors=True)
        self.journal.unlink(missing_ok=True)

    def write(self, shard: int, offset: int, data: Array) -> None:
        """Write bytes of a piece."""
        view = memoryview(data.data).cast("B")
        while view.nbytes:
            written = os.pwrite(self._files[shard], view, offset)
            view = view[written:]
            offset += written

    def finish(self, piece: Piece, nbytes: int) -> None:
        """Note that all of a piece is written; now and then, commit.

        Raises:
            OSError: an earlier commit failed.
        """
        with self._lock:
            self._written.append(piece)
            self._uncommitted += nbytes
            under_way = bool(self._commits) and not self._commits[-1].done()
            if self._uncommitted < COMMIT_BYTES or under_way:
                return
            earlier, self._commits = self._commits, [self._committer.submit(self._commit)]
            self._uncommitted = 0
        for commit in earlier:
            commit.result()

    def complete(self, others: Sequence[tuple[str, Path | bytes]]) -> None:
        """Add the other files (name, source or content), make everything durable, and give the folder its name."""
        self._commits.append(self._committer.submit(self._commit))
        for name, source in others:
            target = self.partial / name
            target.parent.mkdir(parents=True, exist_ok=True)
            content = source if isinstance(source, bytes) else source.read_bytes()
            _write_durably(target, content)
        for commit in self._commits:
            commit.result()
        refuse_occupied(self.final)
        _sync_folder(self.partial)
        os.rename(self.partial, self.final)  # takes the place of an empty folder, atomically
        _sync_folder(self.final.parent)

    def _recover(self) -> None:
        """Believe the journal of the same plan where the files that it speaks of are there; else start over."""
        try:
            text = self.journal.read_bytes()
            whole = text[: text.rfind(b"\n") + 1]  # what follows the last line end was cut off by a crash
            lines = whole.splitlines()
            if json.loads(lines[0]) == self._plan.fingerprint and self._files_are_there():
                self.done = {Piece(*numbers) for line in lines[1:] for numbers in json.loads(line)}
                os.truncate(self.journal, len(whole))
                return
        except (OSError, ValueError, TypeError, IndexError):
            pass
        self.done = set()
        for entry in self.partial.iterdir():
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        _write_durably(self.journal, (json.dumps(self._plan.fingerprint) + "\n").encode())

    def _files_are_there(self) -> bool:
        sizes = [(self.partial / shard.file, shard.size) for shard in self._plan.shards]
        return all(path.is_file() and path.stat().st_size == size for path, size in sizes)

    def _reserve(self, shard: Shard) -> int:
        """Open a weight file at its full size, its header written."""
        path = self.partial / shard.file
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        missing = shard.size - os.fstat(descriptor).st_size
        if missing > 0:
            if shutil.disk_usage(self.partial).free < missing + SPARE_BYTES:
                os.close(descriptor)
                raise OSError(errno.ENOSPC, "")
            # The blocks are not reserved: turning reserved ones into written ones, while a commit waits for the
            # disk, made writing ten times slower than all of the arithmetic.
            os.truncate(descriptor, shard.size)
        os.pwrite(descriptor, shard.header, 0)
        return descriptor

    def _commit(self) -> None:
        with self._lock:
            pieces, self._written = self._written, []
        if not pieces:
            return
        for shard in {self._plan.tensors[p.tensor].shard for p in pieces}:
            os.fdatasync(self._files[shard])
        line = json.dumps([[p.tensor, p.start, p.stop] for p in pieces]) + "\n"
        _write_durably(self.journal, line.encode(), "ab")

    def _commit_last(self) -> bool:
        """Commit what is finished when no more will be; false where nothing is there that could be gone on from."""
        try:
            self._commit()
            return self.journal.read_bytes().count(b"\n") >= 2
        except OSError:  # a full disk most likely, which is no news beside why the merge ends
            return False


def _write_durably(path: Path, content: bytes, mode: Literal["wb", "ab"] = "wb") -> None:
    with open(path, mode) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def refuse_occupied(folder: Path) -> None:
    """Raise a UserError unless `folder` does not exist or is empty."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise UserError(f"{folder} exists and is no folder.", "Pick another output folder.")
    if folder.exists() and any(folder.iterdir()):
        raise UserError(
            f"{folder} is not empty.", "Pick a new or an empty folder: a merge never overwrites anything."
        )


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except FileNotFoundError:
        return False


def _unmakeable(folder: Path, error: OSError) -> UserError:
    return UserError(f"{folder} cannot be made: {error.strerror}.", "Pick a folder you may write to.")


def _no_space(folder: Path, needed: int) -> UserError:
    near = next(p for p in (folder, *folder.parents) if p.exists())
    free = shutil.disk_usage(near).free
    return UserError(
        f"No space for {folder}: the merge takes {needed / 1e6:,.1f} MB and {free / 1e6:,.1f} MB are free.",
        "Free some space, pick another disk, or a smaller out_dtype.",
    )


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
