"""How far measuring is, and whether it is to stop."""

from __future__ import annotations

import time

from merge_core.progress import CancelCheck, Cancelled, Progress, ProgressCallback, seconds_left

LOOK_EVERY = 0.05  # seconds between looks at the wish to stop, which may cost a file access


class Work:
    """Counts items over all probes of a run.

    Args:
        total: items in all.
        progress: told after every batch, in items.
        cancelled: asked at most every 0.05 s.
    """

    def __init__(
        self, total: int, progress: ProgressCallback | None = None, cancelled: CancelCheck | None = None
    ) -> None:
        self._total = total
        self._progress = progress
        self._cancelled = cancelled
        self._before = 0
        self._name = ""
        self._items = 0
        self._started = time.monotonic()
        self._looked = 0.0

    def check(self) -> None:
        """Stop here if that is wished.

        Raises:
            Cancelled: it is.
        """
        now = time.monotonic()
        if self._cancelled is not None and now - self._looked >= LOOK_EVERY:
            self._looked = now
            if self._cancelled():
                raise Cancelled

    def begin(self, name: str, items: int) -> None:
        """Go on to the next probe."""
        self._before += self._items
        self._name, self._items = name, items
        self.reach(0.0)

    def reach(self, share: float) -> None:
        """Say what share of the present probe is done, 0 to 1.

        Raises:
            Cancelled: the work is to stop.
        """
        self.check()
        done = self._before + int(share * self._items)
        if self._progress is not None:
            left = seconds_left(done, self._total, time.monotonic() - self._started)
            words = f"{self._name}: {int(share * self._items)} of {self._items} items"
            self._progress(Progress(done, self._total, words, left))
