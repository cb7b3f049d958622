"""Removing folders: each loses its name at once, so that nobody finds half of one, and is deleted in good time."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ASIDE = ".removed-"  # and a random part: what a killed process left under such a name, anybody may delete


class Removal:
    """Folders that are out of everybody's way and not deleted yet."""

    def __init__(self) -> None:
        self._aside: list[Path] = []

    def take(self, folder: Path) -> bool:
        """Take a folder away from its place; false where there is none, or it cannot be moved."""
        if folder.is_symlink():  # what it leads to is somebody else's
            return False
        aside = folder.with_name(f"{ASIDE}{secrets.token_hex(8)}")
        try:
            os.rename(folder, aside)
        except OSError:
            return False
        self._aside.append(aside)
        return True

    def delete(self) -> None:
        """Delete what was taken, as far as that is possible; this may take long."""
        for aside in self._aside:
            shutil.rmtree(aside, ignore_errors=True)

    @property
    def took(self) -> bool:
        """True once anything was taken."""
        return bool(self._aside)

    @property
    def left(self) -> list[Path]:
        """What was taken and is still there."""
        return [aside for aside in self._aside if aside.exists()]


@contextmanager
def removing() -> Iterator[Removal]:
    """Folders taken within the block are deleted after it.

    Where others wait for a lock, enter it after this: `with removing() as removal, lock:` lets go of it before.
    """
    removal = Removal()
    try:
        yield removal
    finally:
        removal.delete()


def delete_left(parent: Path) -> None:
    """Delete what killed processes took away within `parent` and did not delete."""
    for aside in parent.glob(f"{ASIDE}*"):
        shutil.rmtree(aside, ignore_errors=True)
