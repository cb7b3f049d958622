"""Files kept under a store's root for the next time: unused ones go by age, and the oldest where there are many."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from merge_core.trimming.known import THRESHOLDS

# Reports, scores and probe files that visitors brought, all together; each use makes a file count as new.
BOUNDED = ("inspections", "scores", "probes")
MOST_BYTES = 2 << 30


def tidy_files(root: Path, horizon: float, needed: Collection[Path]) -> None:
    """Remove files last used before `horizon`, then those used longest ago until the rest fits.

    Args:
        root: the store's root.
        horizon: seconds since the epoch.
        needed: files that an unfinished job will read; they stay.
    """
    removable = [
        (status.st_mtime, status.st_size, path, folder)
        for folder in (*BOUNDED, THRESHOLDS)
        for path in (root / folder).rglob("*")
        if path not in needed and (status := _file_status(path)) is not None
    ]
    total = sum(status.st_size for path in needed if (status := _file_status(path)) is not None)
    total += sum(size for _, size, _, folder in removable if folder in BOUNDED)
    for used, size, path, folder in sorted(removable):
        excess = folder in BOUNDED and total > MOST_BYTES
        if used < horizon or excess:
            path.unlink(missing_ok=True)
            total -= size if folder in BOUNDED else 0
    for visitor in (root / "probes").glob("*/"):
        if visitor.stat().st_mtime < horizon:  # nobody is about to put a file there
            with suppress(OSError):  # not empty
                visitor.rmdir()


def _file_status(path: Path) -> os.stat_result | None:
    """None where it is no file, or gone meanwhile."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    return None if stat.S_ISDIR(found.st_mode) else found
