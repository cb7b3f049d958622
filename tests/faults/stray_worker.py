"""A worker in which one step is not as it should be: it sleeps and listens to nobody, or has a bug.

Arguments: "deaf" or "broken", then those of `merge_core.jobs.worker`. Once it begins anew it is an ordinary worker.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from merge_core.jobs import steps, worker
from merge_core.jobs.job import Job


def deaf(job: Job, root: Path, pace: Any) -> dict[str, Any]:
    (root / "runs" / job.id).mkdir(parents=True)
    time.sleep(60)
    return {}


def broken(job: Job, root: Path, pace: Any) -> dict[str, Any]:
    raise ZeroDivisionError("what only a programmer should read")


if __name__ == "__main__":
    steps.STEPS["inspect"] = {"deaf": deaf, "broken": broken}[sys.argv.pop(1)]
    sys.exit(worker.main())
