"""How fast this machine merged and downloaded of late, to say how long the next time will take."""

from __future__ import annotations

import contextlib
import math

from merge_core.home import home
from merge_core.json_files import read_json, write_json

FILE = "pace.json"
LEAST = 256_000_000  # bytes; of less, more than the work itself is measured
KEPT = 5  # paces of each work
DOWNLOAD = "download"
STREAM = "stream"  # reading weights from the Hub and merging them


def remember(work: str, nbytes: int, seconds: float) -> None:
    """Keep the pace of finished work, unless it was too little to tell one.

    Args:
        work: `DOWNLOAD`, `STREAM`, or the name of a merge method.
        nbytes: how many bytes were fetched, or read by the merge.
        seconds: how long that took.
    """
    if nbytes < LEAST or seconds <= 0:
        return
    paces = _paces()
    with contextlib.suppress(OSError):  # an estimate is no reason to fail
        write_json(home() / FILE, {**paces, work: [*paces.get(work, []), nbytes / seconds][-KEPT:]})


def seconds_for(work: str, nbytes: int) -> float | None:
    """How long work takes at the best of its last paces; None where none is known.

    The best, because a machine that was busy with something else tells nothing about this work.

    Args:
        work, nbytes: see `remember`.
    """
    paces = _paces().get(work)
    return nbytes / max(paces) if paces else None


def _paces() -> dict[str, list[float]]:
    """Bytes per second of each work, the latest last. What cannot be read as that is passed over."""
    try:
        found = read_json(home() / FILE)
    except OSError:
        return {}
    if not isinstance(found, dict):
        return {}
    return {
        str(work): [float(pace) for pace in paces if _is_pace(pace)]
        for work, paces in found.items()
        if isinstance(paces, list)
    }


def _is_pace(value: object) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value) and value > 0
