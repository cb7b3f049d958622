"""Probe scores of models that do not change, kept so that every merge of the same parents does not ask them anew."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from merge_core.checkpoint import Checkpoint
from merge_core.checkpoint.lora import parts_of
from merge_core.engine.materialise import whole_folder
from merge_core.errors import UserError
from merge_core.json_files import read_json, write_json
from merge_core.plan import MergePlan
from merge_core.probe import ProbeSet, check_probes, load_probe, run_probe
from merge_core.progress import CancelCheck, ProgressCallback
from merge_core.recipe.published import published_models

FORMAT = 2  # raise it when a score's meaning changes


def load_probes(paths: tuple[str, ...]) -> list[tuple[str, ProbeSet]]:
    """(SHA-256 of its file, probe) of every path.

    Raises:
        UserError: one cannot be read, or two go by one name.
    """
    found: list[tuple[str, ProbeSet]] = []
    for path in paths:
        probe = load_probe(Path(path))
        if any(probe.name == other.name for _, other in found):
            raise UserError(f"Two probe sets are called {probe.name!r}.", "Choose one of them.")
        found.append((_digest(Path(path)), probe))
    return found


def fitting_probes(plan: MergePlan, paths: tuple[str, ...]) -> list[tuple[str, ProbeSet]]:
    """The probes to measure a merge with, see `load_probes`; to be asked before anything is merged.

    Raises:
        UserError: one cannot be read, or the models cannot answer it.
    """
    probes = load_probes(paths)
    if (
        plan.template.root is not None
    ):  # weights that stay on the Hub tell too little; the merge will be checked
        check_probes(plan.template.root, [probe for _, probe in probes])
    return probes


def family_of(plan: MergePlan) -> list[tuple[str, str, Checkpoint]]:
    """(role, name, checkpoint) of the base and of each parent."""
    base = [("base", str(plan.recipe.base), plan.base)] if plan.base is not None else []
    return base + [("parent", plan.names[m], plan.models[m]) for m in plan.listed]


def family_scores(
    plan: MergePlan,
    probes: list[tuple[str, ProbeSet]],
    root: Path,
    measuring: Callable[[str], ProgressCallback],
    cancelled: CancelCheck,
) -> list[dict[str, Any]]:
    """Scores of a merge's base and parents but for those that are `unmeasured`, each with `role` and `model`.

    Args:
        plan: of the merge.
        probes: what to measure with.
        root: where scores are kept.
        measuring: told the name of the model that comes next; gives what is told the progress of that.
        cancelled: asked often; once true, the measuring stops.
    """
    called = {str(ref): public.name for ref, public in published_models(plan.recipe, plan.commits).items()}
    measured: list[dict[str, Any]] = []
    for role, name, checkpoint in family_of(plan):
        told = measuring(called.get(name, name))
        if not _measurable(root, checkpoint, probes):
            continue
        found = known_scores(root, checkpoint, probes, told, cancelled)
        measured += [{**score, "role": role, "model": name} for score in found]
    return measured


def unmeasured(plan: MergePlan, probes: list[tuple[str, ProbeSet]], root: Path) -> list[str]:
    """The base and parents whose weights stay on the Hub and that were not measured with all of `probes` before.

    Args:
        plan, probes, root: see `family_scores`.
    """
    return [name for _, name, checkpoint in family_of(plan) if not _measurable(root, checkpoint, probes)]


def _measurable(root: Path, checkpoint: Checkpoint, probes: list[tuple[str, ProbeSet]]) -> bool:
    if all(part.root is not None for part in parts_of(checkpoint)):
        return True
    return all(read_json(_place(root, checkpoint, digest)) is not None for digest, _ in probes)


def as_merge(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Scores of the merge itself, told apart from those of its family."""
    return [{**score, "role": "merge", "model": "merge"} for score in found]


def known_scores(
    root: Path,
    checkpoint: Checkpoint,
    probes: list[tuple[str, ProbeSet]],
    progress: ProgressCallback,
    cancelled: CancelCheck,
) -> list[dict[str, Any]]:
    """Scores of a checkpoint on every probe; measured anew only where its content or the probe is new."""
    places = [_place(root, checkpoint, digest) for digest, _ in probes]
    missing = [probe for place, probe in zip(places, probes, strict=True) if read_json(place) is None]
    for place in places:
        with suppress(OSError):
            os.utime(place)  # or it would be tidied away while in use
    measured: list[dict[str, Any]] = []
    if missing:
        with whole_folder(checkpoint, root, cancelled) as folder:
            measured = scores(folder, missing, progress, cancelled)
    fresh = {_place(root, checkpoint, d): [s for s in measured if s["probe"] == p.name] for d, p in missing}
    for place, found in fresh.items():
        with suppress(OSError):  # a full disk is no reason to fail: they are measured anew next time
            write_json(place, found)
    return [score for place in places for score in fresh.get(place) or read_json(place) or ()]


def _place(root: Path, checkpoint: Checkpoint, digest: str) -> Path:
    text = json.dumps([FORMAT, checkpoint.identity, digest])
    return root / "scores" / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"


def scores(
    model: Path, probes: list[tuple[str, ProbeSet]], progress: ProgressCallback, cancelled: CancelCheck
) -> list[dict[str, Any]]:
    """Scores of a model folder on every probe, as plain data."""
    results = run_probe(model, [probe for _, probe in probes], progress, cancelled)
    return [asdict(result) for result in results]


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
