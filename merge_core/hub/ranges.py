"""Many small parts of a model's files, each by one request to where the Hub keeps them."""

from __future__ import annotations

import threading

import httpx2
from huggingface_hub import get_session, hf_hub_url, hf_raise_for_status

from merge_core.errors import UserError
from merge_core.hub.listing import Listing
from merge_core.hub.problems import TROUBLE, root_cause, status_of
from merge_core.hub.session import ANSWER_WITHIN, PATIENT, Session, origin
from merge_core.progress import CancelCheck

_EXPIRED = {401, 403, 404, 410}  # what a store says to an address that was signed too long ago


class RangeReader:
    """Reads parts of one repository's files at one commit. Threads may share it.

    The Hub answers each request for a large file by sending the client on to a store, at an address that holds for a
    while. It is asked for once per file, so that a part costs one request, and the Hub is not asked thousands of times.

    Args:
        session: whose view of the Hub.
        listing: of the repository.
        cancelled: asked in pauses.
    """

    def __init__(self, session: Session, listing: Listing, cancelled: CancelCheck | None = None) -> None:
        self._session = session
        self._listing = listing
        self._cancelled = cancelled
        self._lock = threading.Lock()
        self._asking: dict[str, threading.Lock] = {}
        self._stores: dict[str, str] = {}

    def read(self, file: str, start: int, stop: int) -> bytes:
        """Bytes `start` … `stop` − 1 of a file, and no more.

        Raises:
            UserError: the Hub does not answer, this account may not read it, or parts cannot be had.
            Cancelled: while waiting for a busy Hub.
        """
        about = self._session.about(self._listing.repo_id, self._listing.commit, gated=self._listing.gated)
        with self._session.explained(about):
            return self._session.retried(lambda: self._read(file, start, stop), PATIENT, self._cancelled)

    def _read(self, file: str, start: int, stop: int) -> bytes:
        with self._lock:
            asking = self._asking.setdefault(file, threading.Lock())
        with asking:  # one asks, the others wait for what it is told
            store = self._stores.get(file)
            if store is None:
                return self._ask_hub(file, start, stop)
        try:
            return self._get(store, file, start, stop)[0]
        except TROUBLE as error:
            if status_of(root_cause(error)) not in _EXPIRED or store == self._hub(file):
                raise
        with asking:
            return self._ask_hub(file, start, stop)

    def _ask_hub(self, file: str, start: int, stop: int) -> bytes:
        found, store = self._get(self._hub(file), file, start, stop)
        self._stores[file] = store
        return found

    def _hub(self, file: str) -> str:
        listing = self._listing
        return hf_hub_url(listing.repo_id, file, revision=listing.commit, endpoint=self._session.endpoint)

    def _get(self, url: str, file: str, start: int, stop: int) -> tuple[bytes, str]:
        """The bytes, and the address they came from at last."""
        known = self._session.headers() if origin(url) == origin(self._session.endpoint) else {}
        asked = {**known, "Range": f"bytes={start}-{stop - 1}", "Accept-Encoding": "identity"}
        found = bytearray()
        with get_session().stream("GET", url, headers=asked, timeout=ANSWER_WITHIN) as response:
            hf_raise_for_status(response)
            if response.status_code != 206 and start > 0:
                raise UserError(
                    f"{self._session.endpoint} sends {file} only whole, so no part of it can be sampled.",
                    "Inspect without a sample: the model is downloaded then.",
                )
            for chunk in response.iter_bytes():
                found += chunk
                if len(found) >= stop - start:
                    break
            store = str(response.url)
        if len(found) < stop - start:
            raise httpx2.RemoteProtocolError("fewer bytes than asked for")
        return bytes(found[: stop - start]), store
