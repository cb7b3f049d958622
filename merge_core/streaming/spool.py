"""Parts of files on the Hub, fetched in the order of their use and ahead of it, in bounded memory.

Nothing that is read depends on it: bytes that nobody announced are fetched when they are asked for.
"""

from __future__ import annotations

import mmap
import threading
import time
from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from merge_core.errors import TryAgain
from merge_core.progress import CancelCheck, Cancelled

CONNECTIONS = 8  # requests at once
POLL = 0.1  # seconds between two looks at the wish to stop
TIDY = 0.5  # seconds for threads to end whose requests are under way

Array = np.ndarray[Any, np.dtype[Any]]


class Source(Protocol):
    """A file that is far away."""

    def fetch(self, start: int, room: memoryview) -> None:
        """Fill `room` with the bytes from `start` on; called from several threads at once."""

    def arrived(self, start: int, data: Array) -> None:
        """Look at what was fetched of it; called from several threads at once."""


@dataclass(frozen=True)
class Part:
    """Bytes start … stop − 1 of a file, fetched by one request; `sample` where they are few out of many."""

    file: Source
    start: int
    stop: int
    sample: bool = False

    @property
    def size(self) -> int:
        """How many bytes."""
        return self.stop - self.start


@dataclass
class _Slot:
    """Memory of one part, from when its request is sent until it has been read."""

    room: Array
    ready: bool = False
    wanted: bool = True


@dataclass(frozen=True)
class _Expected:
    """What is to be read.

    Args:
        readings: how often each part is.
        places: per file, its parts by where they begin.
        kept: stays after it was read.
    """

    readings: Counter[Part] = field(default_factory=Counter)
    places: dict[Source, list[Part]] = field(default_factory=dict)
    kept: frozenset[Part] = frozenset()


class Spool:
    """Fetches parts ahead of whoever reads them. Safe to use from several threads; close it in the end.

    Args:
        room: bytes that the parts here may take at once; one part more where a reader waits for it.
        cancelled: asked while a reader waits.

    Attributes:
        waited: seconds that a reader has waited by now.
    """

    def __init__(self, room: int, cancelled: CancelCheck) -> None:
        self.room = room
        self.waited = 0.0
        self._cancelled = cancelled
        self._change = threading.Condition()
        self._expected = _Expected()
        self._order: deque[Part] = deque()
        self._slots: dict[Part, _Slot] = {}
        self._urgent: set[Part] = set()
        self._taken = 0
        self._fetched = 0
        self._failure: BaseException | None = None
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, name="streaming", daemon=True) for _ in range(CONNECTIONS)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def fetched(self) -> int:
        """Bytes that came over the network so far."""
        return self._fetched

    def expect(self, parts: Sequence[Part], kept: Collection[Part] = ()) -> None:
        """Say what will be read from now on, in this order; what was said before no longer holds.

        Args:
            parts: none overlaps another. One that is named twice is read twice, each time once from its start to its
                end, and then goes.
            kept: those among them that are read as often as one likes; together no more than `room`.
        """
        places: dict[Source, list[Part]] = {}
        for part in sorted(set(parts), key=lambda part: part.start):
            places.setdefault(part.file, []).append(part)
        with self._change:
            self._expected = _Expected(Counter(parts), places, frozenset(kept))
            for part in [part for part in self._slots if part not in self._expected.readings]:
                self._let_go(part)
            self._order = deque(part for part in self._expected.readings if part not in self._slots)
            self._urgent.clear()
            self._change.notify_all()

    def read_into(self, file: Source, start: int, room: memoryview) -> None:
        """Fill `room` with a file's bytes from `start` on, waiting for them where they are still to come.

        Raises:
            UserError: they cannot be had.
            Cancelled: `cancelled` answered true.
        """
        while room.nbytes:
            part, count = self._at(file, start, room.nbytes)
            if part is None:
                file.fetch(start, room[:count])
                with self._change:
                    self._fetched += count
            else:
                slot = self._wait(part)
                room[:count] = slot.room[start - part.start : start - part.start + count].data
                if start + count == part.stop:
                    self._was_read(part)
            start, room = start + count, room[count:]

    def close(self) -> None:
        """Forget everything and end the threads, each with the request it is at; for that they have a moment."""
        with self._change:
            self._closed = True
            self._order.clear()
            self._slots.clear()
            self._change.notify_all()
        deadline = time.monotonic() + TIDY
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _at(self, file: Source, start: int, most: int) -> tuple[Part | None, int]:
        """The part that holds byte `start`, or None; and for how many bytes that holds, at most `most`."""
        with self._change:
            places = self._expected.places.get(file, [])
            following = bisect_right(places, start, key=lambda part: part.start)
            if following and start < places[following - 1].stop:
                part = places[following - 1]
                return part, min(most, part.stop - start)
            end = places[following].start if following < len(places) else start + most
            return None, min(most, end - start)

    def _wait(self, part: Part) -> _Slot:
        """A part's memory once its bytes are there."""
        begun = time.monotonic()
        with self._change:
            while True:
                if self._cancelled():
                    raise Cancelled
                slot = self._slots.get(part)
                if (
                    slot is not None and slot.ready
                ):  # even after a failure: what is here is work for the next run less
                    self.waited = 0.0
                    return slot
                if self._failure is not None:
                    raise self._failure
                if slot is None:
                    self._bring_forward(part)
                self._change.wait(POLL)
                self.waited = time.monotonic() - begun

    def _bring_forward(self, part: Part) -> None:
        """Have a part fetched next, whether or not there is room: somebody waits for it."""
        if part not in self._urgent:
            self._urgent.add(part)
            if part in self._order:
                self._order.remove(part)
            self._order.appendleft(part)
            self._change.notify_all()

    def _was_read(self, part: Part) -> None:
        with self._change:
            if part in self._expected.kept or part not in self._slots:
                return
            self._expected.readings[part] -= 1
            if self._expected.readings[part] <= 0:
                self._expected.places[part.file].remove(part)
                self._let_go(part)
                self._change.notify_all()

    def _let_go(self, part: Part) -> None:
        slot = self._slots.pop(part)
        if slot.ready:
            self._taken -= part.size
        slot.wanted = False  # where its request is under way, whoever sent it frees the memory

    def _work(self) -> None:
        while (found := self._next()) is not None:
            part, slot = found
            try:
                part.file.fetch(part.start, slot.room.data)
                if not part.sample:
                    part.file.arrived(part.start, slot.room)
            except BaseException as error:  # noqa: BLE001  raised again by whoever reads
                with self._change:
                    if self._failure is None or isinstance(self._failure, TryAgain):
                        self._failure = error  # what trying again does not mend is the graver news
                    self._change.notify_all()
                return
            with self._change:
                slot.ready = True
                self._fetched += part.size
                if not slot.wanted:
                    self._taken -= part.size
                self._change.notify_all()

    def _next(self) -> tuple[Part, _Slot] | None:
        """The next part to fetch, once there is room for it; None where there will be no more."""
        with self._change:
            while not self._closed:
                if self._order:
                    part = self._order[0]
                    if part in self._urgent or self._taken + part.size <= self.room:
                        self._order.popleft()
                        self._urgent.discard(part)
                        self._taken += part.size
                        slot = self._slots[part] = _Slot(_room(part.size))
                        return part, slot
                self._change.wait()
        return None


def _room(size: int) -> Array:
    """Memory of its own, uint8: what is freed goes back to the system, where an allocator would keep it in pieces."""
    return np.frombuffer(mmap.mmap(-1, max(size, 1)), np.uint8)[:size]
