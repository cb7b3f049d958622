"""Weight files, open for reading into memory that is used again and again."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from merge_core.errors import UserError

Array = np.ndarray[Any, np.dtype[Any]]

STORED_AS: dict[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<u2"),  # bit patterns: the kernels widen them
    "BF16": np.dtype("<u2"),
}


@dataclass(frozen=True)
class Stamp:
    """What the file system says of a file's content: differs after every write, even one of equal size and age."""

    device: int
    inode: int
    size: int
    modified: int
    changed: int

    @classmethod
    def of(cls, descriptor: int) -> Stamp:
        """The stamp of an open file."""
        found = os.fstat(descriptor)
        return cls(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


class WeightFile:
    """One weight file, open for reading.

    It is read and not mapped: copying into memory that stays in the cache takes less time than a map's page faults, and
    a file that is cut short meanwhile is an error where a map would end the process.

    Args:
        path: the file.
        stamp: from when its header was read.

    Raises:
        UserError: the file is gone, or was written to since.
    """

    def __init__(self, path: Path, stamp: Stamp) -> None:
        self._path = path
        self._stamp = stamp
        try:
            self._file = open(path, "rb", buffering=0)  # noqa: SIM115 - closed with this object
        except OSError as error:
            raise UserError(
                f"{path.name} can no longer be read: {error.strerror}.", "Start again once it is back."
            ) from None
        self._descriptor = self._file.fileno()
        self.require_unchanged()

    def read_into(self, room: memoryview, offset: int) -> None:
        """Fill `room`, bytes, with what lies from byte `offset` on.

        Raises:
            UserError: the file has become shorter.
        """
        count = os.preadv(self._descriptor, (room,), offset)
        while count < room.nbytes:  # rare: a signal, or more than the system reads at once
            more = os.preadv(self._descriptor, (room[count:],), offset + count)
            if not more:
                raise self._changed()
            count += more

    def entries(self, offset: int, count: int, dtype: np.dtype[Any]) -> Array:
        """`count` entries of `dtype` from byte `offset`.

        Raises:
            UserError: the file has become shorter.
        """
        found = np.empty(count, dtype)
        self.read_into(found.data.cast("B"), offset)
        return found

    def require_unchanged(self) -> None:
        """Raise a UserError if the file was written to since its header was read."""
        if Stamp.of(self._descriptor) != self._stamp:
            raise self._changed()

    def _changed(self) -> UserError:
        return UserError(
            f"{self._path.name} in {self._path.parent} changed while it was read.",
            "It is being written or downloaded. Start again once it is complete.",
        )
