"""A merge stays within the interpreter and its budget, as the operating system counts, whatever a tensor's size."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.checkpoints import write_model
from tests.core.test_engine import recipe_text
from tests.core.test_lora import recipe, write_adapter

MEMORY_MB = 100
INSPECT_MB = 110
ROWS, COLUMNS = 9000, 3000  # float32: 108 MB in each of three models, more than the budget for all of them


# A child's peak counts what its parent had resident when it was started, so a small process starts it.
LAUNCHER = """
import os, subprocess, sys
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
process.returncode = os.waitstatus_to_exitcode(status)
print(usage.ru_maxrss * 1024)
sys.exit(process.returncode)
"""


def peak(*arguments: str) -> int:
    """The most memory, in bytes, that the command line had resident."""
    command = [sys.executable, "-m", "merge_core", *arguments]
    told = subprocess.run([sys.executable, "-c", LAUNCHER, *command], check=True, capture_output=True)
    return int(told.stdout)


@pytest.fixture(scope="module")
def small_and_large(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], list[Path]]:
    """The same family with a tensor of a few entries, and with one that is larger than the budget."""
    folder = tmp_path_factory.mktemp("models")
    rng = np.random.default_rng(2)
    families = []
    for name, shape in (("small", (3, 5)), ("large", (ROWS, COLUMNS))):
        base = rng.normal(size=shape).astype(np.float32)
        tuned = [base + rng.normal(size=shape).astype(np.float32) / 100 for _ in range(2)]
        weights = enumerate([base, *tuned])
        families.append([write_model(folder / f"{name}-{i}", {"a.weight": w}) for i, w in weights])
    return families[0], families[1]


@pytest.mark.parametrize("parameters", [{"density": 0.2}, {"density": 0.3, "trim_scope": "model"}])
def test_a_tensor_larger_than_the_budget_is_merged_within_it(
    tmp_path: Path, small_and_large: tuple[list[Path], list[Path]], parameters: dict[str, Any]
) -> None:
    peaks = []
    for number, paths in enumerate(small_and_large):
        recipe = tmp_path / f"{number}.yml"
        recipe.write_text(recipe_text(paths, **parameters))
        peaks.append(
            peak("merge", str(recipe), str(tmp_path / f"out-{number}"), "--memory", f"{MEMORY_MB}MB")
        )
    interpreter, merging = peaks
    assert merging - interpreter <= MEMORY_MB * 10**6


def test_wide_adapters_are_merged_within_the_budget(tmp_path: Path) -> None:
    """A thread reads one factor of an adapter whole: 20 MB here, and as much again while it is made float32."""
    peaks = []
    for name, columns in (("small", 4), ("large", 40_000)):
        rng = np.random.default_rng(3)
        modules = [f"model.layers.{layer}.mlp.down_proj" for layer in range(8)]
        weights = {
            f"{module}.weight": rng.normal(size=(64, columns)).astype(np.float32) for module in modules
        }
        base = write_model(tmp_path / f"{name}-base", weights)
        a, b = (rng.normal(size=shape).astype(np.float32) / 100 for shape in ((128, columns), (64, 128)))
        adapter = write_adapter(tmp_path / name, {module: (a.copy(), b.copy()) for module in modules}, r=128)
        file = tmp_path / f"{name}.yml"
        file.write_text(recipe(base, f"{base}+{adapter}", str(base)))
        out = tmp_path / f"out-{name}"
        peaks.append(peak("merge", str(file), str(out), "--memory", f"{MEMORY_MB}MB", "--threads", "4"))
    interpreter, merging = peaks
    assert merging - interpreter <= MEMORY_MB * 10**6


@pytest.mark.parametrize("scope", ["tensor", "model"])
def test_models_of_32_bits_are_inspected_within_the_budget(tmp_path: Path, scope: str) -> None:
    """Four tensors at a time, each with more magnitudes than its tables and notes have room for."""
    peaks = []
    rng = np.random.default_rng(4)
    for name, rows in (("small", 3), ("large", 1200)):
        base = {f"model.layers.{i}.w": rng.normal(size=(rows, 3000)).astype(np.float32) for i in range(4)}
        families = [
            base,
            *(
                {n: w + rng.standard_t(3, w.shape).astype(np.float32) / 100 for n, w in base.items()}
                for _ in range(2)
            ),
        ]
        paths = [write_model(tmp_path / f"{name}-{i}", weights) for i, weights in enumerate(families)]
        file = tmp_path / f"{name}.yml"
        file.write_text(recipe_text(paths, density=0.3, trim_scope=scope))
        peaks.append(peak("inspect", str(file), "--memory", f"{INSPECT_MB}MB", "--threads", "4"))
    interpreter, inspecting = peaks
    assert inspecting - interpreter <= INSPECT_MB * 10**6
