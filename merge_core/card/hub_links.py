"""Where a card's links lead: the Hub that the models came from."""

from __future__ import annotations

import os
from urllib.parse import quote, urlsplit

DEFAULT = "https://huggingface.co"


def model_link(repo_id: str, commit: str) -> str:
    """The page of a model's files at a commit."""
    return f"{hub_address()}/{repo_id}/tree/{commit}"


def hub_address() -> str:
    """The Hub's web address: where HF_ENDPOINT points, without what a card must not tell, such as a password."""
    try:
        parts = urlsplit(os.environ.get("HF_ENDPOINT", "").strip())
        port = "" if parts.port is None else f":{parts.port}"
    except ValueError:
        return DEFAULT
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return DEFAULT
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{quote(host, safe='[]:')}{port}{quote(parts.path.rstrip('/'))}"
