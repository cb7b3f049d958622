"""An input that is written to while it is merged is an error, and leaves nothing behind."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from merge_core.checkpoint.weight_file import Stamp, WeightFile
from merge_core.engine import merge
from merge_core.errors import UserError
from merge_core.interference import inspect
from merge_core.interference.block_counts import inspect_blocks
from merge_core.plan import MergePlan
from merge_core.prepare import prepare
from merge_core.progress import CancelCheck
from merge_core.recipe import read_recipe
from tests.core.test_engine import family, recipe_text


@pytest.mark.parametrize("change", ["shrunk", "overwritten"])
@pytest.mark.parametrize("method", ["ties", "linear"])
def test_an_input_that_changes_under_a_merge_is_an_error(tmp_path: Path, change: str, method: str) -> None:
    paths = family(tmp_path / "models", "bfloat16", models=2)
    weights = paths[1] / "model.safetensors"
    content = weights.read_bytes()

    times = itertools.count(1)

    def change_it() -> bool:
        weights.write_bytes(content[:-8] if change == "shrunk" else content[:-1] + b"\x3f")
        os.utime(weights, ns=(1, next(times)))
        return False

    plan = prepare(read_recipe(recipe_text(paths, method)))
    with pytest.raises(UserError, match=r"model\.safetensors in .*tuned-0 changed while it was read"):
        merge(plan, tmp_path / "out", cancelled=change_it)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["models"]


def test_reading_behind_the_end_of_a_file_that_shrank_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(bytes(range(100)))
    with path.open("rb") as opened:
        file = WeightFile(path, Stamp.of(opened.fileno()))
    assert file.entries(90, 10, np.dtype(np.uint8)).tolist() == list(range(90, 100))
    path.write_bytes(bytes(95))
    with pytest.raises(UserError, match="changed while it was read"):
        file.entries(90, 10, np.dtype(np.uint8))


def merge_it(plan: MergePlan, folder: Path, cancelled: CancelCheck | None = None) -> None:
    merge(plan, folder / "out", cancelled=cancelled, known=folder / "known")


def inspect_it(plan: MergePlan, folder: Path, cancelled: CancelCheck | None = None) -> None:
    inspect(plan, cancelled=cancelled, known=folder / "known")


def inspect_one_tensor(plan: MergePlan, folder: Path, cancelled: CancelCheck | None = None) -> None:
    inspect_blocks(plan, plan.tensors[0].name, cancelled=cancelled, known=folder / "known")


CHANGED = r"model\.safetensors in .*tuned-0 changed while it was read"


@pytest.mark.parametrize("change", ["overwritten in place", "replaced by another file"])
@pytest.mark.parametrize("work", [merge_it, inspect_it, inspect_one_tensor])
def test_an_input_that_changes_between_its_header_and_its_first_weight_is_an_error(
    tmp_path: Path, change: str, work: Callable[[MergePlan, Path], None]
) -> None:
    paths = family(tmp_path / "models", "bfloat16", models=2)
    weights = paths[1] / "model.safetensors"
    before, content = weights.stat(), weights.read_bytes()
    plan = prepare(read_recipe(recipe_text(paths, "ties")))
    written = weights if change == "overwritten in place" else tmp_path / "other"
    written.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(written, ns=(before.st_atime_ns, before.st_mtime_ns))
    written.replace(weights)
    with pytest.raises(UserError, match=CHANGED):
        work(plan, tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["models"]


@pytest.mark.parametrize("work", [inspect_it, inspect_one_tensor])
def test_an_input_that_changes_under_an_inspection_is_an_error(
    tmp_path: Path, work: Callable[[MergePlan, Path, CancelCheck], None]
) -> None:
    paths = family(tmp_path / "models", "bfloat16", models=2)
    times = itertools.count(1)

    def change_it() -> bool:
        os.utime(paths[1] / "model.safetensors", ns=(1, next(times)))
        return False

    plan = prepare(read_recipe(recipe_text(paths, "ties")))
    with pytest.raises(UserError, match=CHANGED):
        work(plan, tmp_path, change_it)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["models"]
