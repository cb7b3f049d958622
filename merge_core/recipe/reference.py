"""How a recipe names a model: `path[@revision][+lora[@revision]]`."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

_LOOKS_LIKE_PATH = re.compile(r"^(?:[./~\\]|[A-Za-z]:[\\/])")


@dataclass(frozen=True)
class ModelRef:
    """A model named by a recipe: a folder or a Hub repository, at a revision, with an adapter or without.

    Args:
        path: local folder or Hub repository id.
        revision: branch, tag or commit on the Hub; None is the default branch.
        lora: adapter to apply, spelled `path[@revision]`.
    """

    path: str
    revision: str | None = None
    lora: str | None = None

    def __str__(self) -> str:
        return (
            self.path
            + (f"@{self.revision}" if self.revision else "")
            + (f"+{self.lora}" if self.lora else "")
        )

    @property
    def looks_like_path(self) -> bool:
        """True where the spelling can only be a folder's: `./x`, `../x`, `/x`, `~/x`, `C:\\x`."""
        return bool(_LOOKS_LIKE_PATH.match(self.path))

    @classmethod
    def parse(cls, text: str) -> ModelRef:
        """Read mergekit's spelling. Never fails: an empty part is caught by `check_recipe`.

        An existing folder is taken by its whole name. `@` in what can only be a folder's name is part of it:
        folders have no revisions.
        """
        if ("@" in text or "+" in text) and os.path.isdir(text):
            return cls(text)
        model, plus, lora = text.partition("+")
        if _LOOKS_LIKE_PATH.match(model):
            return cls(model, None, lora if plus else None)
        path, at, revision = model.partition("@")
        return cls(path, revision if at else None, lora if plus else None)
