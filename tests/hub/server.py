"""A Hub of one's own on this machine, for tests and for looking at the app without the network.

`python -m tests.hub.server --folder models --port 8765` serves every model folder `models/owner/name`. Then start
the app with `HF_ENDPOINT=http://127.0.0.1:8765`. It prints a token of the user "ada", who may write.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote_to_bytes

import uvicorn
from starlette.requests import ClientDisconnect

from tests.hub.app import HubApp
from tests.hub.faults import Cut, Fault, Message, Receive, Send, faulty
from tests.hub.store import Repo, Store, User

TOKEN = "hf_localAdaMayWriteHere0000000000000"


@dataclass
class Recorded:
    """A request that reached the Hub."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    status: int = 0
    received: int = 0  # bytes of its body
    sent: int = 0  # bytes of the answer's body

    def __str__(self) -> str:
        return f"{self.method} {self.path}" + (f"?{self.query}" if self.query else "")


class LocalHub:
    """The Hub, listening on 127.0.0.1 in a thread. Use as a context manager.

    Attributes:
        url: its address, for HF_ENDPOINT.
        token: of the user "ada", who may write to `ada/…` and to the organisation `guild/…`.
        requests: every request so far, oldest first.
        ignore_range: answer with whole files, as some proxies do.
        tells_sizes: a model's description tells the sizes of its files, where asked to.
        slices: an answer to a part of a file begins at a multiple of so many bytes, as in some caches.
    """

    def __init__(self, port: int = 0) -> None:
        self.ignore_range = False
        self.tells_sizes = True
        self.slices = 1
        self.store = Store(Path(tempfile.mkdtemp(prefix="hub-")))
        self.token = TOKEN
        self.add_user("ada", TOKEN, organisations=("guild",))
        self.requests: list[Recorded] = []
        self.bugs: list[str] = []
        self._faults: list[Fault] = []
        app = HubApp(
            self.store, storage=lambda: self.url.replace("127.0.0.1", "localhost"), origin=lambda: self.url
        )
        self._app = app.starlette
        settings = uvicorn.Config(
            self._asgi,
            host="127.0.0.1",
            port=port,
            log_level="critical",
            lifespan="off",
            interface="asgi3",
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(settings)
        self._thread = threading.Thread(target=self._server.run, name="local-hub", daemon=True)

    def __enter__(self) -> LocalHub:
        self._thread.start()
        deadline = time.monotonic() + 20
        while not self._server.started:
            assert self._thread.is_alive(), "the local Hub did not start"
            assert time.monotonic() < deadline, "the local Hub did not start in time"
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(10)
        self.store.close()

    @property
    def url(self) -> str:
        (server,) = self._server.servers
        return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    # What it holds -------------------------------------------------------------------------------------

    def add_user(
        self, name: str, token: str, organisations: Sequence[str] = (), can_write: bool = True
    ) -> None:
        """Let `token` act as `name`."""
        self.store.users[token] = User(name, tuple(organisations), can_write)

    def add_model(
        self,
        repo_id: str,
        folder: Path,
        *,
        gated: bool = False,
        private: bool = False,
        downloads: int = 0,
        likes: int = 0,
        base_model: str | None = None,
        licence: str | None = None,
        tags: Sequence[str] = (),
    ) -> str:
        """Put a folder's files into a repository, which is made if there is none; the new commit's SHA."""
        repo = self.store.repos.get(repo_id)
        if repo is None:
            repo = self.store.create(repo_id, gated=gated, private=private, downloads=downloads, likes=likes)
        if base_model:
            repo.tags += [f"base_model:{base_model}", f"base_model:finetune:{base_model}"]
        repo.tags += [*tags, *([f"license:{licence}"] if licence else [])]
        return self.store.add_folder(repo, folder).sha

    def repo(self, repo_id: str) -> Repo:
        """A repository's state."""
        return self.store.repos[repo_id]

    def files(self, repo_id: str, revision: str = "main") -> dict[str, bytes]:
        """Content of every file at a revision, by path."""
        commit = self.store.repos[repo_id].at(revision)
        assert commit is not None, f"{repo_id} has no revision {revision}"
        return {path: blob.path.read_bytes() for path, blob in commit.files.items()}

    # What was asked of it, and what goes wrong ---------------------------------------------------------

    def asked(self, pattern: str) -> list[Recorded]:
        """The requests whose `METHOD /path?query` matches."""
        return [request for request in list(self.requests) if re.search(pattern, str(request))]

    def reset(self) -> None:
        """Empty the Hub; the user stays."""
        self.forget()
        self.store.repos.clear()
        self.store.collections.clear()
        for blob in (self.store.folder / "blobs").iterdir():
            blob.unlink()

    def forget(self) -> None:
        """Drop all recorded requests and faults."""
        self.requests.clear()
        self.bugs.clear()
        self._faults.clear()
        self.ignore_range, self.tells_sizes, self.store.names_as_git = False, True, True
        self.store.tells_contents, self.slices = True, 1

    def fail(
        self,
        pattern: str,
        *,
        status: int | None = None,
        times: float = float("inf"),
        headers: dict[str, str] | None = None,
        message: str = "",
        delay: float = 0.0,
        pace: float = 0.0,
        cut_after: int | None = None,
        corrupt: bool = False,
        drop_answer: bool = False,
        then: Callable[[], None] | None = None,
        answer: object = None,
    ) -> None:
        """Make matching requests go wrong, the next `times` of them.

        Args:
            pattern: searched in `METHOD /path?query`.
            status: answer with this instead.
            headers, message: of that answer.
            delay: seconds before the answer begins.
            pace: seconds between two parts of its body.
            cut_after: close the connection after so many bytes of the body.
            corrupt: change one byte of the body.
            drop_answer: do what is asked, then close the connection without an answer.
            answer: JSON to answer instead, with status 200.
            then: called once the request has been seen, before it is answered.
        """
        answer_headers = headers or {}
        self._faults.append(
            Fault(
                re.compile(pattern),
                times,
                200 if answer is not None else status,
                answer_headers,
                message,
                delay,
                pace,
                cut_after,
                corrupt,
                drop_answer,
                then,
                None if answer is None else json.dumps(answer).encode(),
            )
        )

    def _next_fault(self, request: Recorded) -> Fault | None:
        for fault in self._faults:
            if fault.times > 0 and fault.pattern.search(str(request)):
                fault.times -= 1
                return fault
        return None

    async def _asgi(self, scope: Message, receive: Receive, send: Send) -> None:
        try:
            await self._answer(scope, receive, send)
        except (Cut, ClientDisconnect):
            raise
        except Exception:  # a bug of this Hub's: whoever tests against it must hear of it
            self.bugs.append(f"{scope['method']} {scope['path']}\n{traceback.format_exc()}")
            raise

    async def _answer(self, scope: Message, receive: Receive, send: Send) -> None:
        # Starlette decodes `refs%2Fpr%2F1` before it routes: keep such slashes from looking like others.
        raw = scope["raw_path"].split(b"?")[0]
        path = unquote_to_bytes(re.sub(rb"%2f", b"%252F", raw, flags=re.IGNORECASE)).decode()
        headers = {key.decode(): value.decode() for key, value in scope["headers"]}
        request = Recorded(scope["method"], path, scope["query_string"].decode(), headers)
        self.requests.append(request)
        fault = self._next_fault(request)
        scope = {**scope, "path": path}
        if self.ignore_range:
            scope["headers"] = [pair for pair in scope["headers"] if pair[0] != b"range"]
        if match := re.fullmatch(r"bytes=(\d+)-(\d+)", headers.get("range", "")):
            early = int(match[1]) % self.slices
            part = f"bytes={int(match[1]) - early}-{int(match[2]) - early}".encode()
            scope["headers"] = [(k, part if k == b"range" else v) for k, v in scope["headers"]]
        if not self.tells_sizes:
            scope["query_string"] = scope["query_string"].replace(b"blobs=true", b"")

        async def received() -> Message:
            message = await receive()
            request.received += len(message.get("body", b""))
            return message

        async def answered(message: Message) -> None:
            if message["type"] == "http.response.start":
                request.status = message["status"]
            else:
                request.sent += len(message.get("body", b""))
            await send(message)

        if fault is None:
            await self._app(scope, received, answered)
            return
        if fault.then:
            fault.then()
        await asyncio.sleep(fault.delay)
        if fault.status is not None:
            while (await received()).get("more_body"):
                pass
            body = f'{{"error": "{fault.message}"}}'.encode() if fault.message else fault.answer or b""
            head = {"content-length": str(len(body)), "content-type": "application/json", **fault.headers}
            pairs = [(key.encode(), value.encode()) for key, value in head.items()]
            await answered({"type": "http.response.start", "status": fault.status, "headers": pairs})
            await answered({"type": "http.response.body", "body": body})
            return
        await self._app(scope, received, faulty(answered, fault))


def main() -> None:
    """Serve the model folders under a folder."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--folder", type=Path, required=True, help="holds owner/name/config.json and weights")
    parser.add_argument("--port", type=int, default=8765)
    arguments = parser.parse_args()
    with LocalHub(arguments.port) as hub:
        for config in sorted(arguments.folder.glob("*/*/")):
            hub.add_model(config.relative_to(arguments.folder).as_posix(), config)
        print(f"HF_ENDPOINT={hub.url} HF_TOKEN={hub.token}", flush=True)
        try:
            while True:
                time.sleep(1)
        except KeyboardInterrupt:
            print("stopped")


if __name__ == "__main__":
    main()
