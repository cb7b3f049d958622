"""A model's name → its checkpoint: a folder, a repository on the Hub, or either with an adapter."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from merge_core.checkpoint import Checkpoint, open_folder
from merge_core.checkpoint.lora import adapt
from merge_core.errors import UserError
from merge_core.recipe.reference import ModelRef

if TYPE_CHECKING:
    from merge_core.hub import HubClient

_HUB_ID = re.compile(r"(?:[\w.-]+/)?[\w.-]+", re.ASCII)


def open_checkpoint(ref: ModelRef, hub: HubClient | None = None) -> Checkpoint:
    """Open a model from its headers alone: a folder where there is one of that name, else a repository on the Hub.

    Args:
        ref: the model, perhaps with an adapter.
        hub: where Hub references are looked up; None uses the default client, made only if one is needed.

    Raises:
        UserError: it cannot be opened.
    """
    if ref.lora is not None:
        adapter = ModelRef.parse(ref.lora)
        if adapter.lora is not None:
            raise UserError(
                f"{ref} names two adapters.", "Apply one here, and list the other as a model of its own."
            )
        base = open_checkpoint(replace(ref, lora=None), hub)
        return adapt(base, _open(adapter, hub, adapter=True), str(ref))
    return _open(ref, hub, adapter=False)


def _open(ref: ModelRef, hub: HubClient | None, *, adapter: bool) -> Checkpoint:
    path = Path(os.path.expanduser(ref.path))
    if ref.looks_like_path or path.is_dir() or not _HUB_ID.fullmatch(ref.path):
        if ref.revision is not None:
            raise UserError(
                f"{ref} is a folder, and folders have no revisions.", f"Leave out `@{ref.revision}`."
            )
        return open_folder(path, str(ref), adapter=adapter)
    if hub is None:
        from merge_core.hub import HubClient

        hub = HubClient()
    try:
        return hub.checkpoint(ref, adapter=adapter)
    except UserError as error:  # perhaps a folder was meant
        error.hint = f"{error.hint} No folder here is called {ref.path} either.".strip()
        raise
