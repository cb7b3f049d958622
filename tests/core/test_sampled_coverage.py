"""A sample's 95 % intervals hold the truth however the updates are spread over the rows and columns of a tensor."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from merge_core.interference import inspect
from merge_core.interference.sampling import inspect_sample
from merge_core.interference.sampling.design import LOCAL, REMOTE, Manner
from merge_core.plan import MergePlan
from merge_core.prepare import prepare
from merge_core.recipe import read_recipe
from tests.checkpoints import write_model
from tests.core.test_interference import recipe_for

ROWS, COLUMNS, MODELS, TENSORS = 384, 256, 3, 6
KINDS = ("touched", "contested", "conflicted")
RATES = ("of_touched", "of_contested")
SEEDS = 10
DENSITIES = [0, 1, 4, 9, 14, 19, 29, 49, 69, 89]  # places in the grid: 1 % … 90 %
Random = np.random.Generator
Update = Callable[[Random], np.ndarray]


def normal(rng: Random) -> np.ndarray:
    return rng.normal(size=(MODELS, ROWS, COLUMNS))


def row_blocks(rng: Random, share: float, own: bool, elsewhere: float) -> np.ndarray:
    """Updates of `share` of the rows, next to each other; `elsewhere` is how large those of the other rows are."""
    found = normal(rng) * elsewhere
    many = int(share * ROWS)
    start = rng.integers(ROWS)
    for update, fresh in zip(found, normal(rng), strict=True):
        start = rng.integers(ROWS) if own else start
        rows = (start + np.arange(many)) % ROWS
        update[rows] = fresh[rows]
    return found


def chunks(rng: Random) -> np.ndarray:
    return normal(rng) * np.repeat(rng.random(ROWS // 16) < 0.25, 16)[:, None]


def column_block(rng: Random) -> np.ndarray:
    start = rng.integers(COLUMNS - 80)
    return normal(rng) * ((np.arange(COLUMNS) - start) % COLUMNS < 80)


def tokens(rng: Random) -> np.ndarray:
    """Rows of an embedding: the rarer a token, the fewer models have seen it, and the less it has moved."""
    seen = np.minimum(1, 20 / (1 + np.arange(ROWS)))[:, None]
    return normal(rng) * (rng.random((MODELS, ROWS, 1)) < seen) * np.sqrt(seen)


UPDATES: dict[str, Update] = {
    "independent": normal,
    "heavy tails and a shared part": lambda rng: (
        rng.standard_t(3, (MODELS, ROWS, COLUMNS)) + 0.4 * rng.standard_t(3, (ROWS, COLUMNS))
    ),
    "rows of different scale": lambda rng: normal(rng) * np.exp(rng.normal(0, 1, (ROWS, 1))),
    "rows of different scale by model": lambda rng: normal(rng) * np.exp(rng.normal(0, 1, (MODELS, ROWS, 1))),
    "a block of rows": lambda rng: row_blocks(rng, 0.1, False, 0),
    "a block of rows by model": lambda rng: row_blocks(rng, 0.1, True, 0),
    "a block of larger rows": lambda rng: row_blocks(rng, 0.1, False, 0.1),
    "a block of larger rows by model": lambda rng: row_blocks(rng, 0.3, True, 0.1),
    "blocks of rows": chunks,
    "outlier columns": lambda rng: normal(rng) * np.where(rng.random(COLUMNS) < 0.03, 20, 1),
    "a block of columns": column_block,
    "some rows": lambda rng: normal(rng) * (rng.random((ROWS, 1)) < 0.05),
    "low rank": lambda rng: rng.normal(size=(MODELS, ROWS, 4)) @ rng.normal(size=(MODELS, 4, COLUMNS)),
    "tokens": tokens,
    "some entries": lambda rng: normal(rng) * (rng.random((MODELS, ROWS, COLUMNS)) < 0.05),
    "one tensor of several with a block of rows": lambda rng: (
        row_blocks(rng, 0.1, True, 0) if rng.random() < 0.25 else normal(rng)
    ),
}

ACROSS = [UPDATES[name] for name in ("heavy tails and a shared part", "a block of rows by model", "tokens")]


def models_with(update: Update, folder: Path) -> list[str]:
    """A base of zeros, so that the task vectors are the updates to the last bit, and three fine-tunes."""
    rng = np.random.default_rng(3)
    updates = {f"layers.{n}.w": update(rng).astype(np.float32) for n in range(TENSORS)}
    base = {name: np.zeros((ROWS, COLUMNS), np.float32) for name in updates}
    paths = [str(write_model(folder / "base", base))]
    for number in range(MODELS):
        tuned = {name: values[number] for name, values in updates.items()}
        paths.append(str(write_model(folder / f"tuned-{number}", tuned)))
    return paths


def rates_of(counts: np.ndarray) -> np.ndarray:
    """In conflict of touched and of contested, of [tensors, kinds, densities]; not a number where there is none."""
    with np.errstate(invalid="ignore"):
        return counts[:, 2:] / counts[:, :2]


def bounds(plan: MergePlan, share: float, seed: int) -> np.ndarray:
    """[(low, high), tensors, kinds and rates, densities] of a sample of `share` of the weights."""
    budget = round(share * TENSORS * ROWS * COLUMNS * 4 * (MODELS + 1)) + 10_000
    report = inspect_sample(plan, budget, seed=seed)
    assert all(0 < t.sampled < t.numel for t in report.tensors)
    return np.array(
        [
            [[getattr(t, f"{kind}_{side}") for kind in (*KINDS, *RATES)] for t in report.tensors]
            for side in ("low", "high")
        ]
    )[..., DENSITIES]


@pytest.mark.parametrize("manner", [LOCAL, REMOTE], ids=["folders", "hub"])
@pytest.mark.parametrize("update", UPDATES.values(), ids=UPDATES)
def test_intervals_hold_the_truth_however_updates_are_spread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, update: Update, manner: Manner
) -> None:
    monkeypatch.setattr("merge_core.interference.sampling.preview.LOCAL", manner)
    paths = models_with(update, tmp_path)
    for scope in ("tensor", "model") if update in ACROSS else ("tensor",):
        plan = prepare(read_recipe(recipe_for(paths, trim_scope=scope)))
        true = np.array([[getattr(t, kind) for kind in KINDS] for t in inspect(plan).tensors])[..., DENSITIES]
        known = np.concatenate([true, rates_of(true)], axis=1)
        inside = []
        for share in (0.02, 0.1):
            for seed in range(SEEDS):
                low, high = bounds(plan, share, seed)
                inside.append((low <= known) & (known <= high) | np.isnan(known))
        held = np.mean(inside, axis=(0, 1))  # [kinds, densities], each of 120 cells
        assert held.mean(axis=1).min() >= 0.95
        assert held.min() >= 0.9


@pytest.mark.parametrize("update", ["independent", "heavy tails and a shared part", "outlier columns"])
def test_intervals_of_ordinary_updates_are_narrow(tmp_path: Path, update: str) -> None:
    plan = prepare(read_recipe(recipe_for(models_with(UPDATES[update], tmp_path))))
    low, high = bounds(plan, 0.1, 0)
    assert ((high - low)[:, : len(KINDS)] / (ROWS * COLUMNS)).mean() < 0.025
    assert (high - low)[:, len(KINDS) :, DENSITIES.index(49)].mean() < 0.1


def test_one_tensor_alone_is_told_as_uncertain_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing tells that the few blocks of a lone tensor have not missed rows that are unlike the others."""
    monkeypatch.setattr("merge_core.interference.sampling.preview.LOCAL", REMOTE)
    paths = [str(write_model(tmp_path / "base", {"w": np.zeros((ROWS, COLUMNS), np.float32)}))]
    for number, update in enumerate(row_blocks(np.random.default_rng(1), 0.05, False, 0)):
        paths.append(str(write_model(tmp_path / f"tuned-{number}", {"w": update.astype(np.float32)})))
    plan = prepare(read_recipe(recipe_for(paths)))
    true = np.array(inspect(plan).tensors[0].touched)
    inside, missed = [], 0
    for seed in range(60):
        tensor = inspect_sample(plan, 60_000, seed=seed).tensors[0]
        missed += tensor.touched[-1] == 0
        inside.append((tensor.touched_low <= true) & (true <= tensor.touched_high))
    assert missed > 6  # whose estimates are zero
    assert np.mean(inside) >= 0.95
