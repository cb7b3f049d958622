"""One worker per root, and one who makes room: file locks, which the system releases however their holder ends."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def only_worker(root: Path, wait: float = 0.0) -> Iterator[bool]:
    """Hold the worker's lock of `root` for the block; false where another process kept it for `wait` s."""
    root.mkdir(parents=True, exist_ok=True)
    handle = os.open(root / "worker.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        yield _lock(handle, time.monotonic() + wait)
    finally:
        os.close(handle)


@contextmanager
def one_at_a_time(lock: Path) -> Iterator[None]:
    """Hold the lock of that file for the block, after waiting for as long as anybody else does."""
    handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def worker_lives(root: Path) -> bool:
    """True where some process holds the worker's lock of `root`."""
    with only_worker(root) as free:
        return not free


def _lock(handle: int, until: float) -> bool:
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= until:
                return False
            time.sleep(0.05)
