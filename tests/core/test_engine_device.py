"""The path through torch: the same walk, the same numbers to a unit of the last place; on a GPU where there is one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from merge_core.engine import merge
from merge_core.errors import UserError
from merge_core.prepare import prepare
from merge_core.recipe import read_recipe
from merge_core.streaming import accelerator
from merge_core.streaming import pieces as pieces_module
from tests.checkpoints import as_float64, read_model
from tests.core.test_engine import SHAPES, family, recipe_text

LARGE = {**SHAPES, "large.weight": (600, 300)}


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> str:
    """A GPU, or the processor standing in for one: the code is the same."""
    monkeypatch.setattr(accelerator, "CHUNK", 1 << 16)
    monkeypatch.setattr(pieces_module, "PIECE", 1 << 17)
    if not torch.cuda.is_available():
        monkeypatch.setattr(accelerator, "torch_device", lambda name: torch.device("cpu"))
    return "cuda"


@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        ("ties", {"density": 0.3}),
        ("ties", {"density": 0.3, "trim_scope": "model", "lambda": 0.7}),
        ("ties", {"density": 0.3, "dialect": "paper"}),
        ("ties", {"density": 0.3, "dialect": "sd-mecha"}),
        ("ties", {"density": 0.3, "elect": "normfrac", "combine": "max", "rescale": True}),
        ("ties", {"density": 0.3, "elect": "normmass", "combine": "sum"}),
        ("ties", {"density": 1.0, "elect": "none"}),
        ("task_arithmetic", {"lambda": 0.4}),
        ("dare_linear", {"density": 0.4, "seed": 3}),
        ("dare_ties", {"density": 0.4, "normalize": True, "lambda": 0.7}),
        ("linear", {}),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_another_device_gives_the_processors_numbers(
    tmp_path: Path, device: str, method: str, parameters: dict[str, Any], dtype: str
) -> None:
    paths = family(tmp_path, dtype, models=2, shapes=LARGE)
    text = recipe_text(paths, method, **parameters)
    if method == "linear":
        text = "".join(line for line in text.splitlines(keepends=True) if not line.startswith("base_model"))
    merge(prepare(read_recipe(text)), tmp_path / "there", device=device)
    merge(prepare(read_recipe(text)), tmp_path / "here")
    bits = {"float32": 24, "float16": 11, "bfloat16": 8}[dtype]
    theirs = read_model(tmp_path / "there")
    for name, values in read_model(tmp_path / "here").items():
        here, there = as_float64(values), as_float64(theirs[name])
        assert (np.abs(here - there) <= np.maximum(np.abs(here), 1e-6) * 2.0 ** (1 - bits)).all(), name


def test_values_that_are_not_finite_are_refused_there_too(tmp_path: Path, device: str) -> None:
    from tests.checkpoints import write_model

    paths = family(tmp_path, "float32", models=1)
    tensors = read_model(paths[1])
    tensors["model.layers.1.mlp.weight"][3, 17] = np.nan
    write_model(paths[1], tensors)
    with pytest.raises(UserError, match=r"index \[3, 17\]"):
        merge(prepare(read_recipe(recipe_text(paths, density=0.5))), tmp_path / "out", device=device)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_gpu_the_error_says_so(tmp_path: Path) -> None:
    paths = family(tmp_path, "float32", models=1)
    with pytest.raises(UserError, match="no cuda device"):
        merge(prepare(read_recipe(recipe_text(paths, density=0.5))), tmp_path / "out", device="cuda")
    assert not list(tmp_path.glob("*out*"))
