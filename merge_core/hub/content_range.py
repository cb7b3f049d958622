"""Whether an answer with a part of a file is of the part that was asked for."""

from __future__ import annotations

from merge_core.errors import UserError


def is_part(said: str, start: int, stop: int) -> bool:
    """Whether `said`, an answer's `Content-Range`, names bytes `start` … `stop` − 1 of a file of whatever size."""
    return said.startswith(f"bytes {start}-{stop - 1}/")


def is_part_of(said: str, start: int, stop: int, size: int) -> bool:
    """As `is_part`, of a file of `size` bytes."""
    return said == f"bytes {start}-{stop - 1}/{size}"


def other_part(endpoint: str, file: str) -> UserError:
    """What to say of an answer that is not."""
    return UserError(
        f"{endpoint} sends another part of {file} than was asked for.",
        "A proxy or a cache on the way may be at fault: try without it, or download the whole model.",
    )
