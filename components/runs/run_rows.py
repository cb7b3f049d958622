"""A job as one row of the tray: what it is, how far, what can be done with it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from components import wording
from components.models.names import short_name
from components.tuning.controls import IN_PERCENT, LAST
from components.tuning.editing import stated
from merge_core.errors import UserError
from merge_core.jobs import Job
from merge_core.jobs.retention import kept_until
from merge_core.methods import METHODS
from merge_core.recipe import ModelRef, Recipe, read_recipe

TITLE_PARTS = 3  # more settings than these do not fit the tray


def run_title(recipe: Recipe) -> str:
    """The method and the first few settings that were chosen otherwise than it has them: "TIES · 20 % · λ 0.4"."""
    method = METHODS[recipe.method]
    said = {}
    for parameter in method.parameters:
        if parameter.name in ("weight", "normalize", "dialect"):
            continue
        found = stated(recipe, parameter.name)
        if found and set(found) != {method.unsaid(parameter.name, recipe.parameters)}:
            said[parameter.name] = _setting_words(parameter.name, parameter.label, found)
    last = [said.pop(LAST)] if LAST in said else []
    return " · ".join([method.title, *list(said.values())[: TITLE_PARTS - len(last)], *last])


def _setting_words(name: str, label: str, said: Sequence[Any]) -> str:
    """A setting in a word or two; from the lowest to the highest where it differs by model, layer or tensor."""
    first = said[0]
    if isinstance(first, bool):
        return label.lower() if first else f"no {label.lower()}"
    if isinstance(first, str):
        return first
    low, high = min(said), max(said)
    if name in IN_PERCENT:
        start = "" if low == high else f"{100 * low:.0f}–"
        return start + wording.percent(high)
    start = "" if low == high else f"{wording.number(low)} – "
    return f"{label.split()[-1]} {start}{wording.number(high)}"


def run_row(job: Job, *, selected: bool, ahead: int = 0, now: float | None = None) -> dict[str, Any]:
    """What `runs.js` draws of one job.

    Args:
        ahead: how many jobs come before it, where it waits.
        now: seconds since the epoch; the present moment if left out.
    """
    now = time.time() if now is None else now
    chip, tone, detail = _state_words(job, ahead, now)
    return {
        "id": job.id,
        "title": title(job),
        "hint": time.strftime("%d %B, %H:%M", time.localtime(job.created)),
        "chip": chip,
        "tone": tone,
        "detail": detail,
        "until": kept_until(job),
        "fraction": job.progress.fraction if job.state == "running" else None,
        "selected": selected,
        "can_cancel": not job.final and not job.cancelling,
        "can_repeat": job.state in ("failed", "cancelled"),
    }


def title(job: Job) -> str:
    """What a job is called in lists."""
    if job.kind == "probe":
        return f"Measure {short_name(ModelRef.parse(str(job.options.get('model', ''))))}"
    try:
        return run_title(read_recipe(job.recipe))
    except UserError:  # written by an earlier version that knew other keys
        return "Merge"


def _state_words(job: Job, ahead: int, now: float) -> tuple[str, str, str]:
    """(chip, tone, detail) of a job."""
    if job.state == "queued":
        return "waiting", "", f"after {ahead} other{'s' if ahead > 1 else ''}" if ahead else "starts now"
    if job.state == "running":
        if job.cancelling:
            return "stopping", "", job.progress.message
        left = f" · {wording.duration(job.progress.eta)} left" if job.progress.eta is not None else ""
        return wording.percent(job.progress.fraction), "run", job.progress.message + left
    if job.state == "done":
        took = wording.duration((job.finished or now) - (job.started or job.created))
        gone = "Its files made way for others; recipe and scores are still here." if job.files_removed else ""
        return f"done · {took}", "ok", gone
    if job.state == "cancelled":
        return "cancelled", "", "Nothing was kept."
    return "failed", "bad", job.error or ""
