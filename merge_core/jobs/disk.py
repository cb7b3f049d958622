"""How job records lie in diskcache's database: compressed JSON and nothing else.

diskcache 5.6.3 unpickles any row marked as pickled, even under its own JSONDisk (CVE-2025-69872), and follows
the file name that a row carries. Whoever can write one row would run code here, so this class reads neither.
"""

from __future__ import annotations

import json
import zlib
from typing import Any

from diskcache.core import MODE_RAW, JSONDisk

LARGEST_RECORD = 16 << 20


class RefusedRow(Exception):
    """A row that this program cannot have written."""


class SafeDisk(JSONDisk):  # type: ignore[misc]  # diskcache has no types
    """JSONDisk without unpickling, without files beside the database, with a bound on a record's size."""

    def get(self, key: Any, raw: Any) -> Any:
        """The JSON value of a key, or None for a key that this program cannot have written.

        diskcache calls this while it iterates: raising would hide every row behind the refused one.
        """
        try:
            return _decode(key) if raw else None
        except RefusedRow:
            return None

    def fetch(self, mode: Any, filename: Any, value: Any, read: Any) -> Any:
        """The JSON value of a row.

        Raises:
            RefusedRow: the row is pickled, lies in a file, or is no compressed JSON.
        """
        if mode != MODE_RAW or filename is not None or read:
            raise RefusedRow(f"mode {mode!r}")
        return _decode(value)


def _decode(data: Any) -> Any:
    if not isinstance(data, (bytes, memoryview)):
        raise RefusedRow(f"{type(data).__name__} instead of bytes")
    inflate = zlib.decompressobj()
    try:
        text = inflate.decompress(data, LARGEST_RECORD)
        if not inflate.eof:
            raise RefusedRow("longer than any record, or cut short")
        return json.loads(text)
    except (zlib.error, ValueError, RecursionError) as error:
        raise RefusedRow(str(error)) from None
