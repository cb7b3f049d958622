"""Trim thresholds that were found before, kept on disk: a merge after an inspection need not rank magnitudes again.

A threshold depends on the base, on one fine-tune, on the trim scope and on how many entries are kept; on nothing else
in a recipe. There is one small file per pair of base and fine-tune, named by what their contents are. Models of experts
have tens of thousands of scopes with a hundred thresholds each, so they are kept as columns of numbers, not as objects.
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from merge_core.checkpoint import Checkpoint
from merge_core.plan import MergePlan
from merge_core.streaming.cut import Threshold

THRESHOLDS = "thresholds"  # the folder's name within a store's root or the user's cache
FORMAT = 2  # raise it when a stored number comes to mean something else
MOST_BYTES = 64 << 20  # of all files together; those used longest ago go first
COLUMNS = ("kept", "pattern", "equal", "equal_kept")
WHOLE_MODEL = -1  # the scope of a trim over the whole model; other scopes are tensors' numbers in name order

# int64 or uint32 [len(COLUMNS), thresholds of one scope], `kept` rising.
Columns = np.ndarray[Any, np.dtype[Any]]


class KnownThresholds:
    """Thresholds of a plan's models.

    Args:
        folder: where they are kept from one merge to the next; None keeps them in memory alone.
        plan: whose models they are of.
    """

    def __init__(self, folder: Path | None, plan: MergePlan) -> None:
        self._paths = [None if folder is None else folder / f"{_key(plan, m)}.npz" for m in plan.models]
        self._found = [_read(path) for path in self._paths]
        self._new: set[int] = set()

    def get(self, model: int, scope: int, kept: int) -> Threshold | None:
        """The threshold that keeps `kept` entries of model number `model` within `scope`, if it is known."""
        columns = self._found[model].get(scope)
        if columns is None:
            return None
        at = int(np.searchsorted(columns[0], kept))
        return (
            Threshold(*columns[1:, at].tolist()) if at < columns[0].size and columns[0, at] == kept else None
        )

    def add(self, model: int, scope: int, thresholds: Mapping[int, Threshold]) -> None:
        """Learn thresholds by the number of entries that they keep; safe from threads that have a scope each."""
        if not thresholds:
            return
        found = self._found[model]
        new = np.array([(k, t.pattern, t.equal, t.equal_kept) for k, t in thresholds.items()], np.int64).T
        columns = np.concatenate([new, found[scope]], axis=1) if scope in found else new
        _, first = np.unique(columns[0], return_index=True)
        found[scope] = _smallest(columns[:, first])
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


def _read(path: Path | None) -> dict[int, Columns]:
    if path is None:
        return {}
    try:
        with np.load(path, allow_pickle=False) as stored:
            scope, columns = stored["scope"], np.array([stored[name] for name in COLUMNS])
        os.utime(path)
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
        return {}
    if scope.size != columns.shape[1] or not scope.size:
        return {}
    starts = np.flatnonzero(np.r_[True, scope[1:] != scope[:-1]])
    parts = np.split(columns, starts[1:], axis=1)
    return {int(s): _smallest(part) for s, part in zip(scope[starts], parts, strict=True)}


def _write(path: Path, found: Mapping[int, Columns]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.{os.getpid()}.npz")
    scopes = list(found)
    scope = np.repeat(scopes, [found[s].shape[1] for s in scopes])
    columns = np.concatenate([found[s].astype(np.int64) for s in scopes], axis=1)
    try:
        np.savez(partial, scope=scope, **dict(zip(COLUMNS, columns, strict=True)))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _smallest(columns: Columns) -> Columns:
    """The same numbers in half the memory, where they fit."""
    fits = columns.max(initial=0) <= np.iinfo(np.uint32).max
    return columns.astype(np.uint32 if fits else np.int64)


def _make_room(folder: Path) -> None:
    files = sorted((p.stat().st_mtime, p.stat().st_size, p) for p in folder.glob("*.npz"))
    total = sum(size for _, size, _ in files)
    for _, size, path in files:
        if total <= MOST_BYTES:
            return
        path.unlink(missing_ok=True)
        total -= size
