"""How much a merge reads over the network that leaves the weights of its models on the Hub."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from merge_core.checkpoint.low_rank import factor_bytes
from merge_core.methods.trimming import TrimRule
from merge_core.plan import MergePlan, TensorPlan
from merge_core.streaming.budget import Budget, divide, left_of
from merge_core.streaming.inputs import rows_of, streams
from merge_core.streaming.pool import cores

SHARE_AHEAD = 4  # one part in so many of a streamed merge's memory, at least, is for what is fetched ahead
NARROW = ("F16", "BF16")


@dataclass(frozen=True)
class Traffic:
    """Bytes of weights that are read over the network: most often, and where what is too large is read again."""

    likely: int
    most: int


def traffic(plan: MergePlan, memory: int, threads: int | None = None) -> Traffic:
    """What a streamed merge of `plan` reads. What fits the memory together is read once.

    Args:
        plan: of checkpoints without `root` where their weights stay on the Hub.
        memory, threads: as the merge will be given.
    """
    merged = [tensor for tensor in plan.tensors if tensor.settings is not None]
    rules = [tensor.trim for tensor in merged]
    whole = next((rule for rule in rules if rule is not None and rule.scope == "model"), None)
    scopes = [(merged, whole)] if whole else [([t], r) for t, r in zip(merged, rules, strict=True)]
    _, room = share_memory(plan, memory, threads or cores())
    likely = most = 0
    for tensors, rule in scopes:
        nbytes = sum(_nbytes(plan, tensor) for tensor in tensors)
        few, many = (1, 1) if nbytes <= room else _sweeps(rule, narrow(plan, tensors))
        likely += few * nbytes
        most += many * nbytes
    return Traffic(likely, most)


def share_memory(plan: MergePlan, memory: int, threads: int, tables: int = 0) -> tuple[Budget, int]:
    """(how the work divides its memory, bytes of it for weights that are fetched ahead from the Hub).

    For `tables` see `streaming.budget.divide`.
    """
    owners = (*plan.models, *([plan.base] if plan.base else []))
    rows, factor = len(plan.models) + 1, max(map(factor_bytes, owners))
    if not streams(plan):
        return divide(memory, threads, rows, factor, tables), 0
    budget = divide(memory - memory // SHARE_AHEAD, threads, rows, factor, tables)
    return budget, left_of(memory, budget, rows, factor, tables)


def _nbytes(plan: MergePlan, tensor: TensorPlan) -> int:
    """Of a tensor in all models that are on the Hub, each counted once."""
    read = {
        (holder.identity, spec.file, spec.offset): spec.nbytes
        for owner, spec in rows_of(plan, tensor)
        if (holder := owner.holder(spec)).root is None
    }
    return sum(read.values())


def narrow(plan: MergePlan, tensors: Iterable[TensorPlan]) -> bool:
    """Whether these tensors' task vectors have so few magnitudes that a sample nearly always tells the threshold."""
    return all(spec.dtype in NARROW for tensor in tensors for _, spec in rows_of(plan, tensor))


def _sweeps(rule: TrimRule | None, told: bool) -> tuple[int, int]:
    """How often a scope is read that does not fit the memory: most often, and where the sample misled."""
    if rule is None:
        return 1, 1
    asked = bool(rule.moments) + (rule.votes is not None)
    if asked:  # magnitudes are ranked, equals counted, sums taken, and then all is combined
        guessed = told and not rule.moments  # votes are counted while magnitudes are ranked, or once more
        return 2 + asked - guessed, 3 + asked + guessed
    return (1, 4) if told else (2, 3)
