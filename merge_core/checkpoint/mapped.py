"""Weight files as memory: entries are read where they lie, and given back to the system when done with."""

from __future__ import annotations

import mmap
import os
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


class MappedFile:
    """A read-only memory map of one weight file.

    Args:
        path: the file; its size must still be what its header was checked against.
        size: that size in bytes.

    Raises:
        UserError: the file is gone, or its size changed.
    """

    def __init__(self, path: Path, size: int | None = None) -> None:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise UserError(
                f"{path.name} can no longer be read: {error.strerror}.", "Start again once it is back."
            ) from None
        try:
            found = os.fstat(descriptor).st_size
            if size is not None and found < size:
                raise UserError(
                    f"{path.name} is {found} bytes long now; its header needs {size}.",
                    "It changed or is still being written. Start again once it is complete.",
                )
            self._map = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
        finally:
            os.close(descriptor)
        self._bytes = np.frombuffer(self._map, np.uint8)
        self._address = int(self._bytes.ctypes.data)

    def entries(self, offset: int, count: int, dtype: np.dtype[Any]) -> Array:
        """`count` entries of `dtype` from byte `offset`, without copying unless they lie unaligned."""
        raw = self._bytes[offset : offset + count * dtype.itemsize]
        if offset % dtype.itemsize:
            return np.frombuffer(raw.tobytes(), dtype)
        return raw.view(dtype)

    def address(self, offset: int) -> int:
        """Where byte `offset` lies in this process's memory; valid as long as this object lives."""
        return self._address + offset

    def release(self, offset: int, nbytes: int) -> None:
        """Tell the system that these bytes are not needed soon, so that they do not count as this process's memory."""
        first = -(-offset // mmap.PAGESIZE) * mmap.PAGESIZE
        last = (offset + nbytes) // mmap.PAGESIZE * mmap.PAGESIZE
        if last > first:
            self._map.madvise(mmap.MADV_DONTNEED, first, last - first)
