"""Recipe → MergePlan: open, check, and only then download."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from merge_core.checkpoint import Checkpoint
from merge_core.plan import SHARD_BYTES, MergePlan, commits_of, make_plan
from merge_core.preflight import Verdict, examine, template_ref
from merge_core.prepare.affordable import affordable_needs, require_room_for, streaming_note
from merge_core.prepare.needs import needs_of
from merge_core.prepare.opening import open_checkpoint
from merge_core.prepare.pace import DOWNLOAD, remember
from merge_core.progress import CancelCheck, ProgressCallback
from merge_core.recipe import ModelRef, Recipe
from merge_core.recipe.published import pinned_recipe

if TYPE_CHECKING:
    from merge_core.hub import HubClient


def open_all(recipe: Recipe, hub: HubClient | None = None) -> dict[ModelRef, Checkpoint]:
    """Every checkpoint of the recipe, from its headers alone.

    Raises:
        UserError: one cannot be opened.
    """
    return {ref: open_checkpoint(ref, hub) for ref in recipe.refs()}


def open_fitting(
    recipe: Recipe, hub: HubClient | None = None, note: Callable[[str], None] | None = None
) -> tuple[dict[ModelRef, Checkpoint], Verdict]:
    """Every checkpoint of the recipe from its headers alone, once all are known to fit together; and the verdict.

    Args:
        recipe, hub, note: see `fetch`.

    Raises:
        UserError: one cannot be opened, or the first problem found.
    """
    checkpoints = open_all(recipe, hub)
    verdict = examine(recipe, checkpoints)
    if verdict.problems:
        raise verdict.problems[0]
    if note is not None:
        for sentence in verdict.notes:
            note(sentence)
    return checkpoints, verdict


def prepare(
    recipe: Recipe,
    hub: HubClient | None = None,
    progress: ProgressCallback | None = None,
    cancelled: CancelCheck | None = None,
    shard_bytes: int = SHARD_BYTES,
    note: Callable[[str], None] | None = None,
    out: Path | None = None,
    stream: bool | None = False,
) -> MergePlan:
    """Open the recipe's checkpoints, find out whether they fit together, fetch what is missing, and plan.

    Args:
        recipe, hub, progress, cancelled, note, out, stream: see `fetch`.
        shard_bytes: the size past which the output starts a new file.

    Raises:
        UserError: see `fetch`.
    """
    return make_plan(recipe, fetch(recipe, hub, progress, cancelled, note, out, stream), shard_bytes)


def fetch(
    recipe: Recipe,
    hub: HubClient | None = None,
    progress: ProgressCallback | None = None,
    cancelled: CancelCheck | None = None,
    note: Callable[[str], None] | None = None,
    out: Path | None = None,
    stream: bool | None = False,
) -> dict[ModelRef, Checkpoint]:
    """The recipe's checkpoints on this machine; those that were not are downloaded once all are known to fit together.

    Args:
        recipe: a checked recipe.
        hub: where Hub references are looked up; None uses the default client, made only if one is needed.
        progress, cancelled: of a download; `cancelled` is asked as well while weights are read from the Hub.
        note: told what a person should know and need not mend, see `preflight.Verdict`.
        out: where the merge will be written, so that nothing is downloaded for a merge that has no room; None where
            there is none.
        stream: true leaves weights on the Hub, see `checkpoint.Streamed`; None does where the disk has no room.

    Raises:
        UserError: the first problem found; nothing was downloaded unless everything fits, together and on the disk.
    """
    checkpoints, verdict = open_fitting(recipe, hub, note)
    needs = (
        needs_of(checkpoints, hub, verdict.bytes_out)
        if stream is False
        else affordable_needs(recipe, checkpoints, hub, verdict.bytes_out, out, stream=bool(stream))
    )
    require_room_for(needs, out)
    if needs.streams and note is not None:
        note(streaming_note(needs))
    begun = time.monotonic()
    for ref, checkpoint in checkpoints.items():
        if checkpoint.root is None:
            from merge_core.hub import HubClient

            hub = hub or HubClient()
            checkpoints[ref] = (
                hub.stream(
                    checkpoint,
                    small_files=ref == template_ref(recipe),
                    progress=progress,
                    cancelled=cancelled,
                )
                if needs.streams
                else hub.download(checkpoint, progress, cancelled)
            )
    remember(DOWNLOAD, needs.download, time.monotonic() - begun)
    return checkpoints


def pinned(recipe: Recipe, checkpoints: Mapping[ModelRef, Checkpoint]) -> Recipe:
    """The recipe of exactly these checkpoints: every Hub model at the commit it was opened at."""
    return pinned_recipe(recipe, commits_of(checkpoints.values()))
