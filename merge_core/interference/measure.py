"""MergePlan → InterferenceReport, by walking the same pieces a merge would."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from merge_core.errors import UserError
from merge_core.interference.elections import ElectionTally
from merge_core.interference.levels import DENSITIES, LevelTable, measure_levels
from merge_core.interference.report import InterferenceReport, ModelNorm, PairAgreement, TensorInterference
from merge_core.interference.scope_levels import SortedLevels, TableLevels, any_ties, code_counts
from merge_core.kernels import gram, onset
from merge_core.methods import METHODS
from merge_core.network.layers import locate
from merge_core.plan import MergePlan, TensorPlan
from merge_core.progress import CancelCheck, Cancelled, Progress, ProgressCallback, seconds_left
from merge_core.recipe import Recipe
from merge_core.streaming.budget import Budget, divide
from merge_core.streaming.pieces import pieces_of
from merge_core.streaming.pool import Pool, cores, in_turn
from merge_core.streaming.vectors import VectorReader
from merge_core.trimming.known import WHOLE_MODEL, KnownThresholds
from merge_core.trimming.thresholds import SMALL_SCOPE

Array = np.ndarray[Any, np.dtype[Any]]

SORTED_ENTRIES = (
    SMALL_SCOPE  # a trim scope up to this size is ranked by sorting it: less to set up than tables
)


def inspectable(recipe: Recipe) -> Recipe:
    """The recipe whose trim is inspected: `recipe` itself, or TIES on the same models for a method that never trims.

    Raises:
        UserError: there is no base model to measure differences from.
    """
    if recipe.base is None:
        raise UserError(
            "base_model is missing: interference is a matter of task vectors, the differences from a base.",
            "Name the model that the others were fine-tuned from as `base_model`.",
        )
    if METHODS[recipe.method].trim is not None:
        return recipe
    models = tuple(
        replace(e, parameters={k: v for k, v in e.parameters.items() if k == "weight"}) for e in recipe.models
    )
    parameters = {k: v for k, v in recipe.parameters.items() if k == "weight"}
    return replace(recipe, method="ties", models=models, parameters=parameters)


@dataclass(frozen=True)
class _Tally:
    """What one tensor gave: onset counts [3, levels + 1]; products, same, both [models, models]; ‖θ0‖² [1, 1].

    `elections` where asked for.
    """

    onsets: Array
    products: Array
    base: Array
    same: Array
    both: Array
    elections: ElectionTally | None


def inspect(
    plan: MergePlan,
    *,
    progress: ProgressCallback | None = None,
    cancelled: CancelCheck | None = None,
    threads: int | None = None,
    memory: int = 1 << 30,
    known: Path | None = None,
    elections: bool = False,
) -> InterferenceReport:
    """Count, exactly and at every density of the grid, where the plan's task vectors meet and disagree.

    Args:
        plan: of a method that trims, see `inspectable`.
        progress: told how far it is, in entries.
        cancelled: asked now and then; once true, stops.
        threads: how many work at once; default one per core. Changes nothing in the report.
        memory: bytes that may be in use at once beyond the interpreter. Changes nothing in the report.
        known: a folder where trim thresholds are kept for later merges.
        elections: find out as well who is outvoted, see `TensorElections`. Takes several times as long.

    Raises:
        UserError: an input is damaged or holds values that are not finite.
        Cancelled: `cancelled` answered true.
    """
    budget = divide(memory, threads or cores(), len(plan.models) + 1)
    walk = _Walk(plan, progress, cancelled, budget, known, elections)
    try:
        tallies = walk.run()
        walk.known.save()
    finally:
        walk.pool.close()
    return _report(plan, walk.tensors, tallies)


class _Walk:
    """One inspection under way."""

    def __init__(
        self,
        plan: MergePlan,
        progress: ProgressCallback | None,
        cancelled: CancelCheck | None,
        budget: Budget,
        known: Path | None,
        elections: bool,
    ) -> None:
        self._plan = plan
        self._progress = progress
        self._cancelled = cancelled
        self._elections = elections
        self._started = time.monotonic()
        self._reader = VectorReader(plan, budget)
        self.known = KnownThresholds(known, plan)
        self.pool = Pool(budget.threads, self._tell)
        self.tensors = [(i, t) for i, t in enumerate(plan.tensors) if t.settings is not None]
        self._done = 0
        self._total = sum(t.numel for _, t in self.tensors)

    def run(self) -> list[_Tally]:
        """One tally per tensor."""
        if not self.tensors:
            return []
        rule = self._plan.trim(self.tensors[0][1])
        assert rule is not None
        if rule.scope == "tensor":
            # Largest first, so that no thread is left with a large one at the end.
            order = sorted(self.tensors, key=lambda numbered: -numbered[1].numel)
            found = dict(zip([i for i, _ in order], self.pool.each(self._by_tensor, order), strict=True))
            return [found[i] for i, _ in self.tensors]
        scope = [p for i, t in self.tensors if t.counted for p in pieces_of(i, t)]
        tables = measure_levels(rule, self._reader, scope, self.pool.each)
        self._learn(WHOLE_MODEL, tables)
        before = self._before(tables)
        return self.pool.each(
            lambda numbered: self._tally(numbered, TableLevels(tables, before[numbered[0]])), self.tensors
        )

    def _by_tensor(self, numbered: tuple[int, TensorPlan]) -> _Tally:
        number, tensor = numbered
        rule = self._plan.trim(tensor)
        assert rule is not None
        pieces = pieces_of(number, tensor)
        if tensor.numel <= SORTED_ENTRIES:
            vectors = [c.vectors.copy() for p in pieces for c in self._reader.chunks(p)]
            models = len(tensor.sources)
            whole = np.concatenate(vectors, axis=1) if vectors else np.zeros((models, 0), np.float32)
            return self._tally(numbered, SortedLevels(rule, whole))
        tables = measure_levels(rule, self._reader, pieces, in_turn)
        self._learn(number, tables)
        return self._tally(numbered, TableLevels(tables, None))

    def _learn(self, scope: int, tables: Sequence[LevelTable]) -> None:
        for m, table in enumerate(tables):
            self.known.add(m, scope, table.thresholds)

    def _before(self, tables: Sequence[LevelTable]) -> dict[int, Array | None]:
        """Tensor → entries by code in the tensors before it, int64 [models, CODES]; None where no magnitude is cut."""
        if not any_ties(tables):
            return {number: None for number, _ in self.tensors}

        def count(numbered: tuple[int, TensorPlan]) -> Array:
            found = [code_counts(tables, self._reader, p) for p in pieces_of(*numbered)]
            return np.asarray(np.sum(found, axis=0))

        counted = [numbered for numbered in self.tensors if numbered[1].counted]
        before: dict[int, Array | None] = {}
        running = np.zeros((len(tables), onset.CODES), np.int64)
        for (number, _), counts in zip(counted, self.pool.each(count, counted), strict=True):
            before[number] = running.copy()
            running += counts
        numbers = {t.name: i for i, t in self.tensors}
        before |= {i: before[numbers[t.repeats]] for i, t in self.tensors if t.repeats is not None}
        return before

    def _tally(self, numbered: tuple[int, TensorPlan], levels: TableLevels | SortedLevels) -> _Tally:
        number, tensor = numbered
        models = len(tensor.sources)
        rule = self._plan.trim(tensor)
        assert rule is not None
        sign = rule.voting.sign
        tally = _Tally(
            onsets=np.zeros((3, onset.NEVER + 1), np.int64),
            products=np.zeros((models, models)),
            base=np.zeros((1, 1)),
            same=np.zeros((models, models), np.int64),
            both=np.zeros((models, models), np.int64),
            elections=ElectionTally(models) if self._elections else None,
        )
        nothing = np.zeros((1, 1), np.int64)
        for piece in pieces_of(number, tensor):
            for chunk in self._reader.chunks(piece):
                assert chunk.base is not None
                level = levels.of(chunk.vectors, sign)
                onset.count_onsets(level, chunk.vectors, sign, tally.onsets)
                gram.gram(chunk.vectors, tally.products, tally.same, tally.both)
                gram.gram(chunk.base[None], tally.base, nothing, nothing)
                if tally.elections is not None:
                    tally.elections.add(level, chunk.vectors, sign)
            if self._cancelled is not None and self._cancelled():
                raise Cancelled
        self._done += tensor.numel
        return tally

    def _tell(self) -> None:
        if self._cancelled is not None and self._cancelled():
            raise Cancelled
        if self._progress is not None:
            eta = seconds_left(self._done, self._total, time.monotonic() - self._started)
            self._progress(Progress(self._done, self._total, "comparing the task vectors", eta))


def _report(
    plan: MergePlan, tensors: Sequence[tuple[int, TensorPlan]], tallies: Sequence[_Tally]
) -> InterferenceReport:
    rows = []
    pairs_of = [(min(a, b), max(a, b)) for x, a in enumerate(plan.listed) for b in plan.listed[x + 1 :]]
    for (_, tensor), tally in zip(tensors, tallies, strict=True):
        place = locate(tensor.name)
        touched, contested, conflicted = (
            tuple(np.cumsum(row[: onset.NEVER]).tolist()) for row in tally.onsets
        )
        rows.append(
            TensorInterference(
                tensor.name,
                place.layer,
                place.module,
                place.stack,
                tensor.numel,
                touched,
                contested,
                conflicted,
                energy=tuple(float(tally.products[m, m]) for m in plan.listed),
                base_energy=float(tally.base[0, 0]),
                inner=tuple(float(tally.products[pair]) for pair in pairs_of),
                same=tuple(int(tally.same[pair]) for pair in pairs_of),
                both=tuple(int(tally.both[pair]) for pair in pairs_of),
                elections=None if tally.elections is None else tally.elections.told(plan.listed),
            )
        )
    models = len(plan.models)
    counted = [t for (_, tensor), t in zip(tensors, tallies, strict=True) if tensor.counted]
    size = models
    products = np.array(
        [[math.fsum(t.products[a, b] for t in counted) for b in range(size)] for a in range(size)], np.float64
    )
    same = sum((t.same for t in counted), np.zeros((size, size), np.int64))
    both = sum((t.both for t in counted), np.zeros((size, size), np.int64))
    norms = np.sqrt(np.diag(products))
    pairs = []
    for x, a in enumerate(plan.listed):
        for b in plan.listed[x + 1 :]:
            low, high = min(a, b), max(a, b)
            length = float(norms[a] * norms[b])
            cosine = max(-1.0, min(1.0, float(products[low, high]) / length)) if length > 0 else None
            agreement = int(same[low, high]) / int(both[low, high]) if both[low, high] else None
            pairs.append(PairAgreement(plan.names[a], plan.names[b], cosine, agreement))
    base = math.sqrt(math.fsum(t.base[0, 0] for t in counted))
    return InterferenceReport(
        models=tuple(plan.names[m] for m in plan.listed),
        density=DENSITIES,
        tensors=tuple(rows),
        pairs=tuple(pairs),
        norms=tuple(
            ModelNorm(plan.names[m], float(norms[m]), float(norms[m]) / base if base > 0 else None)
            for m in plan.listed
        ),
    )
