"""Which entries a sample reads: contiguous blocks, spread over each tensor, every entry as likely as any other.

A tensor is cut into 2^c tiles of equal size. A seeded order visits them so that its first 2^k visits fall into 2^k
equal parts of the tensor, one each (a scrambled van der Corput sequence), and where in its part each falls is uniform.
A larger budget takes more tiles, or tiles that are twice as long and contain the ones before: what was read once is
read again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from merge_core.errors import UserError

Array = np.ndarray[Any, np.dtype[Any]]

SMALL = 4096  # entries; a tensor up to this size is read whole


Manner = Sequence[tuple[int, int]]
"""How a tensor's sample grows: (blocks, entries in each, about), from milestone to milestone.

Neighbours are alike, so the number of blocks decides how sure an estimate is; but each block costs one request.
"""

LOCAL: Manner = ((64, 16), (64, 64), (256, 64), (256, 512))
REMOTE: Manner = ((6, 256), (6, 2048), (12, 2048), (12, 4096))


@dataclass(frozen=True)
class Cost:
    """Bytes that a sample of one tensor takes in all models together.

    Args:
        entry: for each entry.
        once: whatever is read: factors of adapters.
        row: for each row of `columns` entries that a block lies in, of adapters.
    """

    entry: int
    once: int = 0
    row: int = 0
    columns: int = 1

    def of(self, entries: int, blocks: int) -> int:
        """At most so many bytes."""
        return self.entry * entries + self.once + self.row * (entries // self.columns + 2 * blocks)


@dataclass(frozen=True)
class Sampled:
    """The entries read of one tensor.

    Args:
        numel: entries of the tensor.
        blocks: int64 [blocks, 2]: where each block starts, and where it ends; in index order. A tensor read whole has
            one.
    """

    numel: int
    blocks: Array

    @property
    def whole(self) -> bool:
        """Whether every entry is read."""
        return self.entries == self.numel

    @property
    def entries(self) -> int:
        """How many are read."""
        return int(self.sizes.sum())

    @property
    def sizes(self) -> Array:
        """Entries in each block, int64 [blocks]."""
        return np.asarray(self.blocks[:, 1] - self.blocks[:, 0])

    def runs(self) -> list[tuple[int, int]]:
        """(start, stop) of the entries, adjacent blocks joined."""
        runs: list[tuple[int, int]] = []
        for start, stop in self.blocks.tolist():
            if runs and runs[-1][1] == start:
                runs[-1] = (runs[-1][0], stop)
            else:
                runs.append((start, stop))
        return runs


def design(
    names: Sequence[str],
    numel: Sequence[int],
    costs: Sequence[Cost],
    budget: int,
    seed: int,
    manner: Manner,
) -> list[Sampled]:
    """The entries to read of every tensor, as many as `budget` allows, about as many of each.

    With a larger budget, and all else equal, each tensor's entries contain those of a smaller one.

    Args:
        names, numel, costs: of the tensors.
        budget: bytes in all.
        seed: decides where the blocks lie.
        manner: how finely to sample.

    Raises:
        UserError: the budget is too small to read something of every tensor.
    """
    stages = [_stages(n, manner) for n in numel]
    chosen = [found[0] for found in stages]
    spent = sum(_bytes(n, stage, cost) for n, stage, cost in zip(numel, chosen, costs, strict=True))
    if spent > budget:
        raise UserError(
            f"A sample of {budget / 1e6:.3g} MB, headers set aside, is too small to read something of each of the "
            f"{len(names)} tensors.",
            f"Allow {-(-spent // 100_000) / 10 + 0.1:.1f} MB beyond the headers, or more.",
        )
    steps = sorted(
        (_entries(n, stage), tensor, number)
        for tensor, (n, found) in enumerate(zip(numel, stages, strict=True))
        for number, stage in enumerate(found)
        if number
    )
    for _, tensor, number in steps:  # the least sampled first
        stage, before, n, cost = stages[tensor][number], chosen[tensor], numel[tensor], costs[tensor]
        more = _bytes(n, stage, cost) - _bytes(n, before, cost)
        if spent + more > budget:
            break  # and none of the later ones, that might fit, or a larger budget would not contain this one
        spent += more
        chosen[tensor] = stage
    return [_place(name, n, stage, seed, manner) for name, n, stage in zip(names, numel, chosen, strict=True)]


@dataclass(frozen=True)
class _Stage:
    """How much of a tensor is read: `taken` of 2^`depth` tiles."""

    depth: int
    taken: int


_WHOLE = _Stage(0, 1)


def _stages(numel: int, manner: Manner) -> list[_Stage]:
    """Ever more of a tensor of `numel` entries, up to all of it."""
    return list(_growing(numel, manner)) if numel > SMALL else [_WHOLE]


def _growing(numel: int, manner: Manner) -> Iterator[_Stage]:
    def room(blocks: int, length: int) -> bool:
        return 2 * blocks <= 1 << _depth(numel, length)

    blocks, length = manner[0]
    if room(blocks, length):
        yield _Stage(_depth(numel, length), blocks)
        for many, long in (*manner[1:], (numel, length)):
            while length < long and room(blocks, 2 * length):
                length *= 2
                yield _Stage(_depth(numel, length), blocks)
            while blocks < many and room(more := min(many, blocks + max(2, blocks // 4)), length):
                blocks = more
                yield _Stage(_depth(numel, length), blocks)
    yield _WHOLE


def _depth(numel: int, length: int) -> int:
    """c, where 2^c tiles are at most `length` long."""
    return (-(-numel // length) - 1).bit_length()


def _entries(numel: int, stage: _Stage) -> int:
    """At most so many; tiles differ by one entry at most."""
    return numel if stage == _WHOLE else stage.taken * -(-numel // (1 << stage.depth))


def _bytes(numel: int, stage: _Stage, cost: Cost) -> int:
    return cost.of(_entries(numel, stage), stage.taken)


def _place(name: str, numel: int, stage: _Stage, seed: int, manner: Manner) -> Sampled:
    if stage == _WHOLE:
        return Sampled(numel, np.array([[0, numel]], np.int64))
    finest = _depth(numel, manner[0][1])
    tiles = np.sort(scattered(name, seed, finest, stage.taken) >> (finest - stage.depth))
    return Sampled(numel, np.stack([tiles, tiles + 1], axis=1) * numel >> stage.depth)


def scattered(name: str, seed: int, depth: int, count: int) -> Array:
    """The first `count` of the 2^depth tiles of the tensor `name`, in the order of their visits: int64 [count].

    Source: Owen 1995, Randomly permuted (t, m, s)-nets and (t, s)-sequences, in one dimension and base 2.
    """
    digest = hashlib.sha256(f"{seed}\n{name}".encode()).digest()
    visited = np.zeros(count, np.int64)
    for level in range(
        depth
    ):  # every part has one visit; halve it, and send the next visits to the other half
        there = min(1 << level, count)
        random = np.random.default_rng([int.from_bytes(digest[:8]), int.from_bytes(digest[8:16]), level])
        half = (random.random(there) < 0.5).astype(np.int64)
        fresh = min(2 << level, count) - there if there == 1 << level else 0
        visited[there : there + fresh] = 2 * visited[:fresh] + 1 - half[:fresh]
        visited[:there] = 2 * visited[:there] + half
    return visited
