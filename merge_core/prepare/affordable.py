"""Whether models are downloaded or their weights stay on the Hub: what the disk has room for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from merge_core.checkpoint import Checkpoint
from merge_core.preflight import template_ref
from merge_core.prepare.needs import Needs, needs_of, needs_streamed, require_room, shortages
from merge_core.recipe import ModelRef, Recipe

if TYPE_CHECKING:
    from merge_core.hub import HubClient


def affordable_needs(
    recipe: Recipe,
    checkpoints: Mapping[ModelRef, Checkpoint],
    hub: HubClient | None = None,
    output: int = 0,
    out: Path | None = None,
    *,
    stream: bool = False,
) -> Needs:
    """What a merge takes: its models whole where the disk has room for that, else as `needs_streamed` says.

    Args:
        recipe: what is merged.
        checkpoints, hub, output: see `needs_of`.
        out: see `require_room_for`.
        stream: leave weights on the Hub although there is room for them.
    """
    whole = needs_of(checkpoints, hub, output)
    if not stream and not shortages(_wanted(whole, out)):
        return whole
    streamed = needs_streamed(checkpoints, template_ref(recipe), hub, output)
    return streamed if streamed.streams else whole


def require_room_for(needs: Needs, out: Path | None) -> None:
    """Find out that there is no room before anything is downloaded.

    Args:
        needs: what the work writes.
        out: where its result goes; None where that is not known, or nothing is made.

    Raises:
        NoRoom: says how much is missing where.
    """
    require_room(_wanted(needs, out))


def streaming_note(needs: Needs) -> str:
    """What a person should know of weights that stay on the Hub."""
    models = "1 model" if len(needs.streams) == 1 else f"{len(needs.streams)} models"
    return (
        f"{needs.stream / 1e6:,.1f} MB of weights of {models} are read from the Hub where they lie, and not kept: a "
        "later run reads them again."
    )


def _wanted(needs: Needs, out: Path | None) -> dict[Path, int]:
    """Bytes to be written, by folder, before a merge; one that downloads nothing takes its own room at once."""
    if not needs.download:
        return {}
    from merge_core.hub.cache import root

    return {root(): needs.download, **({out.parent: needs.output} if out is not None else {})}
