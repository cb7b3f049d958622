"""A weight file that stays on the Hub, read as if it were here, and checked against its hash where that can be done."""

from __future__ import annotations

import hashlib
import re
import threading
import weakref
from collections.abc import Iterable
from typing import Any

import numpy as np

from merge_core.checkpoint import Checkpoint, TensorSpec
from merge_core.errors import UserError
from merge_core.streaming.spool import Spool

Array = np.ndarray[Any, np.dtype[Any]]

LONGEST_GAP = (
    8 << 20
)  # bytes between two tensors that are read, such as the header, fetched only to be hashed

_SHA256 = re.compile(r"[0-9a-f]{64}")


class RemoteFile:
    """A weight file on the Hub, with the methods of a `WeightFile`.

    Args:
        owner: whose.
        name: the file's.
        read: those of its tensors that are read from their start to their end.
        spool: fetches what was announced to it.
    """

    def __init__(self, owner: Checkpoint, name: str, read: Iterable[TensorSpec], spool: Spool) -> None:
        assert owner.streamed is not None, f"{owner.ref} has not been downloaded"
        self._ref = owner.ref
        self._name = name
        self._streamed = owner.streamed
        self._spool = spool
        self._size = owner.streamed.sizes[name]
        sha256 = owner.contents.get(name, "")
        self._sha256 = sha256 if _SHA256.fullmatch(sha256) else None
        self._starts, self._end = _with_gaps(read)
        self._lock = threading.Lock()
        self._digest = hashlib.sha256()
        self._hashed = 0
        self._early: dict[int, weakref.ref[Array]] = {}
        self._in_order = self._sha256 is not None

    def start_of(self, spec: TensorSpec) -> int:
        """Where to begin to read a tensor so that the file is read without a gap, or else its first byte."""
        return self._starts.get(spec.offset, spec.offset)

    def fetch(self, start: int, room: memoryview) -> None:
        """Fill `room` with the bytes from `start` on, by a request.

        Raises:
            UserError: they cannot be had.
        """
        self._streamed.read_into(self._name, start, room)

    def read_into(self, room: memoryview, offset: int) -> None:
        """As `WeightFile.read_into`."""
        self._spool.read_into(self, offset, room)

    def entries(self, offset: int, count: int, dtype: np.dtype[Any]) -> Array:
        """As `WeightFile.entries`."""
        found = np.empty(count, dtype)
        self.read_into(found.data.cast("B"), offset)
        return found

    def arrived(self, start: int, data: Array) -> None:
        """Hash what was fetched, where the file is read from its start to its end.

        Args:
            start: its first byte.
            data: uint8; not changed after this.

        Raises:
            UserError: the file is not what the Hub lists.
        """
        with self._lock:
            if not self._in_order or start < self._hashed:
                return
            self._early[start] = weakref.ref(data)
            while (waiting := self._early.pop(self._hashed, None)) and (following := waiting()) is not None:
                self._digest.update(following.data)
                self._hashed += following.size
            # What was merged and let go of before its turn is not of a file that is read in its order.
            if any(waiting() is None for waiting in self._early.values()):
                self._early.clear()
                self._in_order = False
            if self._hashed == self._size and self._digest.hexdigest() != self._sha256:
                raise UserError(
                    f"{self._ref}: {self._name} arrived with another content than the Hub lists.",
                    "Try again later; if it stays so, the repository is damaged.",
                )

    def require_unchanged(self) -> None:
        """Finish the hash where only a little is missing. Answers are looked at one by one, see `hub.ranges`.

        Raises:
            UserError: the file is not what the Hub lists.
        """
        rest = self._size - self._hashed
        if self._in_order and self._hashed == self._end and 0 < rest <= LONGEST_GAP:
            data = np.empty(rest, np.uint8)
            self.fetch(self._hashed, data.data)
            self.arrived(self._hashed, data)

    @property
    def checked(self) -> bool:
        """Whether all of the file was compared with its hash."""
        return self._in_order and self._hashed == self._size


def _with_gaps(read: Iterable[TensorSpec]) -> tuple[dict[int, int], int]:
    """(a tensor's first byte → where the bytes before it begin that no tensor holds, the last tensor's end)."""
    starts: dict[int, int] = {}
    end = 0
    for spec in sorted(read, key=lambda spec: spec.offset):
        if 0 < spec.offset - end <= LONGEST_GAP:
            starts[spec.offset] = end
        end = max(end, spec.offset + spec.nbytes)
    return starts, end
