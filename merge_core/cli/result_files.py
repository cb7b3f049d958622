"""Files that a command is asked to write its result to."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from merge_core.errors import UserError


def expect_writable(path: Path | None) -> None:
    """Find out before the work, not after it, that its result has nowhere to go."""
    if path is not None and (path.is_dir() or not os.access(path.absolute().parent, os.W_OK)):
        raise UserError(f"{path} cannot be written.", "Name a file in a folder of yours that exists.")


def write_text(path: Path, text: str) -> None:
    """Write a whole file or none.

    Raises:
        UserError: it cannot be written.
    """
    with _writing(path):
        try:
            path.write_text(text, encoding="utf-8")
        except OSError:
            if path.is_file():  # half of a report is none
                path.unlink()
            raise


def write_document(path: Path, document: Any) -> None:
    """Write JSON, as `write_text` does."""
    from merge_core.json_files import write_json

    with _writing(path):
        write_json(path, document)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{path} cannot be written: {error.strerror}.", "Name a file in a folder of yours."
        ) from None
