"""A merge's card takes the place of an earlier one."""

from __future__ import annotations

import os
from pathlib import Path


def replace_card(folder: Path, text: str, beside: Path) -> None:
    """Replace a card at once; until then the new one lies elsewhere, and no folder of a merge holds half a file.

    Args:
        folder: of the merge.
        text: the new card.
        beside: a folder on the same disk.
    """
    partial = beside / f".README.md.{os.getpid()}"
    try:
        with partial.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(folder / "README.md")
    finally:
        partial.unlink(missing_ok=True)
