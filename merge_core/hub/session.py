"""How Tiebreak talks to a Hub: whose token, which address, how long to wait, how often to try again."""

from __future__ import annotations

import hashlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from logging import CRITICAL, WARNING, getLogger
from typing import Any, TypeVar
from urllib.parse import urlsplit
from warnings import filterwarnings

import httpx2
from huggingface_hub import (
    HfApi,
    constants,
    get_session,
    get_token,
    hf_hub_url,
    hf_raise_for_status,
    set_client_factory,
)
from huggingface_hub.utils import build_hf_headers, disable_progress_bars, logging
from huggingface_hub.utils._http import default_client_factory

from merge_core import __version__
from merge_core.errors import UserError
from merge_core.home import on_space
from merge_core.hub.content_range import is_part, other_part
from merge_core.hub.problems import TROUBLE, About, asked_wait, explain, is_cut, root_cause, status_of
from merge_core.progress import CancelCheck, Cancelled

T = TypeVar("T")

ANSWER_WITHIN = 20.0  # seconds, for what a person waits for
_WAITS = {"read": 120.0, "write": 120.0, "pool": 120.0}  # seconds, where the client sets none
_CONNECT = 5.0  # seconds
_TRANSIENT = {408, 429, 500, 502, 503, 504}
FIRST_WAIT = 0.5  # seconds before the second attempt; doubles from there
_POLL = 0.1
_LIBRARY = "tiebreak"


@dataclass(frozen=True)
class Patience:
    """How long to bear with a Hub in trouble.

    Args:
        attempts: how often to ask in all.
        longest_wait: seconds between two attempts; a Hub that asks for more gets its error shown.
        within: seconds after which no further attempt is begun.
    """

    attempts: int
    longest_wait: float
    within: float


PROMPT = Patience(3, 5.0, 10.0)  # somebody looks at the page
PATIENT = Patience(6, 90.0, 900.0)  # a background transfer


def _never_wait_forever(request: httpx2.Request) -> None:
    """The client sets no time limit on many of its calls: a silent server would hold them forever."""
    limits = request.extensions.get("timeout") or {}
    given = {key: value for key, value in limits.items() if value is not None}
    request.extensions = {**request.extensions, "timeout": {**_WAITS, **given, "connect": _CONNECT}}


@contextmanager
def in_form() -> Iterator[None]:
    """For taking an answer apart, which the client does without looking whether it has the form that a Hub gives it.

    Raises:
        ValueError: it has another.
    """
    try:
        yield
    except (TypeError, AttributeError, LookupError) as error:
        raise ValueError(f"an answer of another form: {type(error).__name__}") from None


