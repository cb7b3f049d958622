"""MergePlan → InterferenceReport, by walking the same pieces a merge would."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from merge_core.engine.traffic import share_memory
from merge_core.errors import UserError
from merge_core.interference.elections import ballots_of, moments_of
from merge_core.interference.levels import LevelTables, measure_levels, scope_bytes, table_bytes
from merge_core.interference.report import InterferenceReport
from merge_core.interference.report_of_tallies import report_of
from merge_core.interference.scope_levels import SortedLevels, TableLevels, count_ties, tie_patterns
from merge_core.interference.stretches import Milestones, Stretches, unknown
from merge_core.kernels.elections import NO_ELECTION, Ballots
from merge_core.kernels.tally import Tally, new_tally, scan_tally
from merge_core.methods import METHODS
from merge_core.plan import MergePlan, TensorPlan
from merge_core.progress import CancelCheck, Cancelled, Progress, ProgressCallback, seconds_left
from merge_core.recipe import Recipe
from merge_core.streaming.budget import MEMORY, Budget
from merge_core.streaming.counters import BEFORE_FOLDING
from merge_core.streaming.inputs import QUIET, Inputs
from merge_core.streaming.order import reading_order
from merge_core.streaming.pieces import Piece, pieces_of
from merge_core.streaming.pool import Pool, cores, in_turn
from merge_core.streaming.vectors import VectorReader
from merge_core.trimming.known import WHOLE_MODEL, KnownThresholds
from merge_core.trimming.thresholds import SMALL_SCOPE

Array = np.ndarray[Any, np.dtype[Any]]
Begin = Callable[[], TableLevels | SortedLevels]  # a tensor's levels, from its first span on

# A trim scope up to this size is ranked by sorting it: less to set up than tables.
SORTED_ENTRIES = SMALL_SCOPE


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


def inspect(
    plan: MergePlan,
    *,
    progress: ProgressCallback | None = None,
    cancelled: CancelCheck | None = None,
    threads: int | None = None,
    memory: int = MEMORY,
    known: Path | None = None,
    elections: bool = False,
) -> InterferenceReport:
    """Count, exactly and at every density of the grid, where the plan's task vectors meet and disagree.

    Args:
        plan: of a method that trims, see `inspectable`; its models may be on the Hub, see `checkpoint.Streamed`.
        progress: told how far it is, in entries.
        cancelled: asked now and then; once true, stops.
        threads: how many work at once; default one per core. Changes nothing in the report.
        memory: bytes that may be in use at once beyond the interpreter. Changes nothing in the report.
        known: a folder where trim thresholds are kept for later merges.
        elections: find out as well who is outvoted, see `TensorElections`. Takes several times as long.

    Raises:
        UserError: an input is damaged, is written to meanwhile, or holds values that are not finite.
        Cancelled: `cancelled` answered true.
    """
    tables = table_bytes(len(plan.models))
    if any(tensor.trim is not None and tensor.trim.scope == "model" for tensor in plan.tensors):
        memory -= scope_bytes(len(plan.models), len(plan.tensors))
    budget, room = share_memory(plan, memory, threads or cores(), tables)
    walk = _Walk(plan, progress, cancelled, budget, room, known, elections)
    try:
        tallies = walk.run()
        walk.inputs.require_unchanged()
        walk.known.save()
    finally:
        walk.inputs.close()
        walk.pool.close()
    return report_of(plan, [tensor for _, tensor in walk.tensors], tallies)


class _Walk:
    """One inspection under way."""

    def __init__(
        self,
        plan: MergePlan,
        progress: ProgressCallback | None,
        cancelled: CancelCheck | None,
        budget: Budget,
        room: int,
        known: Path | None,
        elections: bool,
    ) -> None:
        self._plan = plan
        self._progress = progress
        self._cancelled = cancelled
        self._elections = elections
        self._started = time.monotonic()
        self.inputs = Inputs(plan, room, self._stopped)
        self._reader = VectorReader(plan, budget, self.inputs)
        self.known = KnownThresholds(known, plan)
        # What is read from the Hub comes in an order, which one thread keeps to.
        self.pool = Pool(1 if self.inputs.streamed else budget.threads, self._tell)
        self.tensors = [(i, t) for i, t in enumerate(plan.tensors) if t.settings is not None]
        self._done = 0
        self._total = sum(t.numel * (2 if self._votes_late(t) else 1) for _, t in self.tensors)

    def run(self) -> list[Tally]:
        """One tally per tensor."""
        if not self.tensors:
            return []
        rule = self.tensors[0][1].trim
        assert rule is not None
        if rule.scope == "tensor":
            if self.inputs.streamed:
                order = [(number, self._plan.tensors[number]) for number in reading_order(self._plan)]
            else:  # largest first, so that no thread is left with a large one at the end
                order = sorted(self.tensors, key=lambda numbered: -numbered[1].numel)
            tallies = self.pool.watch(lambda at: self._by_tensor(order, at), range(len(order)))
            found = dict(zip([i for i, _ in order], tallies, strict=True))
            return [found[i] for i, _ in self.tensors]
        scope = [p for i, t in self.tensors if t.counted for p in pieces_of(i, t)]
        if self.inputs.streamed:
            self.inputs.hold([p for i, t in self.tensors for p in pieces_of(i, t)])
            (tables,) = self.pool.watch(lambda s: measure_levels(rule, self._reader, s, self._sweep), [scope])
        else:
            tables = measure_levels(rule, self._reader, scope, self.pool.each)
        self._learn(WHOLE_MODEL, tables)
        return self._over_model(tables)

    def _sweep(self, function: Any, pieces: Sequence[Piece]) -> list[Any]:
        """As `in_turn`, for pieces that may have to be fetched, in that order."""
        self.inputs.expect(pieces)
        return in_turn(function, pieces)

    def _by_tensor(self, order: Sequence[tuple[int, TensorPlan]], at: int) -> Tally:
        numbered = number, tensor = order[at]
        rule = tensor.trim
        assert rule is not None
        pieces = pieces_of(number, tensor)
        self.inputs.hold(pieces, (pieces_of(i, t) for i, t in order[at + 1 :]))
        if tensor.numel <= SORTED_ENTRIES:
            self.inputs.expect(pieces)
            vectors = [c.vectors.copy() for p in pieces for c in self._reader.chunks(p)]
            nothing = np.zeros((len(tensor.sources), 0), np.float32)
            levels = SortedLevels(rule, np.concatenate([nothing, *vectors], axis=1))
            return self._elected(numbered, lambda: levels)
        milestones = Milestones(tensor.numel) if tensor.numel < BEFORE_FOLDING else None
        tables = measure_levels(rule, self._reader, pieces, self._sweep, milestones)
        self._learn(number, tables)
        patterns = tie_patterns(tables)
        stretches = milestones.stretches(patterns) if milestones else unknown(patterns.shape)
        return self._elected(numbered, lambda: TableLevels(tables, stretches))

    def _learn(self, scope: int, found: LevelTables) -> None:
        for m, thresholds in enumerate(found.thresholds):
            self.known.add(m, scope, thresholds)

    def _over_model(self, tables: LevelTables) -> list[Tally]:
        """One tally per tensor, where ties are dealt out over the whole model: each tensor's are counted first."""

        counted = [numbered for numbered in self.tensors if numbered[1].counted]
        entries = sum(tensor.numel for _, tensor in counted)

        def count(numbered: tuple[int, TensorPlan]) -> Stretches:
            pieces = pieces_of(*numbered)
            self.inputs.expect(pieces)
            return count_ties(tables, self._reader, pieces, entries)

        stretches = self.pool.each(count, counted)
        totals = np.array([found.counts.sum(axis=0, dtype=np.int64) for found in stretches])
        before = np.cumsum(totals, axis=0) - totals
        place = {tensor.name: at for at, (_, tensor) in enumerate(counted)}

        def levels_of(tensor: TensorPlan) -> TableLevels:
            at = place[tensor.repeats or tensor.name]
            return TableLevels(tables, stretches[at], before[at])

        def tally(numbered: tuple[int, TensorPlan]) -> Tally:
            return self._tally(numbered, levels_of(numbered[1]), None)

        tallies = self.pool.each(tally, self.tensors)
        if self._votes_late(self.tensors[0][1]):
            moments = moments_of(
                [t for (_, own), t in zip(self.tensors, tallies, strict=True) if own.counted]
            )

            def elect(at: int) -> Tally:
                return self._elect(self.tensors[at], levels_of(self.tensors[at][1]), tallies[at], moments)

            tallies = self.pool.each(elect, range(len(self.tensors)))
        return tallies

    def _elected(self, numbered: tuple[int, TensorPlan], begin: Begin) -> Tally:
        """The tally of a tensor that is a trim scope by itself."""
        tally = self._tally(numbered, begin(), None)
        if self._votes_late(numbered[1]):
            tally = self._elect(numbered, begin(), tally, moments_of([tally]))
        return tally

    def _elect(
        self,
        numbered: tuple[int, TensorPlan],
        levels: TableLevels | SortedLevels,
        tally: Tally,
        moments: Array,
    ) -> Tally:
        """The tally with elections that could be held only once the scope's `moments` were known."""
        rule = numbered[1].trim
        assert rule is not None
        held = self._tally(numbered, levels, ballots_of(rule.voting, moments))
        return tally._replace(fates=held.fates, elected=held.elected)

    def _votes_late(self, tensor: TensorPlan) -> bool:
        """Whether elections are asked for that need to know what the trim leaves of the scope."""
        rule = tensor.trim
        return self._elections and rule is not None and rule.voting.asks_moments

    def _tally(
        self, numbered: tuple[int, TensorPlan], levels: TableLevels | SortedLevels, ballots: Ballots | None
    ) -> Tally:
        """One sweep over a tensor; `ballots` None: those that can be told now, if any are asked for."""
        number, tensor = numbered
        rule = tensor.trim
        assert rule is not None
        tally = new_tally(len(tensor.sources), self._elections)
        if ballots is None:
            now = self._elections and not rule.voting.asks_moments
            ballots = ballots_of(rule.voting, moments_of([tally])) if now else NO_ELECTION
        pieces = pieces_of(number, tensor)
        self.inputs.expect(pieces)
        spans = (span for piece in pieces for span in self._reader.spans(piece))
        for span in spans:
            assert span.based
            where = (span.address, span.stored, span.start, span.stop)
            top = scan_tally(*where, rule.voting.sign, *levels.told(span), ballots, tally)
            self._reader.require_finite(top, number, span.start, span.stop)
            if self._stopped():
                raise Cancelled
        self._done += tensor.numel
        return tally

    def _stopped(self) -> bool:
        return self.pool.stop.is_set() or (self._cancelled is not None and self._cancelled())

    def _tell(self) -> None:
        if self._stopped():
            raise Cancelled
        if self._progress is not None:
            eta = seconds_left(self._done, self._total, time.monotonic() - self._started)
            message = "waiting for the Hub" if self.inputs.waited > QUIET else "comparing the task vectors"
            self._progress(Progress(self._done, self._total, message, eta))
