"""Trim thresholds that were found before, kept on disk: a merge after an inspection need not rank magnitudes again.

A threshold depends on the base, on one fine-tune, on the trim scope and on how many entries are kept; on nothing else
in a recipe. There is one small file per pair of base and fine-tune, named by what their contents are.
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from merge_core.checkpoint import Checkpoint
from merge_core.plan import MergePlan
from merge_core.streaming.cut import Threshold

THRESHOLDS = "thresholds"  # the folder's name within a store's root or the user's cache
FORMAT = 2  # raise it when a stored number comes to mean something else
MOST_BYTES = 64 << 20  # of all files together; those used longest ago go first
WHOLE_MODEL = -1  # the scope of a trim over the whole model; other scopes are tensors' numbers in name order


class KnownThresholds:
    """Thresholds of a plan's models.

    Args:
        folder: where they are kept from one merge to the next; None keeps them in memory alone.
        plan: whose models they are of.
    """

    def __init__(self, folder: Path | None, plan: MergePlan) -> None:
        self._paths = [None if folder is None else folder / f"{_key(plan, m)}.npz" for m in plan.models]
        self._found: list[dict[tuple[int, int], Threshold]] = [_read(path) for path in self._paths]
        self._new: set[int] = set()

    def get(self, model: int, scope: int, kept: int) -> Threshold | None:
        """The threshold that keeps `kept` entries of model number `model` within `scope`, if it is known."""
        return self._found[model].get((scope, kept))

    def add(self, model: int, scope: int, thresholds: Mapping[int, Threshold]) -> None:
        """Learn thresholds by the number of entries that they keep; safe from several threads."""
        self._found[model].update({(scope, kept): found for kept, found in thresholds.items()})
        self._new.add(model)

    def save(self) -> None:
        """Keep what is new. A disk that is full or cannot be written is no reason to fail: it costs only time."""
        try:
            for model in self._new:
                if (path := self._paths[model]) is not None:
                    _write(path, self._found[model])
                    _make_room(path.parent)
        except OSError:
            pass


def _key(plan: MergePlan, model: Checkpoint) -> str:
    base = plan.base.identity if plan.base else None
    names = [[t.name, t.counted] for t in plan.tensors if t.settings is not None]
    text = json.dumps([FORMAT, base, model.identity, names])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _read(path: Path | None) -> dict[tuple[int, int], Threshold]:
    if path is None:
        return {}
    try:
        with np.load(path, allow_pickle=False) as stored:
            columns = [stored[name].tolist() for name in ("scope", "kept", "pattern", "equal", "equal_kept")]
        os.utime(path)
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
        return {}
    return {(s, k): Threshold(p, e, x) for s, k, p, e, x in zip(*columns, strict=True)}


def _write(path: Path, found: Mapping[tuple[int, int], Threshold]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.{os.getpid()}.npz")
    try:
        np.savez(
            partial,
            scope=np.array([scope for scope, _ in found], np.int64),
            kept=np.array([kept for _, kept in found], np.int64),
            pattern=np.array([t.pattern for t in found.values()], np.int64),
            equal=np.array([t.equal for t in found.values()], np.int64),
            equal_kept=np.array([t.equal_kept for t in found.values()], np.int64),
        )
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _make_room(folder: Path) -> None:
    files = sorted((p.stat().st_mtime, p.stat().st_size, p) for p in folder.glob("*.npz"))
    total = sum(size for _, size, _ in files)
    for _, size, path in files:
        if total <= MOST_BYTES:
            return
        path.unlink(missing_ok=True)
        total -= size
