"""A model folder and probes → results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from merge_core.probe.local_model import LocalModel
from merge_core.probe.probe_set import ProbeResult, ProbeSet
from merge_core.probe.work import Work
from merge_core.progress import CancelCheck, ProgressCallback


def check_probes(model_folder: Path, probes: Sequence[ProbeSet]) -> None:
    """Find out from a model's small files alone whether it can answer the probes.

    Raises:
        UserError: it cannot, or its folder is no model's.
    """
    model = LocalModel(Path(model_folder), lambda: None)
    for probe in probes:
        _check(model, probe)


def _check(model: LocalModel, probe: ProbeSet) -> None:
    model.check_head(probe.kind.head, probe.name)
    probe.kind.check(model, probe)


def run_probe(
    model_folder: Path,
    probes: Sequence[ProbeSet],
    progress: ProgressCallback | None = None,
    cancelled: CancelCheck | None = None,
) -> list[ProbeResult]:
    """Measure a model on probes, on the CPU; the same model and probes always give the same results.

    Args:
        model_folder: a model in Hugging Face form. No code in it is run, and nothing outside it is read.
        probes: what to measure; whether the model fits all of them is found out before its weights are read.
        progress: told after every batch, in items.
        cancelled: asked between the layers of the model.

    Returns:
        One result for each probe, in their order; two for multiple choice: plain and per byte.

    Raises:
        UserError: the model cannot be opened, does not fit a probe, or fails at an item.
        Cancelled: `cancelled` answered true.
    """
    work = Work(sum(len(probe.items) for probe in probes), progress, cancelled)
    if not probes:
        return []
    model = LocalModel(Path(model_folder), work.check)
    for probe in probes:
        work.check()
        _check(model, probe)
    results: list[ProbeResult] = []
    with model.threads():
        for probe in probes:
            work.begin(probe.name, len(probe.items))
            results += probe.kind.measure(model, probe, work)
        work.begin("", 0)
    return results
