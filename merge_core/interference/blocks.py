"""How one tensor is cut into blocks for a picture: by attention heads where they can be told, else into rows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from merge_core.network.correspondence import is_embedding
from merge_core.network.heads import Heads, Shape, heads_of

MOST_BLOCKS = 64  # of rows
LEAST = 1 << 10  # weights of a block of rows: of fewer, too few meet to tell anything


@dataclass(frozen=True)
class Block:
    """A run of rows or columns.

    Args:
        label: its name in its group: "head 3", "rows 0–63".
        group: what it is part of where a tensor holds several things, "query" and the like; else "".
        start, stop: of its rows, or columns.
    """

    label: str
    group: str
    start: int
    stop: int


@dataclass(frozen=True)
class Blocks:
    """All blocks of a tensor; each row, or column, is in one.

    Args:
        axis: 0 for rows, 1 for columns.
        kind: "heads", "tokens" or "rows".
        blocks: in order.
        note: why a weight of attention is not shown by its heads; else "".
    """

    axis: int
    kind: str
    blocks: tuple[Block, ...]
    note: str = ""


def blocks_of(name: str, shapes: Mapping[str, Shape], config: Mapping[str, Any]) -> Blocks:
    """The blocks of the tensor called `name`.

    Args:
        name: one of `shapes`.
        shapes: of all tensors of the model.
        config: the model's configuration, of which nothing is believed.
    """
    heads, note = heads_of(name, shapes, config)
    if heads is not None:
        return Blocks(heads.axis, "heads", _by_head(heads))
    rows = shapes[name][0] if shapes[name] else 1
    count = max(1, min(MOST_BLOCKS, math.prod(shapes[name]) // LEAST))
    size = max(1, -(-rows // count))
    kind = "tokens" if is_embedding(name) else "rows"
    starts = range(0, max(rows, 1), size)
    blocks = tuple(Block(_run(kind, s, min(s + size, rows)), "", s, min(s + size, rows)) for s in starts)
    return Blocks(0, kind, blocks, note)


def _by_head(heads: Heads) -> tuple[Block, ...]:
    found: list[Block] = []
    at = 0
    for part, count in heads.parts:
        for head in range(count):
            found.append(Block(f"head {head}", part, at, at + heads.size))
            at += heads.size
    return tuple(found)


def _run(kind: str, start: int, stop: int) -> str:
    return f"{kind} {start:,}–{stop - 1:,}" if stop - start > 1 else f"{kind[:-1]} {start:,}"
