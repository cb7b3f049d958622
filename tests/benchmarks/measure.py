"""Runs a command and asks the operating system what it took."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median


@dataclass(frozen=True)
class Run:
    """What one run took: seconds on the clock, seconds of CPU (user and system), bytes of memory at its peak."""

    wall: float
    cpu: float
    peak: int


def run(command: Sequence[str], log: Path) -> Run:
    """Run `command` to its end, its output kept in `log`.

    Raises:
        RuntimeError: it failed.
    """
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
    with open(log, "wb") as output:
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed:\n{log.read_text(errors='replace')[-2000:]}")
    return Run(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def middle(runs: Sequence[Run]) -> Run:
    """The median of each figure."""
    return Run(median(r.wall for r in runs), median(r.cpu for r in runs), round(median(r.peak for r in runs)))
