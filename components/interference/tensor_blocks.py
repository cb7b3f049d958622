"""One tensor by its heads or rows: asked for in the drill-down, counted by the worker, drawn in the browser."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from components.interference.inspecting import UNASKED, Asked, give_up
from components.page import complaint
from components.visitor import Visitor
from components.workspace import Workspace
from merge_core.errors import UserError
from merge_core.interference.block_counts import BlockCounts
from merge_core.jobs.inspections import find_blocks
from merge_core.json_files import read_json
from merge_core.prepare import open_all
from merge_core.recipe import read_recipe


@dataclass(frozen=True)
class BlocksState:
    """What the drill-down is to show of one tensor.

    Args:
        closer: the tensor, and the job that works on it, None where none does any more.
        counts: to draw.
        fraction, message: of work under way.
        problem: why there is no picture; None where there is one, or will be.
    """

    closer: Mapping[str, Any]
    counts: BlockCounts | None = None
    fraction: float = 0.0
    message: str = ""
    problem: UserError | None = None


def ask(
    workspace: Workspace, owner: str, asked: Asked, closer: Mapping[str, Any], tensor: str, who: Visitor
) -> BlocksState:
    """See to it that a tensor of the map is counted by its heads or rows.

    Args:
        asked: what the map answers, see `inspecting.MapState`.
        closer: what was asked of single tensors before; work on it that nobody waits for any more is stopped.
        tensor: its name, as the browser says it; nothing in it is believed.
        who: the visitor, so that nobody is shown counts of models they may not read.
    """
    give_up(workspace, owner, closer)
    try:
        if tensor not in asked.get("names", ()):
            raise UserError("That tensor is not on the map any more.", "Choose another.")
        recipe = read_recipe(asked["question"])
        workspace.check_reach(recipe)
        checkpoints = open_all(recipe, who.hub).values()
        if sum(c.nbytes for c in checkpoints if c.root is None) > UNASKED:
            raise UserError(
                "Heads and rows are counted from whole weights, and these models are not on this machine yet.",
                "Choose “Download and count exactly” above the map.",
            )
        counts = find_blocks(workspace.store.root, recipe, tensor, who.hub)
        if counts is not None:
            return BlocksState({"tensor": tensor}, counts=counts)
        job = who.submit(workspace, "inspect", owner, recipe, {"tensor": tensor})
    except UserError as error:
        return BlocksState({"tensor": tensor}, problem=error)
    return BlocksState({"tensor": tensor, "job": job.id}, message="Waiting for the worker")


def look(workspace: Workspace, owner: str, closer: Mapping[str, Any]) -> BlocksState | None:
    """How far the count is; None where none is under way."""
    if not closer.get("job"):
        return None
    job = workspace.store.get(closer["job"], owner)
    over = {**closer, "job": None}
    if job is None or job.state == "cancelled":
        return BlocksState(over, problem=UserError("The count was stopped.", "Choose the tensor again."))
    if job.state == "failed":
        return BlocksState(over, problem=UserError(job.error or "The count failed."))
    if job.state == "done":
        document = read_json(workspace.store.root / str((job.result or {}).get("blocks", "")))
        return BlocksState(over, counts=BlockCounts.from_json(document or {}))
    return BlocksState(closer, fraction=job.progress.fraction, message=job.progress.message)


def update(state: BlocksState) -> dict[str, Any]:
    """The drill-down's next value: one string for what it draws, since Gradio clones values piece by piece."""
    tensor = state.closer.get("tensor", "")
    if state.problem is not None:
        said = complaint(state.problem)
        return {"state": "problem", "tensor": tensor, **said}
    if state.counts is None:
        return {"state": "loading", "tensor": tensor, "fraction": state.fraction, "message": state.message}
    payload = json.dumps(blocks_payload(state.counts), ensure_ascii=False, separators=(",", ":"))
    return {"state": "blocks", "tensor": tensor, "payload": payload}


def blocks_payload(counts: BlockCounts) -> dict[str, Any]:
    """What `block_picture.js` reads.

    Returns:
        tensor, shape, axis ("rows" or "columns"), kind, note: see `BlockCounts` and `Blocks`.
        blocks: label, group, start, stop and numel of each.
        curves: [touched, contested, conflicted, kept by all models together] × blocks × densities, entries, float32
            little-endian in base64.
    """
    kept = np.array(counts.kept, np.int64).sum(axis=1)
    curves = np.stack(
        [np.array(counts.touched), np.array(counts.contested), np.array(counts.conflicted), kept]
    )
    return {
        "tensor": counts.tensor,
        "shape": list(counts.shape),
        "axis": "columns" if counts.blocks.axis else "rows",
        "kind": counts.blocks.kind,
        "note": counts.blocks.note,
        "blocks": [
            {**vars(block), "numel": numel}
            for block, numel in zip(counts.blocks.blocks, counts.numel, strict=True)
        ],
        "curves": base64.b64encode(curves.astype("<f4").tobytes()).decode("ascii"),
    }
