"""How a merge divides the memory it may use."""

from __future__ import annotations

from dataclasses import dataclass

from merge_core.errors import UserError

MEMORY = 1 << 30  # bytes that work may use unless it is told otherwise
LARGEST = 1 << 20  # counters: more would not be faster
SMALLEST = 1 << 14
FIXED = 8 << 20  # bytes per thread for buffers of results
# … and per model for its chunk, stored and formed, for a sample, and for a method's temporary arrays
FIXED_PER_ROW = 3 << 20


@dataclass(frozen=True)
class Budget:
    """What may be in memory at once; no number of it changes a byte of any result.

    Args:
        threads: how many work at once.
        bins: counters that a thread keeps for each model while it ranks magnitudes.
    """

    threads: int = 1
    bins: int = LARGEST


def divide(memory: int, threads: int, rows: int, factor: int = 0, tables: int = 0) -> Budget:
    """The fastest budget that fits.

    Args:
        memory: bytes, beyond the interpreter.
        threads: as many as there are cores for; fewer where memory is short.
        rows: models, the base included.
        factor: bytes that a thread takes for the largest factor of an adapter, see `checkpoint.low_rank.factor_bytes`.
        tables: bytes that a thread takes for other tables, where the work ranks nothing; 0 where it does.

    Raises:
        UserError: not even the smallest fits.
    """
    for count in range(threads, 0, -1):
        size = LARGEST
        while size >= SMALLEST:
            if count * (_bytes(size, rows, tables) + factor) <= memory:
                return Budget(count, size)
            size //= 2
    least = _bytes(SMALLEST, rows, tables) + factor
    wide = ", so wide are their adapters" if factor > least // 2 else ""
    raise UserError(
        f"{memory / 1e6:,.0f} MB of memory are too few: {rows} models need {least / 1e6:,.0f} MB{wide}.",
        "Allow more, with --memory on the command line.",
    )


def left_of(memory: int, budget: Budget, rows: int, factor: int = 0, tables: int = 0) -> int:
    """Bytes of `memory` that `budget` leaves for something else; see `divide`."""
    return memory - budget.threads * (_bytes(budget.bins, rows, tables) + factor)


def _bytes(bins: int, rows: int, tables: int) -> int:
    """Of one thread: tables, or counters of 4 bytes and their sums of 8."""
    return FIXED + rows * FIXED_PER_ROW + (tables or rows * bins * (4 + 8))
