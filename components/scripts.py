"""A component's JavaScript: plain files beside it, put together in one scope."""

from __future__ import annotations

from functools import cache
from pathlib import Path

HERE = Path(__file__).parent


@cache
def script(*names: str) -> str:
    """The files of these names, from this folder, as one piece; what the earlier ones define, the later ones use."""
    return "\n".join((HERE / name).read_text(encoding="utf-8") for name in names)
