"""Keeps other websites from acting in a visitor's name: Gradio's cookies go along with any site's requests."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send


class SameOrigin:
    """Refuses what a browser sends from a page of another site. Programs send no Origin and are let through.

    On a Space the page stands in a frame of the Hub's, yet its requests come from its own address.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 403."""
        if scope["type"] == "http" and not _is_own(Headers(scope=scope)):
            refused = PlainTextResponse("Requests from other sites are refused.", 403)
            await refused(scope, receive, send)
            return
        await self.app(scope, receive, send)


def _is_own(headers: Headers) -> bool:
    origin = headers.get("origin")
    if origin is None:
        return True
    own = {headers.get("host", ""), *os.environ.get("SPACE_HOST", "").split(",")} - {""}
    return urlsplit(origin).netloc in own
