"""Reads parts of files from the Hub by HTTP Range, many requests at once, and none of what is there already."""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import Protocol

from merge_core.checkpoint import Checkpoint
from merge_core.checkpoint.weight_file import STORED_AS
from merge_core.interference.sampling.design import Sampled
from merge_core.interference.sampling.sources import holders, rows_of
from merge_core.plan import MergePlan, TensorPlan
from merge_core.progress import CancelCheck, Cancelled, Progress, ProgressCallback, seconds_left

AT_ONCE = 32  # requests wait for the network, not for this machine
LONGEST_REQUEST = 4 << 20  # bytes; what is longer is asked for in parts, side by side
POLL = 0.05  # seconds

_Place = tuple[str, str]  # a checkpoint's identity, a file of it
_Asked = tuple[_Place, int, int]


class PartReader(Protocol):
    """Reads parts of a checkpoint's files; threads share it."""

    def read(self, file: str, start: int, stop: int) -> bytes:
        """Bytes start … stop − 1."""

    def close(self) -> None:
        """Nothing more is read for now."""


class Fetched:
    """Parts of files on the Hub, in memory.

    Args:
        plan: of models some of which are on the Hub alone.
        reader: of a checkpoint; asked for only once something is to be read.
    """

    def __init__(self, plan: MergePlan, reader: Callable[[Checkpoint], PartReader]) -> None:
        self._plan = plan
        self._reader = reader
        self._readers: dict[str, PartReader] = {}
        self._parts: dict[_Place, list[tuple[int, bytes]]] = defaultdict(list)

    def bytes(self, holder: Checkpoint, file: str, start: int, stop: int) -> bytes:
        """Bytes start … stop − 1 of a file, all of which were fetched."""
        parts = self._parts[holder.identity, file]
        at = bisect_right(parts, start, key=_start) - 1
        found = bytearray()
        while len(found) < stop - start:
            first, data = parts[at]
            inside = start + len(found) - first
            assert 0 <= inside < len(data), "was not fetched"
            found += data[inside : inside + stop - start - len(found)]
            at += 1
        return bytes(found)

    def fetch(
        self,
        wanted: Sequence[tuple[TensorPlan, Sampled]],
        progress: ProgressCallback | None,
        cancelled: CancelCheck | None,
    ) -> None:
        """Read what is wanted of the models that are on the Hub alone, and was not read before.

        Args:
            wanted: which entries of which tensors.

        Raises:
            UserError: the Hub does not answer.
            Cancelled: `cancelled` answered true.
        """
        by_file: list[list[_Asked]] = []
        for place, runs in self._remote_runs(wanted).items():
            missing = _in_requests(_without(_joined(runs), self._parts[place]))
            by_file.append([(place, start, stop) for start, stop in missing])
        # One part of each file first: where a file lies is asked for once, and all that want another part wait for it.
        asked = [part for parts in by_file for part in parts[:1]]
        asked += [part for parts in by_file for part in parts[1:]]
        if not asked:
            return
        for holder in holders(self._plan):
            if holder.root is None and holder.identity not in self._readers:
                self._readers[holder.identity] = self._reader(holder)
        try:
            for (place, start, _), data in _all(asked, self._readers, progress, cancelled):
                self._parts[place].append((start, data))
        finally:
            for reader in self._readers.values():
                reader.close()
            for parts in self._parts.values():
                parts.sort(key=_start)

    def _remote_runs(
        self, wanted: Iterable[tuple[TensorPlan, Sampled]]
    ) -> dict[_Place, list[tuple[int, int]]]:
        """Per checkpoint and file, the bytes that are wanted."""
        found: dict[_Place, list[tuple[int, int]]] = defaultdict(list)
        for tensor, sampled in wanted:
            runs = sampled.runs()
            for row in rows_of(self._plan, tensor):
                for holder, spec, first, last in row.needed(runs):
                    if holder.root is None:
                        size = STORED_AS[spec.dtype].itemsize
                        found[holder.identity, spec.file].append(
                            (spec.offset + first * size, spec.offset + last * size)
                        )
        return found


def _all(
    asked: Sequence[_Asked],
    readers: dict[str, PartReader],
    progress: ProgressCallback | None,
    cancelled: CancelCheck | None,
) -> list[tuple[_Asked, bytes]]:
    """Every part, in the order of arrival."""
    todo, found = list(reversed(asked)), list[tuple[_Asked, bytes]]()
    stopped, lock = threading.Event(), threading.Lock()

    def work() -> None:
        while not stopped.is_set():
            with lock:
                if not todo:
                    return
                part = todo.pop()
            (identity, file), start, stop = part
            try:
                data = readers[identity].read(file, start, stop)
            except BaseException:
                stopped.set()  # the others' parts are of no use any more
                raise
            found.append((part, data))

    total, begun = sum(stop - start for _, start, stop in asked), time.monotonic()
    threads = ThreadPoolExecutor(AT_ONCE, "sample")
    try:
        working = [threads.submit(work) for _ in range(min(AT_ONCE, len(asked)))]
        while True:
            ended, going = wait(working, POLL, FIRST_EXCEPTION)
            for each in ended:
                each.result()
            if cancelled is not None and cancelled():
                raise Cancelled
            if progress is not None:
                done = sum(len(data) for _, data in found.copy())
                eta = seconds_left(done, total, time.monotonic() - begun)
                progress(Progress(done, total, "reading a sample from the Hub", eta))
            if not going:
                return found
    finally:
        stopped.set()
        threads.shutdown()


def _joined(runs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same bytes in as few runs as may be, in order."""
    joined: list[tuple[int, int]] = []
    for start, stop in sorted(runs):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(stop, joined[-1][1]))
        elif start < stop:
            joined.append((start, stop))
    return joined


def _without(runs: list[tuple[int, int]], parts: list[tuple[int, bytes]]) -> list[tuple[int, int]]:
    """What of `runs`, in order and apart from each other, is not in `parts`, in order."""
    left: list[tuple[int, int]] = []
    there = iter(parts)
    part = next(there, None)
    for start, stop in runs:
        while part is not None and part[0] < stop:
            first, last = part[0], part[0] + len(part[1])
            if start < first:
                left.append((start, first))
            start = max(start, last)
            if last > stop:
                break
            part = next(there, None)
        if start < stop:
            left.append((start, stop))
    return left


def _in_requests(runs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    return [
        (first, min(first + LONGEST_REQUEST, stop))
        for start, stop in runs
        for first in range(start, stop, LONGEST_REQUEST)
    ]


def _start(part: tuple[int, bytes]) -> int:
    return part[0]
