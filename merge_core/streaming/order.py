"""In which order a plan's tensors are read from the Hub: every file from its start to its end, where that can be.

A file can be hashed while it passes only in its own order. Models of one kind are often cut into files at other places,
and then no single model's order is that of all files, but there is one that is.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from merge_core.plan import MergePlan, TensorPlan
from merge_core.streaming.inputs import rows_of


def reading_order(plan: MergePlan) -> list[int]:
    """Numbers of the plan's tensors that are merged: as all files on the Hub lie, and else as the base's do."""
    merged = {number: tensor for number, tensor in enumerate(plan.tensors) if tensor.settings is not None}
    files: dict[Hashable, list[tuple[int, int]]] = {}
    for number, tensor in merged.items():
        for owner, spec in rows_of(plan, tensor):
            if (holder := owner.holder(spec)).root is None:
                files.setdefault((holder.identity, spec.file), []).append((spec.offset, number))
    chains = [list(dict.fromkeys(number for _, number in sorted(found))) for found in files.values()]
    return in_all_orders({number: _place(plan, tensor) for number, tensor in merged.items()}, chains)


def in_all_orders(places: Mapping[int, Any], chains: Sequence[Sequence[int]]) -> list[int]:
    """What has `places`, in an order that keeps to every chain; the first by its place where chains leave a choice.

    Args:
        places: what to sort by else.
        chains: orders of some of them. Where two contradict each other, one of them is broken.
    """
    following: dict[int, list[int]] = {number: [] for number in places}
    waits_for = dict.fromkeys(places, 0)
    for chain in chains:
        for first, then in pairwise(chain):
            following[first].append(then)
            waits_for[then] += 1
    by_place = sorted(places, key=lambda number: (places[number], number))
    rank = {number: at for at, number in enumerate(by_place)}
    ready = [rank[number] for number in by_place if not waits_for[number]]
    found: dict[int, None] = {}
    for earliest in by_place:
        while earliest not in found:
            number = by_place[heapq.heappop(ready)] if ready else earliest
            found[number] = None
            for then in following[number]:
                waits_for[then] -= 1
                if not waits_for[then] and then not in found:  # else it was read before its turn
                    heapq.heappush(ready, rank[then])
    return list(found)


def _place(plan: MergePlan, tensor: TensorPlan) -> tuple[str, int]:
    """Where a tensor lies in the files of the base, or of the last model."""
    _, spec = rows_of(plan, tensor)[-1]
    return spec.file, spec.offset
