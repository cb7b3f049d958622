"""Threads that work on pieces side by side."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

from merge_core.streaming.pieces import Piece

Result = TypeVar("Result")
# Applies a function to every piece, in any order, perhaps on several threads; answers in the pieces' order.
Each = Callable[[Callable[[Piece], Result], Sequence[Piece]], list[Result]]


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Pool:
    """Threads that apply a function to pieces; the first error or a cancellation stops all of them."""

    def __init__(self, threads: int, check: Callable[[], None]) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="merge")
        self._check = check
        self.stop = threading.Event()

    def each(self, function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        """[function(item) for item in items], on all threads."""
        return [function(items[0])] if len(items) == 1 else self.watch(function, items)

    def watch(self, function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        """As `each`; the calling thread keeps checking even where there is one item alone."""
        futures: list[Future[Any]] = [self._executor.submit(function, item) for item in items]
        pending = set(futures)
        try:
            while pending:
                done, pending = wait(pending, timeout=0.1, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()
                self._check()
        except BaseException:
            self.stop.set()
            for future in pending:
                future.cancel()
            wait(pending)
            raise
        return [future.result() for future in futures]

    def close(self) -> None:
        """End the threads."""
        self._executor.shutdown()


def in_turn(function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    """[function(item) for item in items], on this thread."""
    return [function(item) for item in items]
