"""Small JSON files that are whole or absent, so that their presence means that something is finished."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any


def write_json(path: Path, value: Any) -> None:
    """Write `value`, atomically and durably; folders are made as needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with partial.open("w") as file:
            json.dump(value, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def read_json(path: Path) -> Any:
    """What `write_json` wrote there; None where there is nothing, or nothing readable."""
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return None


class NotKept(OSError):
    """A value was made and could not be written, for the reason that `errno` and `strerror` tell."""

    def __init__(self, error: OSError, value: Any) -> None:
        super().__init__(error.errno, error.strerror)
        self.value = value


def once(path: Path, make: Callable[[], Any]) -> Any:
    """What lies at `path`; made and kept there the first time. Each use makes the file count as new.

    Raises:
        NotKept: it was made and cannot be kept; the exception has it.
    """
    value = read_json(path)
    if value is None:
        value = make()
        try:
            write_json(path, value)
        except OSError as error:
            raise NotKept(error, value) from None
    else:
        os.utime(path)
    return value
