"""What each kind of job does. Paths in a result are relative to the store's root.

Every part leaves a file that is whole or absent, and is skipped where that file exists: a killed job continues there.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from merge_core.errors import UserError
from merge_core.jobs.inspections import make_blocks, make_preview, make_report, report_path
from merge_core.jobs.job import Job, JobProgress
from merge_core.jobs.staged_progress import Pace
from merge_core.json_files import once, read_json, write_json
from merge_core.plan import MergePlan
from merge_core.prepare import prepare
from merge_core.progress import CancelCheck, ProgressCallback
from merge_core.recipe import ModelRef, read_recipe
from merge_core.streaming.inputs import streams
from merge_core.trimming.known import THRESHOLDS

if TYPE_CHECKING:
    from merge_core.hub import HubClient
    from merge_core.probe import ProbeSet

Result = dict[str, Any]


def run_step(job: Job, root: Path, tell: Callable[[JobProgress], None], cancelled: CancelCheck) -> Result:
    """Do what a job asks for.

    Args:
        job: see the step of its kind below for its options and its result.
        root: the store's root folder.
        tell: told how far it is.
        cancelled: asked often; once true, the step stops.

    Raises:
        UserError: something a person can mend.
        Cancelled: `cancelled` answered true.
    """
    return STEPS[job.kind](job, root, Pace(tell, cancelled))


def inspect_step(job: Job, root: Path, pace: Pace) -> Result:
    """Find where the recipe's models disagree. Result: `report`, a JSON file; with `tensor` it is `blocks` instead.

    Options: `sample_mb`, to estimate it from so many MB without downloading the models; `seed` of that sample;
    `elections`, true to find out as well who is outvoted; `tensor`, to look at one alone, by heads or rows; `stream`,
    see `merge_step`.
    """
    from merge_core.interference import inspectable
    from merge_core.interference.sampling import plan_without_download

    recipe = inspectable(read_recipe(job.recipe))
    if "sample_mb" in job.options:
        hub = _hub()
        pace.part(0.05, "Reading headers")
        plan = plan_without_download(recipe, hub)
        budget = round(float(job.options["sample_mb"]) * 1e6)
        seed = int(job.options.get("seed", 0))

        def show(path: Path) -> None:
            pace.shown = _relative(path, root)

        sampling = pace.part(0.95, "Sampling")
        preview = make_preview(root, plan, budget, seed, sampling, pace.cancelled, hub, show)
        return {"report": _relative(preview, root)}
    stream = False if "tensor" in job.options else bool(job.options.get("stream")) or None
    plan = prepare(recipe, _hub(), pace.part(0.3, "Reading headers"), pace.cancelled, stream=stream)
    if "tensor" in job.options:
        counting = pace.part(0.7, "Counting")
        blocks = make_blocks(root, plan, str(job.options["tensor"]), counting, pace.cancelled)
        return {"blocks": _relative(blocks, root)}
    elections = bool(job.options.get("elections", False))
    report = make_report(root, plan, pace.part(0.7, "Comparing"), pace.cancelled, elections=elections)
    return {"report": _relative(report, root)}


def merge_step(job: Job, root: Path, pace: Pace) -> Result:
    """Merge, inspect, probe the result and its parents, and write the model card.

    Options: `probes`, paths of probe files; `stream`, true to leave the models' weights on the Hub, which is done as
    well where the disk has no room for them. Such models are not inspected, and not probed but for those that were
    before.
    Result: `model`, a folder; `bytes` of weights; `seconds` it took; `report`, a JSON file, or None without a base
    model; `scores`, see `probe_step`, each with `role`: "base", "parent" or "merge"; `unmeasured`, the base and parents
    that were not probed for that; `streamed`, bytes of weights that were read from the Hub.
    """
    from merge_core.card import model_card
    from merge_core.card.map_picture import map_picture
    from merge_core.card.replacing import replace_card
    from merge_core.engine import merge
    from merge_core.engine.result import remember_merge
    from merge_core.interference import InterferenceReport
    from merge_core.interference.summary import recipe_density

    folder = root / "runs" / job.id
    paths = tuple(job.options.get("probes", ()))
    recipe = read_recipe(job.recipe)
    model = folder / "model"
    reading = pace.part(0.1, "Reading headers")
    stream = bool(job.options.get("stream")) or None
    plan = prepare(recipe, _hub(), reading, pace.cancelled, out=model, stream=stream)
    probes = _fitting_probes(plan, paths)
    _begin(folder, plan)
    merging = pace.part(0.3 if paths else 0.7, "Merging")

    def merge_all() -> Result:
        if model.exists():  # finished, and killed before that was noted
            return {"bytes": plan.bytes_out, "seconds": None, "streamed": 0}
        card = model_card(plan).encode()
        made = merge(
            plan,
            model,
            progress=merging,
            cancelled=pace.cancelled,
            extra_files=[("README.md", card)],
            known=root / THRESHOLDS,
        )
        remember_merge(plan, made)
        return {"bytes": made.bytes, "seconds": made.seconds, "streamed": made.streamed}

    merged = once(folder / "merge.json", merge_all)
    report = _inspect_parents(plan, root, pace)
    measured, left_out = _probe_family(plan, model, probes, root, folder, pace)
    found = None if report is None else InterferenceReport.from_json(read_json(report))
    picture = None if found is None else map_picture(found, recipe_density(plan))
    replace_card(model, model_card(plan, scores=measured, report=found), folder, picture)
    return {
        "model": _relative(model, root),
        **merged,
        "report": None if report is None else _relative(report, root),
        "scores": measured,
        "unmeasured": left_out,
    }


def probe_step(job: Job, root: Path, pace: Pace) -> Result:
    """Probe one model. Options: `model`, spelled as in a recipe; `probes`, paths of probe files.

    Result: `scores`, a list of {model, probe, metric, score, low, high, n}.
    """
    from merge_core.jobs.scores import known_scores, load_probes
    from merge_core.prepare.opening import open_checkpoint

    name = str(job.options.get("model", ""))
    if not name:
        raise UserError("No model to probe.", "Name one.")
    probes = load_probes(tuple(job.options.get("probes", ())))
    hub = _hub()
    checkpoint = open_checkpoint(ModelRef.parse(name), hub)
    fetching = pace.part(0.3, "Fetching the model")
    if checkpoint.root is None:
        checkpoint = hub.download(checkpoint, fetching, pace.cancelled)
    found = known_scores(root, checkpoint, probes, pace.part(0.7, "Probing"), pace.cancelled)
    return {"scores": [{**score, "model": name} for score in found]}


STEPS: dict[str, Callable[[Job, Path, Pace], Result]] = {
    "inspect": inspect_step,
    "merge": merge_step,
    "probe": probe_step,
}


def _hub() -> HubClient:
    """The Hub for jobs: who queued one has shown the right to read its models, and may have fetched them already."""
    from merge_core.hub import HubClient

    return HubClient(cache_first=True)


def _begin(folder: Path, plan: MergePlan) -> None:
    """Throw away what an earlier attempt made of inputs that have changed since."""
    note = folder / "inputs.json"
    if read_json(note) != plan.fingerprint:
        shutil.rmtree(folder, ignore_errors=True)
        write_json(note, plan.fingerprint)


def _inspect_parents(plan: MergePlan, root: Path, pace: Pace) -> Path | None:
    """The interference report of a merge's parents; None without a base, and where nobody has read them before."""
    from merge_core.interference import inspectable

    comparing = pace.part(0.2, "Comparing")
    if plan.recipe.base is None:
        return None
    inspected = inspectable(plan.recipe)
    if streams(plan):  # comparing them would read them once more
        known = report_path(root, plan)
        return known if inspected is plan.recipe and known.exists() else None
    if inspected is not plan.recipe:
        plan = prepare(inspected, _hub(), cancelled=pace.cancelled)
    return make_report(root, plan, comparing, pace.cancelled)


def _fitting_probes(plan: MergePlan, paths: tuple[str, ...]) -> list[tuple[str, ProbeSet]]:
    """The probes to measure with; whether the models can answer them is found out before anything is merged."""
    if not paths:
        return []
    from merge_core.jobs.scores import fitting_probes

    return fitting_probes(plan, paths)


def _probe_family(
    plan: MergePlan, model: Path, probes: list[tuple[str, ProbeSet]], root: Path, folder: Path, pace: Pace
) -> tuple[list[Result], list[str]]:
    """(scores of the base, each parent and the merge; which of them could not be measured)."""
    if not probes:
        return [], []
    from merge_core.jobs.scores import as_merge, family_of, family_scores, scores, unmeasured

    share = 0.4 / (len(family_of(plan)) + 1)

    def measuring(name: str) -> ProgressCallback:
        return pace.part(share, f"Measuring {name}", named=True)

    left_out = unmeasured(plan, probes, root)
    measured = family_scores(plan, probes, root, measuring, pace.cancelled)
    told = measuring("the merge")
    found = once(folder / "scores.json", lambda: scores(model, probes, told, pace.cancelled))
    return measured + as_merge(found), left_out


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()
