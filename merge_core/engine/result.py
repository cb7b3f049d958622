"""What a merge says of itself once it is finished."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from merge_core.plan import MergePlan
from merge_core.prepare.pace import STREAM, remember


@dataclass(frozen=True)
class MergeResult:
    """A finished merge.

    Args:
        folder: where it lies.
        bytes: size of its weight files.
        seconds: how long this run took; less than the whole where it continued an earlier one.
        resumed: share of the entries that an earlier, killed run had finished, 0 to 1.
        streamed: bytes of weights that this run read from the Hub.
        checked: how many files it read there and found to match their hashes, and how many it read there.
    """

    folder: Path
    bytes: int
    seconds: float
    resumed: float
    streamed: int
    checked: tuple[int, int]


def remember_merge(plan: MergePlan, made: MergeResult) -> None:
    """Keep the pace of a merge that was not the rest of another: of its method, or of the network where it streamed."""
    if not made.resumed:
        work, nbytes = (STREAM, made.streamed) if made.streamed else (plan.method.name, plan.bytes_in)
        remember(work, nbytes, made.seconds)
