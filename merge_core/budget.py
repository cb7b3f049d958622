"""How a merge divides the memory it may use."""

from __future__ import annotations

from dataclasses import dataclass

from merge_core.errors import UserError

LARGEST = 1 << 20  # of spans (entries) and of brackets (counters): more would not be faster
SMALLEST = 1 << 14
MOST_KEPT = 128 << 20  # bytes; a larger tensor's second sweep takes so long that mapping it anew is nothing
FIXED = 8 << 20  # bytes per thread for buffers of results
FIXED_PER_ROW = 1 << 20  # … and per model for its chunk and a method's temporary arrays


@dataclass(frozen=True)
class Budget:
    """What may be in memory at once; no number of it changes a byte of any result.

    Args:
        threads: how many work at once.
        span: entries of each model that a thread has mapped at a time.
        bins: counters that a thread keeps for each model while it ranks magnitudes.
        kept: bytes of a tensor, of all models, that a thread may leave mapped from one sweep to the next.
    """

    threads: int = 1
    span: int = LARGEST
    bins: int = LARGEST
    kept: int = 0


def divide(memory: int, threads: int, rows: int) -> Budget:
    """The fastest budget that fits.

    Args:
        memory: bytes, beyond the interpreter.
        threads: as many as there are cores for; fewer where memory is short.
        rows: models, the base included.

    Raises:
        UserError: not even the smallest fits.
    """
    for count in range(threads, 0, -1):
        size = LARGEST
        while size >= SMALLEST:
            if count * _bytes(size, rows) <= memory:
                # Half of what is left: the system maps some more than is asked for.
                return Budget(count, size, size, min(MOST_KEPT, (memory // count - _bytes(size, rows)) // 2))
            size //= 2
    least = _bytes(SMALLEST, rows)
    raise UserError(
        f"{memory / 1e6:,.0f} MB of memory are too few: {rows} models need {least / 1e6:,.0f} MB.",
        "Allow more, with --memory on the command line.",
    )


def _bytes(size: int, rows: int) -> int:
    """Of one thread: mapped entries of at most 8 bytes, counters of 4, and their sums of 8."""
    return FIXED + rows * (FIXED_PER_ROW + size * (8 + 4 + 8))
