"""What `check` answers: a verdict on every model, what all of them ask, and what the merge takes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from merge_core.checkpoint import Checkpoint
from merge_core.cli.terminal import duration, size
from merge_core.plan import MergePlan
from merge_core.preflight import Verdict, template_ref
from merge_core.prepare.needs import Needs, memory_there
from merge_core.prepare.pace import DOWNLOAD, seconds_for
from merge_core.recipe import ModelRef, Recipe

MEMORY = 1 << 30  # bytes that `merge` may use unless it is told otherwise


def model_lines(
    recipe: Recipe,
    checkpoints: Mapping[ModelRef, Checkpoint],
    each: Mapping[ModelRef, Verdict],
    whole: Verdict,
) -> Iterator[str]:
    """One line for each model, its notes indented beneath it, and then what concerns all of them."""
    first = template_ref(recipe)
    told: set[str] = set()
    for ref in recipe.refs():
        gated = ", gated" if checkpoints[ref].gated else ""
        verdict = each.get(ref)
        if verdict is None or ref == first:
            kind = "the base" if ref == recipe.base else "the first model, which the output takes after"
            yield f"{ref}: {kind}{gated}"
            continue
        state = "not possible" if verdict.problems else "ready, with a note" if verdict.notes else "ready"
        yield f"{ref}: {state}{gated}"
        for note in verdict.notes:
            if note not in told:
                yield f"  note: {note}"
                told.add(note)
    for note in whole.notes:
        if note not in told:
            yield f"note: {note}"
    yield from (f"terms: {sentence}" for sentence in whole.terms)


def resource_lines(plan: MergePlan, needs: Needs, cache: Path | None) -> Iterator[str]:
    """Download, memory and time that the merge takes, beside what is there.

    Args:
        plan: what is merged.
        needs: see `merge_core.prepare.needs`.
        cache: where downloads go; None where there are none.
    """
    if cache is not None and needs.download:
        near = next(path for path in (cache, *cache.parents) if path.exists())
        free = shutil.disk_usage(near).free
        yield f"downloads: {size(needs.download)} of {size(free)} that are free in {cache}"
    there = memory_there()
    beside = f" of {size(there)} that are free" if there is not None else ""
    yield f"memory: at most {size(MEMORY)}{beside}; `merge --memory` sets it"
    spans = [
        f"{duration(seconds)} {what}"
        for what, seconds in (
            ("to download", seconds_for(DOWNLOAD, needs.download) if needs.download else None),
            ("to merge", seconds_for(plan.method.name, plan.bytes_in)),
        )
        if seconds is not None
    ]
    if spans:
        yield f"time: about {' and '.join(spans)}, judging by recent work on this machine"
