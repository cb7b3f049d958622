"""Adapters are sampled as the models that they make of their base: rows of B, the whole of A, the base once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from merge_core.interference import inspect
from merge_core.interference.sampling import inspect_sample
from merge_core.interference.sampling.design import Sampled
from merge_core.interference.sampling.fetching import Fetched, PartReader
from merge_core.interference.sampling.reading import SampleReader
from merge_core.interference.sampling.sources import cost_of, rows_of
from merge_core.plan import MergePlan
from merge_core.prepare import prepare
from merge_core.recipe import read_recipe
from tests.checkpoints import write_model
from tests.core.test_lora import recipe, write_adapter

KINDS = ("touched", "contested", "conflicted")
SHAPES = {"layers.0.q_proj": (300, 200), "layers.0.up_proj": (400, 300), "layers.1.q_proj": (300, 200)}
WORDS = (500, 60)


@pytest.fixture
def plan(tmp_path: Path) -> MergePlan:
    """A base and three adapters: linear layers, an embedding (whose factors lie the other way), a whole tensor."""
    rng = np.random.default_rng(11)
    base = {f"{module}.weight": rng.normal(0, 0.02, shape) for module, shape in SHAPES.items()}
    base |= {"embed_tokens.weight": rng.normal(0, 0.02, WORDS), "norm.weight": np.ones(5000)}
    write_model(tmp_path / "base", base, "bfloat16")
    names = []
    for number in range(3):
        pairs = {
            module: (rng.normal(size=(4, shape[1])) / 100, rng.normal(size=(shape[0], 4)) / 100)
            for module, shape in SHAPES.items()
        }
        words = {
            "base_model.model.embed_tokens.lora_embedding_A": rng.normal(size=(4, WORDS[0])) / 100,
            "base_model.model.embed_tokens.lora_embedding_B": rng.normal(size=(WORDS[1], 4)) / 100,
        }
        whole = {"norm.weight": 1 + rng.normal(0, 0.1, 5000)}
        write_adapter(tmp_path / f"adapter-{number}", pairs, whole=whole, extra=words)
        names.append(f"{tmp_path / 'base'}+{tmp_path / f'adapter-{number}'}")
    return prepare(read_recipe(recipe(tmp_path / "base", *names, method="ties", density=0.2)))


def nothing_remote(holder: object) -> PartReader:
    raise AssertionError("all is here")


def test_everything_read_of_adapters_gives_the_exact_counts(plan: MergePlan) -> None:
    exact, sampled = inspect(plan), inspect_sample(plan, 10**8)
    for mine, theirs in zip(sampled.tensors, exact.tensors, strict=True):
        assert mine.sampled == mine.numel
        for kind in KINDS:
            assert getattr(mine, kind) == getattr(theirs, kind) == getattr(mine, f"{kind}_low"), mine.name


def test_sampled_entries_are_those_of_the_whole_to_the_last_bit(plan: MergePlan) -> None:
    reader = SampleReader(plan, Fetched(plan, nothing_remote))
    for tensor in plan.tensors:
        whole = reader.read(tensor, Sampled(tensor.numel, np.array([[0, tensor.numel]]))).vectors
        starts = np.arange(7, tensor.numel - 400, 931)
        blocks = np.stack([starts, starts + 333], axis=1)
        part = reader.read(tensor, Sampled(tensor.numel, blocks)).vectors
        np.testing.assert_array_equal(part, np.concatenate([whole[:, a:b] for a, b in blocks], axis=1))
    reader.close()


def test_intervals_of_sampled_adapters_hold_the_truth(plan: MergePlan) -> None:
    true = np.array([[getattr(t, kind) for kind in KINDS] for t in inspect(plan).tensors])
    inside = []
    for seed in range(12):
        report = inspect_sample(plan, 300_000, seed=seed)
        low, high = (
            np.array([[getattr(t, f"{kind}_{side}") for kind in KINDS] for t in report.tensors])
            for side in ("low", "high")
        )
        inside.append(((low <= true) & (true <= high)).mean(axis=(0, 2)))
        assert any(t.sampled < t.numel for t in report.tensors)
    assert np.mean(inside, axis=0).min() >= 0.95


def test_what_adapters_share_is_paid_for_once(plan: MergePlan) -> None:
    costs = {t.name: cost_of(rows_of(plan, t)) for t in plan.tensors}
    linear, words, norm = (
        costs[name] for name in ("layers.0.q_proj.weight", "embed_tokens.weight", "norm.weight")
    )
    assert linear.entry == 2  # bytes of the base's bfloat16, for all four
    assert linear.once == 3 * 4 * 200 * 4  # three A of rank four in float32
    assert linear.row == 3 * 4 * 4
    assert words.once == 3 * 4 * (500 + 60) * 4
    assert words.row == 0
    assert norm.entry == 2 + 3 * 4
