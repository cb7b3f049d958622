"""How fast this machine merged and downloaded the last time, to say how long the next time will take."""

from __future__ import annotations

import contextlib

from merge_core.home import home
from merge_core.json_files import read_json, write_json

FILE = "pace.json"
SHORTEST = 1.0  # seconds; of less, more than the work itself is measured
DOWNLOAD = "download"


def remember(work: str, nbytes: int, seconds: float) -> None:
    """Keep the pace of finished work.

    Args:
        work: `DOWNLOAD`, or the name of a merge method.
        nbytes: how many bytes were fetched, or read by the merge.
        seconds: how long that took.
    """
    if seconds < SHORTEST or nbytes <= 0:
        return
    with contextlib.suppress(OSError):  # an estimate is no reason to fail
        write_json(home() / FILE, {**_paces(), work: nbytes / seconds})


def seconds_for(work: str, nbytes: int) -> float | None:
    """How long work will take at the pace of the last time; None where there was none.

    Args:
        work, nbytes: see `remember`.
    """
    pace = _paces().get(work)
    return nbytes / pace if pace else None


def _paces() -> dict[str, float]:
    try:
        found = read_json(home() / FILE)
    except OSError:
        return {}
    if not isinstance(found, dict):
        return {}
    return {
        str(work): float(pace) for work, pace in found.items() if isinstance(pace, (int, float)) and pace > 0
    }
