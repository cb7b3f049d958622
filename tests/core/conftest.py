"""A recipe in, merged tensors out, through the same seams the command line uses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from merge_core.engine import merge
from merge_core.prepare import prepare
from merge_core.recipe import read_recipe
from tests.checkpoints import read_model, write_model

Tensors = Mapping[str, np.ndarray]


@pytest.fixture
def merged(tmp_path: Path) -> Callable[..., dict[str, torch.Tensor]]:
    """merged(base, fine_tunes, method, parameters, per_model, …) → the output's tensors."""
    count = 0

    def run(
        base: Tensors | None,
        models: list[Tensors],
        method: str = "ties",
        parameters: Mapping[str, Any] | None = None,
        per_model: list[Mapping[str, Any]] | None = None,
        dtype: str = "float32",
        out_dtype: str | None = None,
        threads: int | None = None,
        memory: int = 1 << 30,
    ) -> dict[str, torch.Tensor]:
        nonlocal count
        count += 1
        folder = tmp_path / f"merge-{count}"
        recipe: dict[str, Any] = {"merge_method": method, "models": [], "parameters": dict(parameters or {})}
        if base is not None:
            recipe["base_model"] = str(write_model(folder / "base", base, dtype))
        for number, tensors in enumerate(models):
            path = write_model(folder / f"model-{number}", tensors, dtype)
            settings = dict(per_model[number]) if per_model else {}
            recipe["models"].append({"model": str(path), "parameters": settings})
        if out_dtype:
            recipe["out_dtype"] = out_dtype
        plan = prepare(read_recipe(yaml.safe_dump(recipe)))
        merge(plan, folder / "out", threads=threads, memory=memory)
        return read_model(folder / "out")

    return run
