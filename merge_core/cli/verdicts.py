"""What `check` answers: a verdict on every model, what all of them ask, and what the merge takes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from merge_core.checkpoint import Checkpoint
from merge_core.cli.terminal import duration, size
from merge_core.engine.traffic import traffic
from merge_core.plan import MergePlan
from merge_core.preflight import Verdict, template_ref
from merge_core.prepare.needs import Needs, memory_there
from merge_core.prepare.pace import DOWNLOAD, STREAM, seconds_for
from merge_core.recipe import ModelRef, Recipe
from merge_core.streaming.budget import MEMORY


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
    """What comes over the network, memory and time that the merge takes, beside what is there.

    Args:
        plan: what is merged.
        needs: see `merge_core.prepare.needs`.
        cache: where downloads go; None where there are none.
    """
    if cache is not None:
        yield from _from_hub(plan, needs, cache)
    there = memory_there()
    beside = f" of {size(there)} that are free" if there is not None else ""
    yield f"memory: at most {size(MEMORY)}{beside}; `merge --memory` sets it"
    spans = [f"{duration(seconds)} {what}" for what, seconds in _spans(plan, needs) if seconds is not None]
    if spans:
        yield f"time: about {' and '.join(spans)}, judging by recent work on this machine"


def _from_hub(plan: MergePlan, needs: Needs, cache: Path) -> Iterator[str]:
    """What comes over the network, and why weights among it are not kept."""
    near = next(path for path in (cache, *cache.parents) if path.exists())
    free = shutil.disk_usage(near).free
    if needs.streams:
        expected = traffic(plan, MEMORY)
        most = (
            f", at most {size(expected.most)} where it must be read again"
            if expected.most > expected.likely
            else ""
        )
        yield (
            f"streams: about {size(expected.likely)} from the Hub while it merges{most}; the disk has no room to "
            f"download {size(needs.stream)}, with {size(free)} free in {cache}"
        )
    if needs.download:
        yield f"downloads: {size(needs.download)} of {size(free)} that are free in {cache}"


def _spans(plan: MergePlan, needs: Needs) -> Iterator[tuple[str, float | None]]:
    """(what is done, how many seconds that takes, or None where that is not known)."""
    if needs.download:
        yield "to download", seconds_for(DOWNLOAD, needs.download)
    if needs.streams:
        likely = traffic(plan, MEMORY).likely
        yield "to read and merge", seconds_for(STREAM, likely) or seconds_for(DOWNLOAD, likely)
    else:
        yield "to merge", seconds_for(plan.method.name, plan.bytes_in)
