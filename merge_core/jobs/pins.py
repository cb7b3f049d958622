"""The models on the Hub that jobs need."""

from __future__ import annotations

from collections.abc import Iterable

from merge_core.errors import UserError
from merge_core.jobs.job import Job
from merge_core.recipe import ModelRef, read_recipe


def models_of(jobs: Iterable[Job]) -> frozenset[str]:
    """Repositories, `owner/name`, that some of `jobs` names."""
    found: set[str] = set()
    for job in jobs:
        single = str(job.options.get("model", ""))
        try:
            refs = read_recipe(job.recipe).refs() if job.recipe else ()
        except UserError:  # the job will fail with it
            refs = ()
        for ref in (*refs, *([ModelRef.parse(single)] if single else [])):
            found.add(ref.path)
            if ref.lora:
                found.add(ModelRef.parse(ref.lora).path)
    return frozenset(found)
