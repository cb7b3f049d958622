"""How long who works on a job may be silent before somebody else takes it over.

Leases are told by the clock that counts since the machine started. All its processes share that clock, and nobody sets
it: were the time of day set five seconds ahead, a download in a visitor's name would count as dead, and go to a worker
that may not read the visitor's models.
"""

from __future__ import annotations

import time

LEASE = 5.0  # seconds without a heartbeat


def new_lease() -> float:
    """When who takes a job or beats for it now will count as dead."""
    return time.monotonic() + LEASE


def has_run_out(lease: float) -> bool:
    """True for a lease that is over, or further ahead than any can be: the machine has been started anew since."""
    return not 0.0 <= lease - time.monotonic() <= LEASE
