"""Tidying a root up: by its worker as it starts and every hour, and by the command line where there is no worker."""

from __future__ import annotations

import contextlib
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING

from merge_core.errors import UserError

if TYPE_CHECKING:
    from merge_core.jobs.store import JobStore

DAY = 24 * 3600.0

log = logging.getLogger(__name__)


def tidy_up(store: JobStore) -> None:
    """Remove what is kept too long, and what downloads of killed processes left behind."""
    from merge_core.hub.cache import remove_orphans

    store.tidy()
    with contextlib.suppress(OSError):
        removed = remove_orphans()
        if removed:
            log.info("removed %d unfinished downloads that nobody continues", removed)
    _note(store.root).touch()


def tidy_up_if_due(root: Path) -> None:
    """Tidy up where nobody has for a day. Trouble with that is no trouble of the command's that was asked for."""
    with contextlib.suppress(OSError, UserError):
        note = _note(root)
        if not note.exists():  # the first command here: it is not to wait, and the day begins
            note.touch()
        elif time.time() - note.stat().st_mtime > DAY:
            from merge_core.jobs.store import JobStore

            tidy_up(JobStore(root))


def _note(root: Path) -> Path:
    return root / "tidied"
