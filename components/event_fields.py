"""What an event says besides its component's value: every event is an address that anybody may call with anything."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Any

import gradio as gr

LONGEST = 1_000  # characters of one field: names, ids, and what is typed into a search


class Refused(gr.Error):
    """The answer to a request that this page would not send; only who sent it reads it, nothing is logged."""

    def __init__(self, message: str) -> None:
        super().__init__(message, print_exception=False)


def field(event: gr.EventData, name: str) -> Any:
    """A field of an event.

    Raises:
        Refused: the event has no such field.
    """
    try:
        return getattr(event, name)
    except (AttributeError, TypeError, LookupError):  # what was sent as fields may be any JSON
        raise Refused(f"This request lacks the field '{name}'. Reload the page.") from None


def text(event: gr.EventData, name: str) -> str:
    """A field that is text.

    Raises:
        Refused: there is no such text.
    """
    found = field(event, name)
    if not isinstance(found, str) or len(found) > LONGEST:
        raise Refused(f"This request's field '{name}' is not a text of at most {LONGEST:,} characters.")
    return found


def number(event: gr.EventData, name: str) -> float:
    """A field that is a number.

    Raises:
        Refused: there is no such number.
    """
    found = field(event, name)
    if not isinstance(found, bool) and isinstance(found, int | float):
        with suppress(OverflowError):  # JSON's integers have no end
            if math.isfinite(found):
                return float(found)
    raise Refused(f"This request's field '{name}' is not a number.")
