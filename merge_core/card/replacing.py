"""A merge's card takes the place of an earlier one."""

from __future__ import annotations

import os
from pathlib import Path

from merge_core.card.map_picture import FILE as MAP


def replace_card(folder: Path, text: str, beside: Path, picture: bytes | None = None) -> None:
    """Replace a card at once; until then the new one lies elsewhere, and no folder of a merge holds half a file.

    Args:
        folder: of the merge.
        text: the new card.
        beside: a folder on the same disk.
        picture: the conflict map that the card shows, as PNG.
    """
    if picture is not None:
        _replace(folder / MAP, picture, beside)
    _replace(folder / "README.md", text.encode(), beside)


def _replace(target: Path, content: bytes, beside: Path) -> None:
    partial = beside / f".{target.name}.{os.getpid()}"
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
