"""Interference reports, kept by what they depend on: asking again for what is known takes no time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from merge_core.interference import InterferenceReport, inspect, inspectable
from merge_core.interference.block_counts import BlockCounts, cut_of, find_tensor, inspect_blocks
from merge_core.interference.levels import DENSITIES
from merge_core.interference.sampling import inspect_sample
from merge_core.json_files import NotKept, once, read_json
from merge_core.kernels.disjoint import VOTE_COUNT, VOTE_NONE
from merge_core.plan import MergePlan, make_plan
from merge_core.prepare import open_fitting
from merge_core.progress import CancelCheck, ProgressCallback
from merge_core.recipe import Recipe
from merge_core.streaming.budget import MEMORY
from merge_core.trimming.known import THRESHOLDS

if TYPE_CHECKING:
    from merge_core.hub import HubClient

FORMAT = 4  # raise it when a report's meaning changes, and older reports are made anew


def find_report(
    root: Path, recipe: Recipe, hub: HubClient | None = None, elections: bool = False
) -> InterferenceReport | None:
    """The report of `recipe` if it has been made before; reads headers only, and no weights.

    Args:
        root: the store's root folder.
        recipe: what is asked about.
        hub: the Hub as whoever asks may see it, so that nobody is shown a report on models they may not read.
        elections: the report that says who is outvoted.

    Raises:
        UserError: the recipe's models cannot be opened or do not fit together.
    """
    recipe = inspectable(recipe)
    checkpoints, _ = open_fitting(recipe, hub)
    plan = make_plan(recipe, checkpoints)
    document = read_json(elections_path(root, plan) if elections else report_path(root, plan))
    return None if document is None else InterferenceReport.from_json(document)


def make_report(
    root: Path,
    plan: MergePlan,
    progress: ProgressCallback,
    cancelled: CancelCheck,
    elections: bool = False,
    threads: int | None = None,
    memory: int = MEMORY,
) -> Path:
    """Inspect `plan` unless that was done before; the path of the report. For the last three see `inspect`."""
    path = elections_path(root, plan) if elections else report_path(root, plan)

    def make() -> Any:
        known = root / THRESHOLDS
        found = inspect(
            plan,
            progress=progress,
            cancelled=cancelled,
            threads=threads,
            memory=memory,
            known=known,
            elections=elections,
        )
        return found.to_json()

    once(path, make)
    return path


def find_blocks(root: Path, recipe: Recipe, tensor: str, hub: HubClient | None = None) -> BlockCounts | None:
    """The counts of one tensor's blocks if they have been made before; reads headers only. See `find_report`.

    Raises:
        UserError: the recipe's models cannot be opened or do not fit together, or have no such tensor.
    """
    recipe = inspectable(recipe)
    checkpoints, _ = open_fitting(recipe, hub)
    document = read_json(_blocks_path(root, make_plan(recipe, checkpoints), tensor))
    return None if document is None else BlockCounts.from_json(document)


def make_blocks(
    root: Path,
    plan: MergePlan,
    tensor: str,
    progress: ProgressCallback,
    cancelled: CancelCheck,
    threads: int | None = None,
    memory: int = MEMORY,
) -> Path:
    """Count one tensor of `plan` block by block unless that was done before; the path of the counts.

    Raises:
        UserError: as `inspect_blocks`.
    """
    path = _blocks_path(root, plan, tensor)

    def make() -> Any:
        found = inspect_blocks(
            plan,
            tensor,
            progress=progress,
            cancelled=cancelled,
            threads=threads,
            memory=memory,
            known=root / THRESHOLDS,
        )
        return found.to_json()

    once(path, make)
    return path


def _blocks_path(root: Path, plan: MergePlan, tensor: str) -> Path:
    cut = cut_of(plan, find_tensor(plan, tensor))
    mark = hashlib.sha256(json.dumps([tensor, asdict(cut)]).encode()).hexdigest()[:16]
    whole = report_path(root, plan)
    return whole.with_name(f"{whole.stem}-{mark}.json")


def make_preview(
    root: Path,
    plan: MergePlan,
    budget: int,
    seed: int,
    progress: ProgressCallback,
    cancelled: CancelCheck,
    hub: HubClient | None = None,
    shown: Callable[[Path], None] | None = None,
) -> Path:
    """Inspect a sample of `plan` unless that was done before; the path of the report. See `inspect_sample`.

    `shown` is told the path of the report on a smaller sample, as soon as there is one.
    """
    whole = report_path(root, plan)

    def path_of(budget: int) -> Path:
        return whole.with_name(f"{whole.stem}-{budget}-{seed}.json")

    def keep(found: InterferenceReport, budget: int) -> None:
        assert shown is not None
        with suppress(NotKept):
            once(path_of(budget), found.to_json)
            shown(path_of(budget))

    def make() -> Any:
        found = inspect_sample(
            plan,
            budget,
            seed=seed,
            hub=hub,
            progress=progress,
            cancelled=cancelled,
            shown=None if shown is None else keep,
        )
        return found.to_json()

    once(path_of(budget), make)
    return path_of(budget)


def elections_path(root: Path, plan: MergePlan) -> Path:
    """Where the report of `plan` lies that says who is outvoted.

    It is another for every election whose outcome may differ: where models have one vote each, of their weights only
    the signs count, and nothing counts where there is no election.
    """
    held = []
    for tensor in plan.tensors:
        rule = tensor.trim
        if rule is not None:
            voting = rule.voting
            ballot = voting.weight if voting.vote not in (VOTE_COUNT, VOTE_NONE) else voting.sign
            held.append([voting.vote, voting.tie, voting.rescale, ballot[list(plan.listed)].tolist()])
    mark = hashlib.sha256(json.dumps(held).encode()).hexdigest()[:16]
    path = report_path(root, plan)
    return path.with_name(f"{path.stem}-{mark}.json")


def report_path(root: Path, plan: MergePlan) -> Path:
    """Where the report of `plan` lies or will lie.

    It is the same for every density, scale and election, because a report holds all densities and knows no
    election; of the weights only the signs count, and only where votes are weighed.
    """
    listed = list(plan.listed)
    tensors = []
    for tensor in plan.tensors:
        rule = tensor.trim
        if rule is not None and tensor.settings is not None:
            signs = rule.voting.sign[listed].tolist()
            kept = [rule.kept(tensor.numel, density) for density in DENSITIES]
            tensors.append([tensor.name, tensor.counted, rule.scope, rule.keep_equal, signs, kept])
    models = [(plan.names[m], plan.models[m].identity) for m in listed]
    base = plan.base.identity if plan.base else None
    text = json.dumps([FORMAT, base, models, tensors])
    return root / "inspections" / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"
