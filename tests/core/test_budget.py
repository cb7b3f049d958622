"""Memory is divided before anything is read, and never promised twice."""

from __future__ import annotations

import pytest

from merge_core.errors import UserError
from merge_core.streaming.budget import LARGEST, SMALLEST, divide
from merge_core.streaming.pieces import CHUNK


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
    assert SMALLEST <= budget.bins <= LARGEST
    read, formed, counted, summed = CHUNK * 8, CHUNK * 4, budget.bins * 4, budget.bins * 8
    assert budget.threads * rows * (read + formed + counted + summed) <= memory


def test_plenty_of_memory_gives_every_thread_the_most() -> None:
    budget = divide(64 << 30, 8, 4)
    assert (budget.threads, budget.bins) == (8, LARGEST)


def test_adapters_factor_leaves_fewer_threads_and_is_named_where_there_is_no_room() -> None:
    assert divide(1 << 30, 8, 4).threads == 8
    assert divide(1 << 30, 8, 4, factor=400 << 20).threads == 2
    with pytest.raises(UserError, match="so wide are their adapters"):
        divide(1 << 30, 8, 4, factor=1 << 30)


def test_what_is_looked_up_and_noted_besides_leaves_fewer_threads() -> None:
    assert divide(1 << 30, 8, 4, tables=200 << 20).threads == 4
    with pytest.raises(UserError, match="are too few"):
        divide(100 << 20, 8, 4, tables=100 << 20)


def test_more_memory_never_gives_fewer_threads() -> None:
    given = [divide(memory << 20, 16, 6).threads for memory in range(64, 2048, 64)]
    assert given == sorted(given)
