"""A repository's small files at one commit, each asked for once: a check reads what a download then keeps."""

from __future__ import annotations

import threading

from merge_core.errors import TryAgain, UserError
from merge_core.hub.listing import Listing
from merge_core.hub.session import PROMPT, Patience, Session
from merge_core.progress import CancelCheck

KEPT_BYTES = 1 << 18  # of a file that is remembered


class SmallFiles:
    """What was read of a repository in one account's name. Threads may share it.

    Args:
        session: whose view of the Hub.
        listing: the repository's files.
    """

    def __init__(self, session: Session, listing: Listing) -> None:
        self._session = session
        self._listing = listing
        self._lock = threading.Lock()
        self._asking: dict[str, threading.Lock] = {}
        self._kept: dict[str, bytes] = {}
        self._closed: set[str] = set()

    def read(self, file: str, start: int, stop: int) -> bytes:
        """Bytes `start` … `stop` − 1 of a file.

        Raises:
            UserError: the Hub does not give them.
        """
        listing = self._listing
        with self._session.explained(
            self._session.about(listing.repo_id, listing.commit, gated=listing.gated)
        ):
            return self._read(file, start, stop)

    def start(self, name: str, most: int) -> bytes | None:
        """The first bytes of a file, at most `most`; None where there is none or it cannot be read.

        What the Hub refuses is not asked for again; where it only could not answer, it may the next time.
        """
        found = self._listing.files.get(name)
        if found is None or name in self._closed:
            return None
        try:
            return self.read(name, 0, min(most, found.size))
        except TryAgain:
            return None
        except UserError:  # what the file would tell stays unknown
            self._closed.add(name)
            return None

    def whole(self, name: str, patience: Patience = PROMPT, cancelled: CancelCheck | None = None) -> bytes:
        """All of a file. Raises the client's errors."""
        return self._read(name, 0, self._listing.files[name].size, patience, cancelled)

    def _read(
        self,
        name: str,
        start: int,
        stop: int,
        patience: Patience = PROMPT,
        cancelled: CancelCheck | None = None,
    ) -> bytes:
        file = self._listing.files[name]
        if file.size > KEPT_BYTES or file.git is None:  # of weights the header will do
            return self._ask(name, start, stop, patience, cancelled)
        with self._lock:
            asking = self._asking.setdefault(name, threading.Lock())
        with asking:  # one asks for all of it, the others wait
            if name not in self._kept:
                self._kept[name] = self._ask(name, 0, file.size, patience, cancelled)
        return self._kept[name][start:stop]

    def _ask(
        self, name: str, start: int, stop: int, patience: Patience, cancelled: CancelCheck | None
    ) -> bytes:
        listing = self._listing
        return self._session.read(listing.repo_id, listing.commit, name, start, stop, patience, cancelled)
