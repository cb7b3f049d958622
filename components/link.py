"""The address of what is on the page: `?recipe=…&run=…`, short to send, safe to open from a stranger."""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Mapping
from typing import Any

import gradio as gr

from components.scripts import script
from merge_core.errors import UserError

LONGEST_QUERY = 8_000  # characters; browsers and proxies pass at least this much
LONGEST_RECIPE = 64_000  # bytes after unpacking: a small query must not unpack into a large recipe

_WHAT = "The recipe in this link"
_MEND = "Ask for the link again, or paste the recipe's YAML instead."


def encode_recipe(text: str) -> str:
    """YAML packed into characters that need no escaping in an address."""
    return base64.urlsafe_b64encode(zlib.compress(text.encode(), 9)).decode().rstrip("=")


def decode_recipe(query: str) -> str:
    """The YAML in a query string.

    Raises:
        UserError: the query is too long, damaged, or unpacks into more than `LONGEST_RECIPE` bytes.
    """
    if len(query) > LONGEST_QUERY:
        raise UserError(f"{_WHAT} has {len(query):,} characters, at most {LONGEST_QUERY:,} are read.", _MEND)
    try:
        packed = base64.b64decode(query + "=" * (-len(query) % 4), altchars=b"-_", validate=True)
        unpack = zlib.decompressobj()
        raw = unpack.decompress(packed, LONGEST_RECIPE + 1)
        if len(raw) > LONGEST_RECIPE:
            raise UserError(f"{_WHAT} unpacks into more than {LONGEST_RECIPE:,} bytes.", _MEND)
        if not unpack.eof:
            raise ValueError("cut short")
        return raw.decode()
    except (binascii.Error, zlib.error, ValueError) as damage:
        raise UserError(f"{_WHAT} is damaged.", _MEND) from damage


def link_query(recipe: str, run: str | None, *, default: str) -> dict[str, str]:
    """What the address bar shows: nothing for the page as it opens, else the recipe and the selected run."""
    query = {} if recipe == default else {"recipe": encode_recipe(recipe)}
    if run:
        query["run"] = run
    return query


def read_query(query: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """(recipe YAML, run id) as a visitor's address gives them; None for what it leaves out.

    Raises:
        UserError: see `decode_recipe`.
    """
    packed, run = query.get("recipe"), query.get("run")
    if run is not None and (len(run) > 64 or not run.replace("-", "").isalnum()):
        run = None
    return (decode_recipe(packed) if packed else None), run


class Link(gr.HTML):
    """The "Copy link" button; its value is `link_query`'s answer."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(
            value={},
            html_template='<button type="button" class="tb-small">Copy link</button>',
            js_on_load=script("link.js"),
            apply_default_css=False,
            **settings,
        )
