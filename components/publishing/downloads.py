"""A run's files over plain HTTP: one by one, or as one zip that is made while it is sent and never lies on disk.

A ticket stands for one run's folder for an hour. It is given only to the run's owner and cannot be guessed, so that an
ordinary link, which carries no owner, can download.
"""

from __future__ import annotations

import secrets
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from merge_core.jobs.retention import in_use

VALID = 3600.0  # seconds
CHUNK = 1 << 20


@dataclass
class Tickets:
    """Tickets given out and not yet expired; shared by the page and the download route."""

    _given: dict[str, tuple[Path, str, float]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def give(self, folder: Path, name: str) -> str:
        """A ticket for the files of `folder`, whose zip is called `name`.zip."""
        ticket, now = secrets.token_urlsafe(24), time.monotonic()
        with self._lock:
            self._given = {key: value for key, value in self._given.items() if value[2] > now}
            self._given[ticket] = (folder, name, now + VALID)
        return ticket

    def folder(self, ticket: str) -> tuple[Path, str] | None:
        """(folder, name) that a ticket stands for; None where it is unknown or too old."""
        with self._lock:
            folder, name, until = self._given.get(ticket, (None, "", 0.0))
        return (folder, name) if folder is not None and until > time.monotonic() else None


def files_in(folder: Path) -> list[Path]:
    """The plain files of a folder, in name order; links are left out, for they may lead elsewhere."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def offer(folder: Path, ticket: str) -> dict[str, Any]:
    """What the page lists: every file with its size, and all of them as a zip."""
    files = [(path.relative_to(folder).as_posix(), path.stat().st_size) for path in files_in(folder)]
    return {"ticket": ticket, "files": files, "bytes": sum(size for _, size in files)}


def routes(tickets: Tickets) -> list[Route]:
    """The route that serves tickets."""

    def download(request: Request) -> Response:
        found = tickets.folder(request.path_params["ticket"])
        if found is None:
            return PlainTextResponse("This link has expired. Reload the page for a new one.", 404)
        folder, name = found
        wanted = request.path_params["file"]
        if wanted == f"{name}.zip":
            headers = {"Content-Disposition": f'attachment; filename="{name}.zip"'}
            return StreamingResponse(zip_stream(folder), media_type="application/zip", headers=headers)
        offered = {path.relative_to(folder).as_posix(): path for path in files_in(folder)}
        if wanted not in offered:  # looked up by name, so that no spelling of a path leads out of the folder
            return PlainTextResponse("There is no such file in this run.", 404)
        return FileResponse(offered[wanted], filename=offered[wanted].name)

    return [Route("/download/{ticket}/{file:path}", download)]


class _Pipe:
    """Takes what a ZipFile writes, and hands it on."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self.parts.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing waits here."""

    def take(self) -> bytes:
        data, self.parts = b"".join(self.parts), []
        return data


def zip_stream(folder: Path) -> Iterator[bytes]:
    """The files of `folder` as a zip, piece by piece. Stored, not deflated: weights do not compress."""
    pipe = _Pipe()
    with in_use(folder), zipfile.ZipFile(pipe, "w", zipfile.ZIP_STORED) as archive:  # type: ignore[arg-type]
        for path in files_in(folder):
            info = zipfile.ZipInfo.from_file(path, path.relative_to(folder).as_posix())
            with path.open("rb") as source, archive.open(info, "w", force_zip64=True) as target:
                while data := source.read(CHUNK):
                    target.write(data)
                    yield pipe.take()
    yield pipe.take()
