"""Connections kept open for many small parts of files: a fraction of the work that the Hub's client does for each."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx2

from merge_core.hub.session import ANSWER_WITHIN


@dataclass(frozen=True)
class Part:
    """Some bytes, and what was said of them: `Content-Range` and `ETag`, "" where that was not said."""

    data: bytes
    whereof: str
    tag: str


class Line:
    """One connection to where parts of files were read last. For one thread at a time."""

    def __init__(self) -> None:
        self._connection: HTTPConnection | None = None
        self._to: tuple[str, str] | None = None

    def close(self) -> None:
        """Hang up."""
        if self._connection is not None:
            self._connection.close()
        self._connection = self._to = None

    def part(self, url: str, headers: Mapping[str, str], start: int, stop: int) -> Part | None:
        """Bytes `start` … `stop` − 1 of what lies at `url`.

        None where they did not come just like that: the Hub's client, which knows proxies, redirections and what to
        say of errors, has to ask then.
        """
        address = urlsplit(url)
        try:
            connection = self._reach(address)
            if connection is None:
                return None
            asked = {**headers, "Range": f"bytes={start}-{stop - 1}", "Accept-Encoding": "identity"}
            connection.request(
                "GET", address._replace(scheme="", netloc="", fragment="").geturl(), headers=asked
            )
            with connection.getresponse() as response:
                found = response.read(stop - start) if response.status == 206 else b""
                finished = response.isclosed()
                said = Part(found, response.getheader("Content-Range", ""), response.getheader("ETag", ""))
        except (OSError, HTTPException):
            self.close()
            return None
        if not finished or len(found) < stop - start:  # what was not asked for is not waited for
            self.close()
        return said if len(found) == stop - start else None

    def _reach(self, address: SplitResult) -> HTTPConnection | None:
        to = address.scheme, address.netloc
        if self._to != to:
            self.close()
            host = address.hostname or ""
            if (address.scheme in getproxies() or "all" in getproxies()) and not proxy_bypass(host):
                return None
            if address.scheme == "https":
                self._connection = HTTPSConnection(
                    host, address.port, timeout=ANSWER_WITHIN, context=_certificates()
                )
            else:
                self._connection = HTTPConnection(host, address.port, timeout=ANSWER_WITHIN)
            self._to = to
        return self._connection


@cache
def _certificates() -> ssl.SSLContext:
    """Whom to trust: those whom the Hub's client trusts."""
    return httpx2.create_ssl_context()
