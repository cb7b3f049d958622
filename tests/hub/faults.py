"""What can go wrong on the way from the local Hub to who asked."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
Receive = Callable[[], Awaitable[Message]]


class Cut(Exception):
    """Raised to make the server close a connection."""


@dataclass
class Fault:
    """What goes wrong with requests whose `METHOD /path?query` matches."""

    pattern: re.Pattern[str]
    times: float
    status: int | None
    headers: dict[str, str]
    message: str
    delay: float
    pace: float
    cut_after: int | None
    corrupt: bool
    drop_answer: bool
    then: Callable[[], None] | None
    answer: bytes | None


def faulty(send: Send, fault: Fault) -> Send:
    passed = 0

    async def passed_on(message: Message) -> None:
        nonlocal passed
        if fault.drop_answer:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"9")]})
            raise Cut("the answer is dropped")
        body = message.get("body", b"")
        if body and fault.pace:
            await asyncio.sleep(fault.pace)
        if body and fault.corrupt and not passed:
            message = {**message, "body": body[:-1] + bytes([body[-1] ^ 1])}
        if fault.cut_after is not None and passed + len(body) > fault.cut_after:
            await send({**message, "body": body[: fault.cut_after - passed], "more_body": True})
            raise Cut("cut on purpose")
        passed += len(body)
        await send(message)

    return passed_on
