"""Probe scores of models that do not change, kept so that every merge of the same parents does not ask them anew."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from merge_core.checkpoint import Checkpoint
from merge_core.json_files import once
from merge_core.probe import ProbeSet, load_probe, run_probe
from merge_core.progress import CancelCheck, ProgressCallback

FORMAT = 1  # raise it when a score's meaning changes


def load_probes(paths: tuple[str, ...]) -> list[tuple[str, ProbeSet]]:
    """(SHA-256 of its file, probe) of every path.

    Raises:
        UserError: one cannot be read.
    """
    probes = [load_probe(Path(path)) for path in paths]
    return [(_digest(Path(path)), probe) for path, probe in zip(paths, probes, strict=True)]


def known_scores(
    root: Path,
    checkpoint: Checkpoint,
    probes: list[tuple[str, ProbeSet]],
    progress: ProgressCallback,
    cancelled: CancelCheck,
) -> list[dict[str, Any]]:
    """Scores of a checkpoint on every probe, from memory where its content and the probes are the same as then."""
    assert checkpoint.root is not None
    folder = checkpoint.root
    text = json.dumps([FORMAT, checkpoint.identity, [digest for digest, _ in probes]])
    path = root / "scores" / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"
    made: list[dict[str, Any]] = once(path, lambda: scores(folder, probes, progress, cancelled))
    return made


def scores(
    model: Path, probes: list[tuple[str, ProbeSet]], progress: ProgressCallback, cancelled: CancelCheck
) -> list[dict[str, Any]]:
    """Scores of a model folder on every probe, as plain data."""
    results = run_probe(model, [probe for _, probe in probes], progress, cancelled)
    return [asdict(result) for result in results]


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
