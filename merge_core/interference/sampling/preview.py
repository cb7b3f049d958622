"""MergePlan → InterferenceReport from a budget of bytes, of models that need not be on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from merge_core.checkpoint import Checkpoint
from merge_core.errors import UserError
from merge_core.interference.levels import DENSITIES
from merge_core.interference.report import InterferenceReport, TensorInterference
from merge_core.interference.sampling.design import LOCAL, REMOTE, Sampled, design
from merge_core.interference.sampling.estimate import About, Estimate, conclude, observe_scope
from merge_core.interference.sampling.fetching import Fetched, PartReader
from merge_core.interference.sampling.reading import SampleReader
from merge_core.interference.sampling.sources import cost_of, header_bytes, holders, rows_of
from merge_core.interference.sampling.together import Sums, pairs_and_norms, sum_blocks
from merge_core.network.layers import locate
from merge_core.plan import MergePlan, TensorPlan, make_plan
from merge_core.prepare import open_fitting
from merge_core.progress import CancelCheck, Cancelled, Progress, ProgressCallback
from merge_core.recipe import Recipe

if TYPE_CHECKING:
    from merge_core.hub import HubClient

FIRST_LOOK = 8_000_000  # bytes, of which a first map is made


def plan_without_download(
    recipe: Recipe, hub: HubClient | None = None, note: Callable[[str], None] | None = None
) -> MergePlan:
    """The plan of `recipe` from headers alone; its models may be on the Hub.

    Raises:
        UserError: a model cannot be opened, or they do not fit together.
    """
    checkpoints, _ = open_fitting(recipe, hub, note)
    return make_plan(recipe, checkpoints)


def inspect_sample(
    plan: MergePlan,
    budget: int,
    *,
    seed: int = 0,
    hub: HubClient | None = None,
    progress: ProgressCallback | None = None,
    cancelled: CancelCheck | None = None,
    shown: Callable[[InterferenceReport, int], None] | None = None,
) -> InterferenceReport:
    """Estimate where the plan's task vectors meet and disagree, with 95 % intervals, from part of each tensor.

    Each tensor's interval holds its true count 95 times in 100. With the same seed, a larger budget reads what a
    smaller one read and more. What is read whole is exact.

    Args:
        plan: of a method that trims, see `inspectable`; of `plan_without_download`, or another.
        budget: bytes that may be read in all, headers included.
        seed: decides which entries are read.
        hub: reads models that are not on this machine; None uses the default client, made only if one is needed.
        progress: told how far it is.
        cancelled: asked now and then; once true, stops.
        shown: told what a smaller budget finds, and that budget, as soon as so much of models on the Hub has been read.

    Raises:
        UserError: the budget is too small, the Hub does not answer, or an entry is not finite.
        Cancelled: `cancelled` answered true.
    """
    samples = _Samples(plan, budget, seed)

    def part_reader(holder: Checkpoint) -> PartReader:
        from merge_core.hub import HubClient

        return (hub or HubClient()).part_reader(holder, cancelled)

    fetched = Fetched(plan, part_reader)
    reader = SampleReader(plan, fetched)
    try:
        if shown is not None:
            for wanted, smaller in samples.until_last():
                fetched.fetch(wanted, progress, cancelled)
                shown(_report(plan, reader, wanted, progress, cancelled), smaller)
        fetched.fetch(samples.last, progress, cancelled)
        return _report(plan, reader, samples.last, progress, cancelled)
    finally:
        reader.close()


_Wanted = list[tuple[TensorPlan, Sampled]]


class _Samples:
    """What to read of a plan's tensors.

    Raises:
        UserError: the budget is too small.
    """

    def __init__(self, plan: MergePlan, budget: int, seed: int) -> None:
        self._tensors = [t for t in plan.tensors if t.settings is not None]
        self._costs = [cost_of(rows_of(plan, t)) for t in self._tensors]
        self._seed = seed
        self._budget = budget
        parts = holders(plan)
        self._remote = any(part.root is None for part in parts)
        self._headers = sum(header_bytes(part) for part in parts)
        if budget < self._headers:
            raise UserError(
                f"A sample of {budget / 1e6:.3g} MB is smaller than the models' headers.",
                f"Allow {self._headers / 1e6 + 1:.0f} MB or more.",
            )
        self.last = self._of(budget)

    def until_last(self) -> Iterator[tuple[_Wanted, int]]:
        """Smaller samples that are worth a look before the last one is read, with their budgets."""
        budget = FIRST_LOOK
        while self._remote and 2 * budget <= self._budget:
            with suppress(UserError):  # the tensors are so many that this is too small
                yield self._of(budget), budget
            budget *= 8

    def _of(self, budget: int) -> _Wanted:
        chosen = design(
            [t.name for t in self._tensors],
            [t.numel for t in self._tensors],
            self._costs,
            budget - self._headers,
            self._seed,
            REMOTE if self._remote else LOCAL,
        )
        return list(zip(self._tensors, chosen, strict=True))


def _report(
    plan: MergePlan,
    reader: SampleReader,
    wanted: _Wanted,
    progress: ProgressCallback | None,
    cancelled: CancelCheck | None,
) -> InterferenceReport:
    estimates, sums = _estimate(plan, reader, wanted, progress, cancelled)
    pairs, norms = pairs_and_norms(plan, sums)
    return InterferenceReport(
        models=tuple(plan.names[m] for m in plan.listed),
        density=DENSITIES,
        tensors=tuple(
            _row(tensor, sampled, estimate)
            for (tensor, sampled), estimate in zip(wanted, estimates, strict=True)
        ),
        pairs=pairs,
        norms=norms,
    )


def _estimate(
    plan: MergePlan,
    reader: SampleReader,
    wanted: _Wanted,
    progress: ProgressCallback | None,
    cancelled: CancelCheck | None,
) -> tuple[list[Estimate], list[Sums]]:
    """Counts of every tensor, and sums of those that are no tied copies."""
    if not wanted:
        return [], []
    rule = wanted[0][0].trim
    assert rule is not None, "only methods that trim are inspected"
    sums: list[Sums] = []
    abouts: list[About] = []
    held = []
    for number, (tensor, sampled) in enumerate(wanted):
        if cancelled is not None and cancelled():
            raise Cancelled
        if progress is not None:
            progress(Progress(number, len(wanted), "comparing the task vectors"))
        sample = reader.read(tensor, sampled)
        if tensor.counted:
            sums.append(sum_blocks(sample))
        if rule.scope == "model":
            held.append(replace(sample, base=sample.base[:0]))
            continue
        own = tensor.trim
        assert own is not None
        abouts += observe_scope(own, [sample])
    if held:
        abouts = observe_scope(rule, held)
    return conclude(abouts), sums


def _row(tensor: TensorPlan, sampled: Sampled, estimate: Estimate) -> TensorInterference:
    place = locate(tensor.name)
    count, low, high = (
        [tuple(row) for row in values.tolist()] for values in (estimate.count, estimate.low, estimate.high)
    )
    rate_low, rate_high = (
        [tuple(row) for row in values.round(7).tolist()] for values in (estimate.rate_low, estimate.rate_high)
    )
    return TensorInterference(
        tensor.name,
        place.layer,
        place.module,
        place.stack,
        tensor.numel,
        touched=count[0],
        contested=count[1],
        conflicted=count[2],
        sampled=sampled.entries,
        touched_low=low[0],
        touched_high=high[0],
        contested_low=low[1],
        contested_high=high[1],
        conflicted_low=low[2],
        conflicted_high=high[2],
        of_touched_low=rate_low[0],
        of_touched_high=rate_high[0],
        of_contested_low=rate_low[1],
        of_contested_high=rate_high[1],
    )
