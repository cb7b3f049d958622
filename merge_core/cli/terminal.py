"""How text and progress reach a terminal, and Ctrl-C a command. Names in them come from strangers' files."""

from __future__ import annotations

import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TextIO

from merge_core.progress import Progress

REDRAW_EVERY = 0.1  # seconds, on a terminal
LINE_EVERY = 10.0  # seconds, elsewhere


def plain(text: str) -> str:
    """`text` on one line without control characters, which could steer the terminal."""
    return "".join(c if c.isprintable() else "�" for c in " ".join(text.split()))


def duration(seconds: float) -> str:
    """Seconds in words: "8 s", "3 min 20 s", "2 h 05 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def took(seconds: float) -> str:
    """As `duration`, of what is over: short times to a tenth of a second."""
    return f"{seconds:.1f} s" if seconds < 9.95 else duration(seconds)


def size(count: int) -> str:
    """Bytes in words, in powers of 1000 as disks are sold."""
    value = float(count)
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"


class Meter:
    """Shows progress on stderr: one line rewritten on a terminal, a line now and then elsewhere."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._terminal = self._stream.isatty()
        self._next = 0.0 if self._terminal else time.monotonic() + LINE_EVERY
        self._drawn = False

    def __enter__(self) -> Meter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._drawn:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    def __call__(self, progress: Progress) -> None:
        """Show `progress` unless something was shown just now."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + (REDRAW_EVERY if self._terminal else LINE_EVERY)
        line = _line(progress)
        if self._terminal:
            width = shutil.get_terminal_size().columns - 1
            self._stream.write(f"\r{line[:width]}\x1b[K")
            self._drawn = True
        else:
            self._stream.write(f"{line}\n")
        self._stream.flush()


def _line(progress: Progress) -> str:
    done = f"{progress.fraction:4.0%} " if progress.total else ""
    left = f" · {duration(progress.eta)} left" if progress.eta is not None else ""
    return f"{done}{plain(progress.message)}{left}"


@contextmanager
def stop_on_interrupt() -> Iterator[Callable[[], bool]]:
    """A check that Ctrl-C turns true, so that work stops where it can tidy up; a second Ctrl-C is final."""
    stop = threading.Event()

    def interrupted(signum: int, frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = signal.signal(signal.SIGINT, interrupted)
    try:
        yield stop.is_set
    finally:
        signal.signal(signal.SIGINT, before)


def say(line: str) -> None:
    """Print a line, indented or not, whatever names are in it."""
    print(f"  {plain(line)}" if line.startswith(" ") else plain(line))


def note(sentence: str) -> None:
    """Tell something on the side, which is no part of a result."""
    print(f"note: {plain(sentence)}", file=sys.stderr)
