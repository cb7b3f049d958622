"""MergePlan → a model folder: read, compute and write, piece by piece, on all cores, in bounded memory.

The engine knows one shape of work. Where a method trims, thresholds are measured over a tensor or over the whole model;
then every piece is combined on its own. It never asks which method it runs.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from merge_core.engine.combine import Combiner
from merge_core.engine.companions import companion_files
from merge_core.engine.output import OutputFolder
from merge_core.engine.result import MergeResult
from merge_core.engine.traffic import narrow, share_memory
from merge_core.methods.trimming import Trimmed, TrimRule
from merge_core.plan import FLOATS, MergePlan, TensorPlan
from merge_core.progress import CancelCheck, Cancelled, Progress, ProgressCallback, seconds_left
from merge_core.streaming.budget import MEMORY, Budget
from merge_core.streaming.inputs import QUIET, Inputs
from merge_core.streaming.order import reading_order
from merge_core.streaming.pieces import Piece, pieces_of
from merge_core.streaming.pool import Pool, cores, in_turn
from merge_core.streaming.vectors import VectorReader
from merge_core.trimming.guess import Counted, guess_thresholds, guessed_chunks, settle, vote_by_guess
from merge_core.trimming.known import WHOLE_MODEL, KnownThresholds
from merge_core.trimming.thresholds import Ranking
from merge_core.trimming.trim import ScopeTrim, measure_trim, segments_of

Array = np.ndarray[Any, np.dtype[Any]]


def merge(
    plan: MergePlan,
    out: Path,
    *,
    progress: ProgressCallback | None = None,
    cancelled: CancelCheck | None = None,
    threads: int | None = None,
    memory: int = MEMORY,
    extra_files: Sequence[tuple[str, bytes]] = (),
    known: Path | None = None,
    device: str = "cpu",
) -> MergeResult:
    """Merge into the folder `out`, which appears only when complete.

    Args:
        plan: what to merge.
        out: the folder; must not exist, or be empty.
        progress: told a few times a second how far the merge is, in entries.
        cancelled: asked between chunks; once true, the merge stops and leaves nothing.
        threads: how many work at once; default one per core. Changes no byte of the result.
        memory: bytes that may be in use at once beyond the interpreter. Changes no byte of the result.
        extra_files: (name, content) of files to add, such as a model card.
        known: a folder where trim thresholds are kept from one merge or inspection to the next. Changes no byte.
        device: what computes: "cpu", or a device of torch such as "cuda", which may round the last place otherwise.

    Raises:
        UserError: an input is damaged or holds values that are not finite, a result does not fit the output dtype, the
            folder is occupied, or the disk is full. Nothing is left behind.
        TryAgain: the Hub, from which weights are read, is out of reach. What is finished is left for the next run.
        Cancelled: `cancelled` answered true. Nothing is left behind.
    """
    started = time.monotonic()
    with OutputFolder(Path(out), plan).open() as output:
        work = _Work(plan, output, progress, cancelled, threads or cores(), memory, known, device)
        resumed = work.finished / max(work.total, 1)
        work.run()
        work.require_unchanged()
        work.save()
        output.complete([*companion_files(plan), *extra_files])
    return MergeResult(Path(out), plan.bytes_out, time.monotonic() - started, resumed, *work.from_hub)


class _Work:
    """One run of a merge: what is left to do, and how far it is."""

    def __init__(
        self,
        plan: MergePlan,
        output: OutputFolder,
        progress: ProgressCallback | None,
        cancelled: CancelCheck | None,
        threads: int,
        memory: int,
        known: Path | None,
        device: str,
    ) -> None:
        self._plan = plan
        self._output = output
        self._progress = progress
        self._cancelled = cancelled
        self._started = time.monotonic()
        self._told = 0.0
        self._message = "starting"
        self._count_lock = threading.Lock()
        pieces = [p for number, tensor in enumerate(plan.tensors) for p in pieces_of(number, tensor)]
        # A piece is measured and then combined; together both halves of the work make its entries' worth of progress.
        self.total = sum(p.size for p in pieces)
        self.finished = sum(p.size for p in pieces if p in output.done)
        self._at_start = self.finished
        self._done = set(output.done)
        budget, room = share_memory(plan, memory, threads)
        self._inputs = Inputs(plan, room, self._stopped)
        self._reader = _reader(plan, self._inputs, budget, device)
        self._known = KnownThresholds(known, plan)
        self._combiner = Combiner(plan, output, self._reader.largest_chunk, self._check)
        self._pool = Pool(budget.threads, self._check if self._inputs.streamed else self._tell)

    def run(self) -> None:
        """Do everything that is not done yet."""
        try:
            merged = [(i, t) for i, t in enumerate(self._plan.tensors) if t.settings is not None]
            copied = [(i, t) for i, t in enumerate(self._plan.tensors) if t.settings is None]
            self._pool.each(self._copy, self._left([p for i, t in copied for p in pieces_of(i, t)]))
            whole = [(i, t) for i, t in merged if t.trim is not None and t.trim.scope == "model"]
            if self._inputs.streamed:
                self._merge_streamed([whole] if whole else [[each] for each in merged], bool(whole))
            elif whole:
                self._merge_whole_model(whole, self._pool.each)
            else:
                self._merge_by_tensor(merged)
            self._tell()
        finally:
            self._inputs.close()
            self._pool.close()

    @property
    def from_hub(self) -> tuple[int, tuple[int, int]]:
        """`MergeResult.streamed` and `checked`."""
        return self._inputs.fetched, self._inputs.checked

    def require_unchanged(self) -> None:
        """Make sure that no input was written to meanwhile.

        Raises:
            UserError: one was.
        """
        self._inputs.require_unchanged()

    def save(self) -> None:
        """Keep what was measured."""
        self._known.save()

    def _merge_streamed(self, scopes: list[list[tuple[int, TensorPlan]]], whole: bool) -> None:
        """One trim scope at a time, as the files lie: the network takes the time, and a scope the memory."""
        turns = {number: turn for turn, number in enumerate(reading_order(self._plan))}
        scopes = sorted(scopes, key=lambda scope: min(turns[i] for i, _ in scope))
        left = [s for s in scopes if self._left([p for i, t in s for p in pieces_of(i, t)])]

        def merge_scope(at: int) -> None:
            scopes = (_in_turn_of([p for i, t in s for p in pieces_of(i, t)], turns) for s in left[at:])
            each = self._pool.each if self._inputs.hold(next(scopes), scopes) else partial(self._sweep, turns)
            if whole:
                self._merge_whole_model(left[at], each)
            else:
                self._merge_tensor(left[at][0][0], each)

        walker = Pool(1, self._tell)  # so that this thread can tell how far it is, and hear of a cancellation
        try:
            walker.watch(merge_scope, range(len(left)))
        finally:
            walker.close()

    def _sweep(self, turns: Mapping[int, int], function: Any, pieces: Sequence[Piece]) -> list[Any]:
        """As `Pool.each`, for pieces that have no room together: in their tensors' turns, and fetched in that order."""
        ordered = _in_turn_of(pieces, turns)
        self._inputs.expect(ordered)
        found = {}
        for piece in ordered:
            self._check()
            found[piece] = function(piece)
        return [found[piece] for piece in pieces]

    def _merge_whole_model(self, tensors: list[tuple[int, TensorPlan]], each: Any) -> None:
        rule = tensors[0][1].trim
        assert rule is not None
        scope = [p for i, t in tensors if t.counted for p in pieces_of(i, t)]
        pieces = [p for i, t in tensors for p in pieces_of(i, t)]
        if self._left(pieces):
            self._message = "ranking magnitudes over the whole model"
            trim = self._trim(rule, scope, each, WHOLE_MODEL)
            trim.before.update(self._tied_copies(tensors, trim))
            each(lambda p: self._combine(p, trim), self._left(pieces))

    def _tied_copies(self, tensors: list[tuple[int, TensorPlan]], trim: ScopeTrim) -> dict[Piece, list[int]]:
        """A stored copy of a tied tensor is cut where the tensor it copies is."""
        numbers = {t.name: i for i, t in tensors}
        return {
            piece: trim.before[replace(piece, tensor=numbers[tensor.repeats])]
            for i, tensor in tensors
            if tensor.repeats is not None
            for piece in pieces_of(i, tensor)
        }

    def _merge_by_tensor(self, tensors: list[tuple[int, TensorPlan]]) -> None:
        """Tensors that would keep one thread busy for too long by all; the others a thread each, largest first."""
        share = sum(t.numel for _, t in tensors) // (2 * self._reader.budget.threads)
        for number, tensor in tensors:
            if tensor.numel > share:
                self._merge_tensor(number, self._pool.each)
        rest = sorted((t.numel, -i) for i, t in tensors if t.numel <= share)
        self._pool.each(lambda i: self._merge_tensor(i, in_turn), [-i for _, i in reversed(rest)])

    def _merge_tensor(self, number: int, each: Any) -> None:
        tensor = self._plan.tensors[number]
        pieces = pieces_of(number, tensor)
        if not self._left(pieces):
            return
        rule = tensor.trim
        trim = None if rule is None else self._trim(rule, pieces, each, number)
        each(lambda p: self._combine(p, trim), self._left(pieces))

    def _left(self, pieces: Sequence[Piece]) -> list[Piece]:
        return [p for p in pieces if p not in self._done]

    def _trim(self, rule: TrimRule, pieces: Sequence[Piece], each: Any, scope: int) -> ScopeTrim:
        """What the trim leaves of a scope; measuring it may have merged all of the scope's pieces on the way."""
        # What is known would have equals counted before the merge, a reading more than a guess takes.
        tensors = [self._plan.tensors[piece.tensor] for piece in pieces]
        guess = not self._inputs.held and narrow(self._plan, tensors)
        known = KnownThresholds(None, self._plan) if guess else self._known
        ranking = Ranking(rule, self._reader, pieces, known, scope)
        return (
            self._merge_by_guess(ranking, each) or vote_by_guess(ranking, each) or measure_trim(ranking, each)
        )

    def _merge_by_guess(self, ranking: Ranking, each: Any) -> ScopeTrim | None:
        """Merge a scope in one sweep, see `merge_core.trimming.guess`; None where that must not or cannot be."""
        pieces, rule = ranking.pieces, ranking.rule
        fresh = not any(p in self._done for p in pieces)
        simple = rule.votes is None and not rule.moments and self._reader.on_processor is self._reader
        guess = guess_thresholds(ranking) if fresh and simple else None
        if guess is None:
            return None

        def merge_and_count(piece: Piece) -> list[Counted]:
            counts: list[Counted] = []
            self._compute(
                piece,
                ((c.base, c.vectors, t) for c, t in guessed_chunks(guess, self._reader, piece, counts)),
            )
            self._advance(piece.size)
            return counts

        settled = settle(guess, ranking, each(merge_and_count, pieces))
        if settled is None:
            self._advance(-ranking.entries)
            return None
        trim, again = settled
        each(lambda p: self._compute(p, segments_of(trim, self._reader, p)), again)
        for piece in pieces:
            self._finish(piece)
        return trim

    def _combine(self, piece: Piece, trim: ScopeTrim | None) -> None:
        """Compute and write one piece, and have done with it."""
        self._compute(piece, segments_of(trim, self._reader, piece))
        self._advance(piece.size)
        self._finish(piece)

    def _compute(self, piece: Piece, segments: Iterable[tuple[Array | None, Array, Trimmed | None]]) -> None:
        self._message = self._plan.tensors[piece.tensor].name
        self._combiner.write(piece, segments)

    def _advance(self, entries: int) -> None:
        with self._count_lock:
            self.finished += entries

    def _finish(self, piece: Piece) -> None:
        self._done.add(piece)
        self._output.finish(piece, piece.size * FLOATS[self._plan.tensors[piece.tensor].dtype])

    def _copy(self, piece: Piece) -> None:
        tensor = self._plan.tensors[piece.tensor]
        if piece.start == 0:  # a copied tensor is written whole, with its first piece
            position = tensor.offset
            for part in self._reader.raw(self._plan.template, tensor.sources[0]):
                self._output.write(tensor.shard, position, part)
                position += part.size
        self._output.finish(piece, tensor.nbytes if piece.start == 0 else 0)
        self._advance(piece.size)

    def _stopped(self) -> bool:
        return self._pool.stop.is_set() or (self._cancelled is not None and self._cancelled())

    def _check(self) -> None:
        if self._stopped():
            raise Cancelled

    def _tell(self) -> None:
        if self._cancelled is not None and self._cancelled():
            raise Cancelled
        now = time.monotonic()
        if self._progress is None or (now - self._told < 0.2 and self.finished < self.total):
            return
        self._told = now
        eta = seconds_left(self.finished - self._at_start, self.total - self._at_start, now - self._started)
        message = "waiting for the Hub" if self._inputs.waited > QUIET else self._message
        self._progress(Progress(self.finished, self.total, message, eta))


def _in_turn_of(pieces: Sequence[Piece], turns: Mapping[int, int]) -> list[Piece]:
    """By the turns of their tensors; those of one tensor as they are."""
    return sorted(pieces, key=lambda piece: turns[piece.tensor])


def _reader(plan: MergePlan, inputs: Inputs, budget: Budget, device: str) -> VectorReader:
    if device == "cpu":
        return VectorReader(plan, budget, inputs)
    from merge_core.streaming.accelerator import TorchReader

    return TorchReader(plan, budget, device, inputs)
