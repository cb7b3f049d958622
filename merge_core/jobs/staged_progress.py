"""One progress out of several parts, each of which only knows its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from merge_core.jobs.job import JobProgress
from merge_core.progress import CancelCheck, Cancelled, Progress, ProgressCallback, seconds_left


@dataclass
class Pace:
    """Hands out consecutive shares of a job's progress.

    Args:
        tell: told the progress of the whole.
        cancelled: the job's wish to stop.
        shown: see `JobProgress`.
    """

    tell: Callable[[JobProgress], None]
    cancelled: CancelCheck
    begun: float = field(default=0.0)
    started: float = field(default_factory=time.monotonic)
    shown: str = ""

    def part(self, share: float, message: str, *, named: bool = False) -> ProgressCallback:
        """The next `share` (0 to 1) of the whole, as a callback for whoever does it.

        Args:
            share: of the whole.
            message: what is done, until whoever does it has words of its own.
            named: put `message` before those words too.

        Raises:
            Cancelled: the job is to stop.
        """
        if self.cancelled():
            raise Cancelled
        begin, self.begun = self.begun, min(1.0, self.begun + share)

        def report(progress: Progress) -> None:
            fraction = begin + share * progress.fraction
            eta = seconds_left(round(fraction * 1e6), 10**6, time.monotonic() - self.started)
            said = f"{message}: {progress.message}" if named and progress.message else progress.message
            self.tell(JobProgress(fraction, said or message, eta, self.shown))

        report(Progress(0, 0, ""))
        return report
