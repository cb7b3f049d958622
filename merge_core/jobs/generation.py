"""Which program a worker is of: its code, folder and Hub. One of an earlier program makes way for its successor."""

from __future__ import annotations

import hashlib
import json
import os
import signal
from pathlib import Path

import merge_core

_TELLING = ("HF_ENDPOINT", "HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "HF_TOKEN", "SPACE_ID")


def generation() -> str:
    """The same for two processes that would do a job alike: same code, working directory and Hub."""
    package = Path(merge_core.__file__).parent
    code = [
        (path.relative_to(package).as_posix(), path.stat().st_mtime_ns)
        for path in sorted(package.rglob("*.py"))
    ]
    told = {name: os.environ.get(name) for name in _TELLING}  # a token only goes into the digest
    text = json.dumps([str(package), code, os.getcwd(), told])
    return hashlib.sha256(text.encode()).hexdigest()


def announce(root: Path) -> None:
    """Say, as the worker of `root`, who one is."""
    partial = root / f".worker.{os.getpid()}"
    partial.write_text(json.dumps([os.getpid(), generation()]))
    partial.replace(root / "worker.json")


def send_off_another_generation(root: Path) -> bool:
    """Ask the worker of `root` to end if it is of another program: it gives its job back. True where it was asked."""
    try:
        pid, found = json.loads((root / "worker.json").read_text())
        if found == generation() or not _is_worker(int(pid)):
            return False
        os.kill(int(pid), signal.SIGTERM)
    except (OSError, ValueError, TypeError):
        return False
    return True


def _is_worker(pid: int) -> bool:
    """Whether that process is a worker at all, and not one that got its number since."""
    words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return b"merge_core.jobs.worker" in words
