"""Many small parts of a model's files, each by one request to where the Hub keeps them."""

from __future__ import annotations

import re
import threading

import httpx2
from huggingface_hub import get_session, hf_hub_url, hf_raise_for_status

from merge_core.errors import UserError
from merge_core.hub.content_range import is_part_of, other_part
from merge_core.hub.lines import Line
from merge_core.hub.listing import Listing
from merge_core.hub.problems import TROUBLE, root_cause, status_of
from merge_core.hub.session import ANSWER_WITHIN, PATIENT, Session, origin
from merge_core.progress import CancelCheck, Cancelled

_SIZE = re.compile(r"bytes \d+-\d+/(\d+)")
_SHA256 = re.compile(r"[0-9a-f]{64}")
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
        self._tags: dict[str, str] = {}
        self._mine = threading.local()
        self._lines: list[Line] = []

    def close(self) -> None:
        """Hang up. It may still be read from afterwards."""
        with self._lock:
            for line in self._lines:
                line.close()

    def read(self, file: str, start: int, stop: int) -> bytes:
        """Bytes `start` … `stop` − 1 of a file, and no more.

        Raises:
            UserError: the Hub does not answer, this account may not read it, parts cannot be had, or the file is not
                what the Hub listed.
            Cancelled: while waiting for a busy Hub.
        """
        if (quick := self._quickly(file, start, stop)) is not None:
            return quick
        found = bytearray(stop - start)
        self.read_into(file, start, memoryview(found))
        return bytes(found)

    def read_into(self, file: str, start: int, room: memoryview) -> None:
        """Fill `room`, bytes, with what lies from byte `start` on. Raises as `read`."""
        about = self._session.about(self._listing.repo_id, self._listing.commit, gated=self._listing.gated)
        with self._session.explained(about):
            self._session.retried(lambda: self._read(file, start, room), PATIENT, self._cancelled)

    def _read(self, file: str, start: int, room: memoryview) -> None:
        with self._lock:
            asking = self._asking.setdefault(file, threading.Lock())
        with asking:  # one asks, the others wait for what it is told
            store = self._stores.get(file)
            if store is None:
                self._stores[file] = self._get(self._hub(file), file, start, room)
                return
        try:
            self._get(store, file, start, room)
            return
        except TROUBLE as error:
            if status_of(root_cause(error)) not in _EXPIRED or store == self._hub(file):
                raise
        with asking:
            fresh = self._stores[file]  # where another has asked meanwhile
            self._stores[file] = self._get(self._hub(file) if fresh == store else fresh, file, start, room)

    def _quickly(self, file: str, start: int, stop: int) -> bytes | None:
        """A part from where the last came from; None where the Hub's client has to ask, and say what is wrong."""
        store = self._stores.get(file)
        if store is None:
            return None
        found = self._line().part(store, self._known_to(store), start, stop)
        if found is None:
            return None
        asked_for = is_part_of(found.whereof, start, stop, self._listing.files[file].size)
        return found.data if asked_for and self._tags.get(store) == found.tag else None

    def _line(self) -> Line:
        """This thread's."""
        line: Line | None = getattr(self._mine, "line", None)
        if line is None:
            line = self._mine.line = Line()
            with self._lock:
                self._lines.append(line)
        return line

    def _known_to(self, url: str) -> dict[str, str]:
        """What only the Hub itself is told: who asks."""
        return self._session.headers() if origin(url) == origin(self._session.endpoint) else {}

    def _hub(self, file: str) -> str:
        listing = self._listing
        return hf_hub_url(listing.repo_id, file, revision=listing.commit, endpoint=self._session.endpoint)

    def _get(self, url: str, file: str, start: int, room: memoryview) -> str:
        """Fill `room`; the address the bytes came from at last."""
        asked = {
            **self._known_to(url),
            "Range": f"bytes={start}-{start + room.nbytes - 1}",
            "Accept-Encoding": "identity",
        }
        filled = 0
        with get_session().stream("GET", url, headers=asked, timeout=ANSWER_WITHIN) as response:
            hf_raise_for_status(response)
            if response.status_code != 206 and start > 0:
                raise UserError(
                    f"{self._session.endpoint} sends {file} only whole, so no part of it can be read.",
                    "Read the whole models: inspect without a sample, or free room on the disk for a merge.",
                )
            self._require_same(response, file)
            self._require_part(response, file, start, start + room.nbytes)
            for chunk in response.iter_bytes():
                fitting = chunk[: room.nbytes - filled]
                room[filled : filled + len(fitting)] = fitting
                filled += len(fitting)
                if len(fitting) < len(chunk):  # else read to its end, so that the connection is used again
                    break
                if self._cancelled is not None and self._cancelled():
                    raise Cancelled
        if filled < room.nbytes:
            raise httpx2.RemoteProtocolError("fewer bytes than asked for")
        return str(response.url)

    def _require_same(self, response: httpx2.Response, file: str) -> None:
        """Refuse an answer that is not of the file that the Hub listed, as far as answers tell."""
        expected = self._listing.files[file]
        told = [
            answer.headers.get("x-linked-etag", "").strip('W/"') for answer in (*response.history, response)
        ]
        tag = response.headers.get("etag", "")
        with self._lock:
            same = self._tags.setdefault(str(response.url), tag) == tag
        other = expected.sha256 is not None and any(
            _SHA256.fullmatch(t) and t != expected.sha256 for t in told
        )
        size = _size_told(response)
        if other or not same or (size is not None and size != expected.size):
            raise UserError(
                f"{self._listing.repo_id}: {file} changed on the Hub while it was read.",
                "Open the models again, and start anew.",
            )

    def _require_part(self, response: httpx2.Response, file: str, start: int, stop: int) -> None:
        """Refuse a part that is not the one asked for, or does not say which it is."""
        said = response.headers.get("content-range", "")
        size = self._listing.files[file].size
        if response.status_code == 206 and not is_part_of(said, start, stop, size):
            raise other_part(self._session.endpoint, file)


def _size_told(response: httpx2.Response) -> int | None:
    """Bytes of the whole file; None where the answer does not tell."""
    if response.status_code == 206:
        told = _SIZE.fullmatch(response.headers.get("content-range", ""))
        return int(told[1]) if told else None
    length = response.headers.get("content-length", "")
    return int(length) if re.fullmatch(r"[0-9]+", length) else None
