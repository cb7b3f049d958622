"""What is fetched ahead is used as far as it came."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from merge_core.errors import TryAgain, UserError
from merge_core.streaming.spool import Part, Spool

Array = np.ndarray[Any, np.dtype[Any]]


class Distant:
    """A file of which byte n is n, and of which nothing from `end` on can be had."""

    def __init__(self, end: int) -> None:
        self.end = end
        self.refused = threading.Event()

    def fetch(self, start: int, room: memoryview) -> None:
        if start >= self.end:
            self.refused.set()
            raise TryAgain("The Hub is out of reach.", "Try again later.")
        room[:] = bytes(range(start, start + room.nbytes))

    def arrived(self, start: int, data: Array) -> None:
        pass


def test_what_came_before_the_hub_was_out_of_reach_is_still_read() -> None:
    file = Distant(end=20)
    spool = Spool(1 << 20, lambda: False)
    try:
        spool.expect([Part(file, start, start + 10) for start in (0, 10, 20, 30)])
        assert file.refused.wait(20)
        while spool.fetched < 20:
            assert not threading.Event().wait(0.01)
        found = bytearray(20)
        spool.read_into(file, 0, memoryview(found))
        assert bytes(found) == bytes(range(20))
        with pytest.raises(TryAgain):
            spool.read_into(file, 20, memoryview(found))
    finally:
        spool.close()


def test_content_that_is_another_than_the_hubs_is_told_although_the_hub_went_out_of_reach_first() -> None:
    """One connection finds the Hub out of reach; another, at the same time, gets bytes that are not the listed ones."""

    class Garbled(Distant):
        def arrived(self, start: int, data: Array) -> None:
            assert self.refused.wait(20)
            raise UserError("The file has another content than the Hub lists.")

    file = Garbled(end=10)
    spool = Spool(1 << 20, lambda: False)
    try:
        spool.expect([Part(file, start, start + 10) for start in (0, 10)])
        told: UserError | None = None
        for _ in range(1000):  # until the later news is there
            threading.Event().wait(0.01)
            with pytest.raises(UserError) as raised:
                spool.read_into(file, 0, memoryview(bytearray(10)))
            told = raised.value
            if not isinstance(told, TryAgain):
                break
        assert "another content" in str(told)
    finally:
        spool.close()
