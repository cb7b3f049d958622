"""One tensor of a plan, looked at block by block: which heads, which rows do the models pull apart?"""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from merge_core.engine.traffic import share_memory
from merge_core.errors import UserError
from merge_core.interference.blocks import Block, Blocks, blocks_of
from merge_core.interference.known_levels import known_tables
from merge_core.interference.levels import DENSITIES, LevelTables, measure_levels, table_bytes
from merge_core.interference.scope_levels import TableLevels, count_ties, tie_patterns
from merge_core.kernels.blocks import count_blocks
from merge_core.kernels.onset import NEVER
from merge_core.methods.trimming import TrimRule
from merge_core.plan import MergePlan, TensorPlan
from merge_core.progress import CancelCheck, Cancelled, Progress, ProgressCallback, seconds_left
from merge_core.streaming.budget import MEMORY
from merge_core.streaming.inputs import Inputs
from merge_core.streaming.pieces import CHUNK, PIECE, Piece, pieces_of
from merge_core.streaming.pool import Pool, cores
from merge_core.streaming.vectors import VectorReader
from merge_core.trimming.known import WHOLE_MODEL, KnownThresholds

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class BlockCounts:
    """What `TensorInterference` counts, for every block of one tensor.

    Args:
        tensor, shape: which.
        models: in the recipe's order.
        density: the grid.
        blocks: how the tensor is cut.
        numel: entries of each block.
        touched, contested, conflicted: [blocks][densities].
        kept: [blocks][models][densities], survivors of each model's trim.
    """

    tensor: str
    shape: tuple[int, ...]
    models: tuple[str, ...]
    density: tuple[float, ...]
    blocks: Blocks
    numel: tuple[int, ...]
    touched: tuple[tuple[int, ...], ...]
    contested: tuple[tuple[int, ...], ...]
    conflicted: tuple[tuple[int, ...], ...]
    kept: tuple[tuple[tuple[int, ...], ...], ...]

    def to_json(self) -> dict[str, Any]:
        """As plain data for `json.dumps`: what it says of each block stands in one row."""
        return {
            "tensor": self.tensor,
            "shape": list(self.shape),
            "models": list(self.models),
            "density": list(self.density),
            "axis": "columns" if self.blocks.axis else "rows",
            "kind": self.blocks.kind,
            "note": self.blocks.note,
            "blocks": [
                {
                    **vars(block),
                    "numel": self.numel[number],
                    "touched": list(self.touched[number]),
                    "contested": list(self.contested[number]),
                    "conflicted": list(self.conflicted[number]),
                    "kept": [list(row) for row in self.kept[number]],
                }
                for number, block in enumerate(self.blocks.blocks)
            ],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> BlockCounts:
        """What `to_json` wrote.

        Raises:
            UserError: `data` is nothing of the kind.
        """
        try:
            rows = data["blocks"]
            blocks = tuple(Block(r["label"], r["group"], r["start"], r["stop"]) for r in rows)
            return cls(
                data["tensor"],
                tuple(data["shape"]),
                tuple(data["models"]),
                tuple(data["density"]),
                Blocks(int(data["axis"] == "columns"), data["kind"], blocks, data["note"]),
                tuple(r["numel"] for r in rows),
                tuple(tuple(r["touched"]) for r in rows),
                tuple(tuple(r["contested"]) for r in rows),
                tuple(tuple(r["conflicted"]) for r in rows),
                tuple(tuple(tuple(row) for row in r["kept"]) for r in rows),
            )
        except (KeyError, TypeError) as error:
            raise UserError(
                f"These are no counts of a tensor's blocks: {error}.", "Make them with `inspect --tensor`."
            ) from None


def find_tensor(plan: MergePlan, name: str) -> int:
    """The number of the plan's tensor called `name`, whose task vectors can be inspected.

    Raises:
        UserError: there is none.
    """
    numbers = {t.name: i for i, t in enumerate(plan.tensors)}
    if name not in numbers:
        near = difflib.get_close_matches(name, numbers, 1, 0.4)
        hint = f"The nearest is {near[0]}." if near else "`inspect --json` lists the tensors."
        raise UserError(f"{plan.template.ref} has no tensor {name[:200]!r}.", hint)
    if plan.tensors[numbers[name]].settings is None:
        raise UserError(f"{name} is copied from the base and not merged.", "Choose another tensor.")
    return numbers[name]


def cut_of(plan: MergePlan, number: int) -> Blocks:
    """How the plan's tensor of that number is cut into blocks."""
    shapes = {name: spec.shape for name, spec in plan.template.specs.items()}
    return blocks_of(plan.tensors[number].name, shapes, plan.template.config)


def inspect_blocks(
    plan: MergePlan,
    name: str,
    *,
    progress: ProgressCallback | None = None,
    cancelled: CancelCheck | None = None,
    threads: int | None = None,
    memory: int = MEMORY,
    known: Path | None = None,
) -> BlockCounts:
    """Count, exactly and at every density of the grid, where task vectors meet in each block of one tensor.

    Only what the answer depends on is read: the tensor, and where the trim ranks the whole model what else decides its
    thresholds, unless these are known.

    Args:
        plan: of a method that trims, see `inspectable`.
        name: the tensor.
        progress, cancelled, threads, memory: as for `inspect`.
        known: a folder where trim thresholds are looked up and kept.

    Raises:
        UserError: there is no such tensor, an input is damaged or holds values that are not finite.
        Cancelled: `cancelled` answered true.
    """
    number = find_tensor(plan, name)
    walk = _Walk(plan, number, progress, cancelled, threads or cores(), memory, known)
    try:
        counts, kept = walk.run()
    finally:
        walk.close()
    tensor, cut = plan.tensors[number], walk.cut
    size = tensor.numel // max(1, tensor.shape[cut.axis]) if tensor.shape else 1
    touched, contested, conflicted = np.cumsum(counts[:, :, :NEVER], axis=2).swapaxes(0, 1)
    survivors = np.cumsum(kept[:, plan.listed, :NEVER], axis=2)
    return BlockCounts(
        name,
        tensor.shape,
        tuple(plan.names[m] for m in plan.listed),
        DENSITIES,
        cut,
        tuple((block.stop - block.start) * size for block in cut.blocks),
        tuple(tuple(row) for row in touched.tolist()),
        tuple(tuple(row) for row in contested.tolist()),
        tuple(tuple(row) for row in conflicted.tolist()),
        tuple(tuple(tuple(row) for row in block) for block in survivors.tolist()),
    )


class _Walk:
    """One such count under way."""

    def __init__(
        self,
        plan: MergePlan,
        number: int,
        progress: ProgressCallback | None,
        cancelled: CancelCheck | None,
        threads: int,
        memory: int,
        known: Path | None,
    ) -> None:
        self._plan, self._number, self._tensor = plan, number, plan.tensors[number]
        self.cut = cut_of(plan, number)
        self._progress, self._cancelled = progress, cancelled
        budget, _ = share_memory(plan, memory, threads, table_bytes(len(plan.models)))
        self._inputs = Inputs(plan)
        self._reader = VectorReader(plan, budget, self._inputs)
        self._known = KnownThresholds(known, plan)
        self._pool = Pool(budget.threads, self._tell)
        self._parts = _parts(number, self._tensor, budget.threads)
        self._started = time.monotonic()
        self._done, self._total = 0, 2 * self._tensor.numel

    def close(self) -> None:
        """End the threads."""
        self._pool.close()

    def run(self) -> tuple[Array, Array]:
        """(onsets int64 [blocks, 3, NEVER + 1], levels int64 [blocks, models, NEVER + 1])."""
        rule = self._tensor.trim
        assert rule is not None
        tables = self._tables(rule)
        stretches = self._each(
            lambda part: count_ties(tables, self._reader, [part], self._tensor.numel), self._parts
        )
        before = accumulate(
            (found.counts.sum(axis=0, dtype=np.int64) for found in stretches),
            initial=self._before(rule, tables),
        )
        levels_of = {
            part: TableLevels(tables, found, come)
            for part, found, come in zip(self._parts, stretches, before, strict=False)
        }
        blocks, models = len(self.cut.blocks), len(self._plan.models)

        def count(part: Piece) -> tuple[Array, Array]:
            onsets = np.zeros((blocks, 3, NEVER + 1), np.int64)
            kept = np.zeros((blocks, models, NEVER + 1), np.int64)
            levels = levels_of[part]
            for chunk in self._reader.chunks(part):
                level = levels.of(chunk.vectors, rule.voting.sign)
                own = self._block_of(chunk.start, chunk.vectors.shape[1])
                count_blocks(level, chunk.vectors, rule.voting.sign, own, onsets, kept)
            return onsets, kept

        found = self._each(count, self._parts)
        self._inputs.require_unchanged()
        return sum(onsets for onsets, _ in found), sum(kept for _, kept in found)

    def _tables(self, rule: TrimRule) -> LevelTables:
        """What levels are looked up in, from known thresholds if all are."""
        whole = rule.scope == "model"
        scope = [p for i, t in self._merged() for p in pieces_of(i, t)] if whole else self._parts
        place = WHOLE_MODEL if whole else self._number
        entries = sum(p.size for p in scope)
        tables = known_tables(rule, self._known, place, entries)
        if tables is None:
            self._total += 2 * entries
            tables = measure_levels(rule, self._reader, scope, self._each)
            for m, thresholds in enumerate(tables.thresholds):
                self._known.add(m, place, thresholds)
            self._inputs.require_unchanged()
            self._known.save()
            self._done = 2 * entries  # few need the second pass
        return tables

    def _before(self, rule: TrimRule, tables: LevelTables) -> Array:
        """Entries of each tie in what comes before the tensor in the scope: int64 [models, ties]."""
        nothing = np.zeros(tie_patterns(tables).shape, np.int64)
        if rule.scope != "model" or not any(tables.ties):
            return nothing
        number = self._number
        if self._tensor.repeats is not None:  # it survives as the tensor that it repeats
            number = find_tensor(self._plan, self._tensor.repeats)
        pieces = [p for i, t in self._merged() if i < number for p in pieces_of(i, t)]
        self._total += sum(piece.size for piece in pieces)
        found = self._each(
            lambda p: count_ties(tables, self._reader, [p], p.size).counts.sum(axis=0, dtype=np.int64), pieces
        )
        return sum(found, nothing)

    def _merged(self) -> list[tuple[int, TensorPlan]]:
        """The tensors of a trim over the whole model, with their numbers."""
        return [(i, t) for i, t in enumerate(self._plan.tensors) if t.settings is not None and t.counted]

    def _block_of(self, start: int, size: int) -> Array:
        """The block of each of `size` entries of the tensor from `start` on: int64 [size]."""
        edges = np.array([block.stop for block in self.cut.blocks[:-1]], np.int64)
        shape = self._tensor.shape or (1,)
        row = max(1, self._tensor.numel // max(1, shape[0]))
        at = np.arange(start, start + size, dtype=np.int64)
        return np.searchsorted(edges, at % row if self.cut.axis else at // row, side="right")

    def _each(self, function: Callable[[Any], Any], pieces: Sequence[Piece]) -> list[Any]:
        """As `Pool.each`, telling how far it is."""

        def told(piece: Piece) -> Any:
            self._tell()
            found = function(piece)
            self._done += piece.size
            return found

        return self._pool.each(told, pieces)

    def _tell(self) -> None:
        if self._cancelled is not None and self._cancelled():
            raise Cancelled
        if self._progress is not None:
            eta = seconds_left(self._done, self._total, time.monotonic() - self._started)
            self._progress(Progress(self._done, self._total, f"counting {self._tensor.name}", eta))


def _parts(number: int, tensor: TensorPlan, threads: int) -> list[Piece]:
    """The tensor in about as many parts as there are threads, or more where these would be large."""
    size = min(PIECE, max(1, -(-tensor.numel // (threads * CHUNK))) * CHUNK)
    starts = range(0, max(tensor.numel, 1), size)
    return [Piece(number, start, min(start + size, tensor.numel)) for start in starts]
