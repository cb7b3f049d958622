"""Whose machine this is, and where Tiebreak keeps what it may need again."""

from __future__ import annotations

import os
from pathlib import Path


def on_space() -> bool:
    """True on a Space, where strangers share this process, its cache and its disk."""
    return bool(os.environ.get("SPACE_ID"))


def home() -> Path:
    """The folder that TIEBREAK_HOME names, else one in the user's cache."""
    return Path(os.environ.get("TIEBREAK_HOME") or "~/.cache/tiebreak").expanduser()
