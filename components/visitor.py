"""Who asks: the account in whose name this page talks to the Hub."""

from __future__ import annotations

import time
from typing import Any

import gradio as gr

from components.workspace import Workspace
from merge_core.hub import HubClient


def hub_client(workspace: Workspace, request: gr.Request | None) -> HubClient:
    """The Hub as this visitor may see it: signed in on a Space, else as the machine's own account."""
    return HubClient(token=visitor_token(request) if workspace.on_space else None)


def visitor_token(request: gr.Request | None) -> str | None:
    """The token of the account the visitor signed in with; None where nobody did, or it has expired.

    It stays in the session that the visitor's browser holds, and is never kept here.
    """
    session: Any = getattr(getattr(request, "request", None), "scope", {}).get("session") or {}
    signed_in = session.get("oauth_info") or {}
    expires = signed_in.get("expires_at")
    if expires is not None and expires < time.time():
        return None
    token = signed_in.get("access_token")
    return token if isinstance(token, str) and token else None
