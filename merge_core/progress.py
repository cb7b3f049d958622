"""How long work says how far it is, and how it is asked to stop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """One report of work under way.

    Args:
        done: units finished, usually bytes.
        total: units in all; 0 while unknown.
        message: what is being done now, in words for a person.
        eta: seconds left, or None while that cannot be told.
    """

    done: int
    total: int
    message: str
    eta: float | None = None

    @property
    def fraction(self) -> float:
        """Share done, 0 to 1."""
        return min(1.0, self.done / self.total) if self.total > 0 else 0.0


ProgressCallback = Callable[[Progress], None]
CancelCheck = Callable[[], bool]


class Cancelled(Exception):
    """Raised inside long work once its `CancelCheck` answers true."""


def seconds_left(done: int, total: int, elapsed: float) -> float | None:
    """Seconds left at the mean pace so far; None until there is a pace to speak of."""
    if done <= 0 or elapsed < 0.2 or total <= 0:
        return None
    return max(0.0, elapsed * (total - done) / done)