def origin(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port: a token is for its Hub's own, and for no other."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or {"http": 80, "https": 443}.get(parts.scheme)


_hubs: set[tuple[str, str, int | None]] = set()


def _keep_token_to_the_hub(request: httpx2.Request) -> None:
    """The client also sends it where the Hub tells it to, such as for the check of an upload; redirects are httpx's."""
    if origin(str(request.url)) not in _hubs:
        request.headers.pop("authorization", None)


def _http_client() -> httpx2.Client:
    client = default_client_factory()
    hooks = client.event_hooks
    ours = [_never_wait_forever, _keep_token_to_the_hub]
    client.event_hooks = {**hooks, "request": [*hooks.get("request", []), *ours]}
    return client


# The client's own settings, once for the process: nothing about the user is sent, nothing is printed or logged (its
# warnings and its transport's log quote signed addresses, which open a private file to whoever reads them), and a
# download's bytes are counted in steps small enough to see and to stop.
constants.HF_HUB_DISABLE_TELEMETRY = True
constants.DOWNLOAD_CHUNK_SIZE = 256 << 10
logging.set_verbosity(CRITICAL)
getLogger("httpx2").setLevel(WARNING)
disable_progress_bars()
filterwarnings("ignore", "Warnings while validating metadata")  # a card may have none
set_client_factory(_http_client)


class Session:
    """A token and an address, with the client that uses them. The token is never shown.

    Args:
        token: None takes the one that this machine is signed in with, if it is; on a Space, none.
        endpoint: None takes HF_ENDPOINT, else the Hugging Face Hub.
    """

    def __init__(self, token: str | None, endpoint: str | None) -> None:
        self.endpoint = (endpoint or constants.ENDPOINT).rstrip("/")
        _hubs.add(origin(self.endpoint))
        # A Space's own token is its owner's: a visitor who brings none must not see the owner's private models.
        self._token = token or (None if on_space() else get_token())
        self.api = HfApi(
            endpoint=self.endpoint,
            token=self._token or False,
            library_name=_LIBRARY,
            library_version=__version__,
        )

    def __repr__(self) -> str:
        return f"Session({self.endpoint!r}, {'signed in' if self.signed_in else 'not signed in'})"

    @property
    def signed_in(self) -> bool:
        """True where a token is sent."""
        return self._token is not None

    @property
    def reader(self) -> str:
        """Differs between accounts, for what may be kept for one of them only; does not give the token away."""
        return hashlib.sha256(f"{self.endpoint}\n{self._token or ''}".encode()).hexdigest()

    def about(
        self, repo_id: str = "", revision: str | None = None, *, writing: bool = False, gated: bool = False
    ) -> About:
        """For `explained`: what a call concerns."""
        return About(self.endpoint, repo_id, revision, self.signed_in, writing, gated)

    @contextmanager
    def explained(self, about: About) -> Iterator[None]:
        """Turn what the client raises into a `UserError`.

        Raises:
            UserError: something outside this program went wrong.
            Cancelled: as it came, even through the client's own errors.
        """
        try:
            yield
        except (UserError, Cancelled):
            raise
        except TROUBLE as error:
            cause = root_cause(error)
            if isinstance(cause, Cancelled):
                raise Cancelled from None
            raise explain(error, about, self._token) from None

    def retried(
        self, call: Callable[[], T], patience: Patience = PROMPT, cancelled: CancelCheck | None = None
    ) -> T:
        """The call's answer, asked for again with growing pauses while the Hub is busy or the connection breaks.

        Raises:
            Cancelled: `cancelled` answered true in a pause.
        """
        begun = time.monotonic()
        for attempt in range(1, patience.attempts + 1):
            try:
                with in_form():
                    return call()
            except TROUBLE as error:
                cause = root_cause(error)
                if not is_cut(cause) and status_of(cause) not in _TRANSIENT:
                    raise
                asked = asked_wait(cause)
                wait = FIRST_WAIT * 2 ** (attempt - 1) * random.uniform(0.8, 1.2) if asked is None else asked
                late = time.monotonic() - begun > patience.within
                if attempt == patience.attempts or wait > patience.longest_wait or late:
                    raise
                _pause(wait, cancelled)
        raise AssertionError("the last attempt returns or raises")

    def get_json(self, path: str, params: Any = None) -> Any:
        """The Hub's answer to a GET under its address."""
        url = f"{self.endpoint}{path}"
        response = get_session().get(url, params=params, headers=self.headers(), timeout=ANSWER_WITHIN)
        hf_raise_for_status(response)
        return response.json()

    def read(
        self,
        repo_id: str,
        commit: str,
        file: str,
        start: int,
        stop: int,
        patience: Patience = PROMPT,
        cancelled: CancelCheck | None = None,
    ) -> bytes:
        """Bytes `start` to `stop` of a file, and no more. Raises the client's errors, and Cancelled."""
        if start >= stop:
            return b""
        return self.retried(lambda: self._read(repo_id, commit, file, start, stop), patience, cancelled)

    def _read(self, repo_id: str, commit: str, file: str, start: int, stop: int) -> bytes:
        url = hf_hub_url(repo_id, file, revision=commit, endpoint=self.endpoint)
        headers = {**self.headers(), "Range": f"bytes={start}-{stop - 1}", "Accept-Encoding": "identity"}
        with get_session().stream("GET", url, headers=headers, timeout=ANSWER_WITHIN) as response:
            hf_raise_for_status(response)
            if response.status_code == 206 and not is_part(
                response.headers.get("content-range", ""), start, stop
            ):
                raise other_part(self.endpoint, file)
            skipped = (
                start if response.status_code == 200 else 0
            )  # Range ignored: the file comes from its start
            data = bytearray()
            for chunk in response.iter_bytes():
                data += chunk
                if len(data) >= skipped + stop - start:
                    break
        found = bytes(data[skipped : skipped + stop - start])
        if len(found) < stop - start:
            raise httpx2.RemoteProtocolError("fewer bytes than asked for")
        return found

    def headers(self) -> dict[str, str]:
        """What every request to the Hub carries, the token among it: for the Hub's own address and no other."""
        return build_hf_headers(
            token=self._token or False, library_name=_LIBRARY, library_version=__version__
        )


def _pause(seconds: float, cancelled: CancelCheck | None) -> None:
    end = time.monotonic() + seconds
    waiting = threading.Event()
    while (left := end - time.monotonic()) > 0:
        if cancelled is not None and cancelled():
            raise Cancelled
        waiting.wait(min(left, _POLL))
