"""Memory is divided before anything is read, and never promised twice."""

from __future__ import annotations

import pytest

from merge_core.budget import LARGEST, SMALLEST, divide
from merge_core.errors import UserError


@pytest.mark.parametrize("memory", [64 << 20, 256 << 20, 1 << 30, 8 << 30])
@pytest.mark.parametrize("threads", [1, 2, 16, 128])
@pytest.mark.parametrize("rows", [2, 4, 30])
def test_what_threads_may_use_fits_the_memory(memory: int, threads: int, rows: int) -> None:
    try:
        budget = divide(memory, threads, rows)
    except UserError:
        assert memory < 64 << 21
        return
    assert 1 <= budget.threads <= threads
    assert SMALLEST <= budget.span <= LARGEST
    mapped, counted, summed = budget.span * 8, budget.bins * 4, budget.bins * 8
    assert budget.threads * (rows * (mapped + counted + summed) + budget.kept) <= memory


def test_plenty_of_memory_gives_every_thread_the_most() -> None:
    budget = divide(64 << 30, 8, 4)
    assert (budget.threads, budget.span, budget.bins) == (8, LARGEST, LARGEST)


def test_more_memory_never_gives_fewer_threads() -> None:
    given = [divide(memory << 20, 16, 6).threads for memory in range(64, 2048, 64)]
    assert given == sorted(given)
