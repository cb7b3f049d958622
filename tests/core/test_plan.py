"""A plan decides everything: which tensor answers to which, every number, every byte's place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from merge_core.cli.describe import describe
from merge_core.engine import merge
from merge_core.errors import UserError
from merge_core.plan import MergePlan
from merge_core.prepare import prepare
from merge_core.recipe import read_recipe
from tests.checkpoints import as_float64, read_model, reference_ties, write_model
from tests.core.test_engine import WEIGHTS, family, recipe_text

EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"
TIED = {"architectures": ["Toy"], "model_type": "toy", "tie_word_embeddings": True}


def plan_of(text: str, **options: Any) -> MergePlan:
    return prepare(read_recipe(text), **options)


def test_a_derived_buffer_missing_in_a_fine_tune_is_copied_from_the_base(tmp_path: Path) -> None:
    buffer = "model.layers.0.self_attn.rotary_emb.inv_freq"
    base = {"w": np.ones(8), buffer: np.arange(4.0)}
    paths = [write_model(tmp_path / "base", base), write_model(tmp_path / "a", {"w": np.full(8, 2.0)})]
    merge(plan_of(recipe_text(paths, density=1.0, out_dtype="bfloat16")), tmp_path / "out")
    got = read_model(tmp_path / "out")
    assert got[buffer].dtype == torch.float32
    assert got[buffer].tolist() == [0, 1, 2, 3]
    assert got["w"].tolist() == [1.5] * 8 or got["w"].tolist() == [2.0] * 8


def test_a_tied_head_that_one_model_does_not_store_is_its_embedding(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    base, tuned = rng.normal(0, 1, (6, 4)), rng.normal(0, 1, (6, 4))
    paths = [
        write_model(tmp_path / "base", {EMBEDDING: base, HEAD: base}, config=TIED),
        write_model(tmp_path / "a", {EMBEDDING: tuned}, config=TIED),
    ]
    merge(plan_of(recipe_text(paths, weights=(1.0,), density=1.0)), tmp_path / "out")
    got = read_model(tmp_path / "out")
    assert torch.equal(got[EMBEDDING], got[HEAD])
    np.testing.assert_allclose(got[HEAD].numpy(), tuned, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dialect", ["paper", "mergekit"])
def test_a_stored_tied_copy_is_counted_once_and_cut_alike(tmp_path: Path, dialect: str) -> None:
    rng = np.random.default_rng(4)
    base, taus = {}, []
    base = {EMBEDDING: rng.normal(0, 1, (9, 8)), "model.norm.weight": rng.normal(0, 1, 40)}
    taus = [{n: rng.integers(-3, 4, v.shape) / 8 for n, v in base.items()} for _ in range(2)]
    models = [base, *({n: base[n] + tau[n] for n in base} for tau in taus)]
    stored = [
        {**{n: v.astype(np.float32) for n, v in m.items()}, HEAD: m[EMBEDDING].astype(np.float32)}
        for m in models
    ]
    paths = [write_model(tmp_path / str(i), m, config=TIED) for i, m in enumerate(stored)]
    plan = plan_of(recipe_text(paths, density=0.4, dialect=dialect, trim_scope="model"))
    assert {t.name: t.counted for t in plan.tensors}[HEAD] is False
    merge(plan, tmp_path / "out")
    got = read_model(tmp_path / "out")
    assert torch.equal(got[EMBEDDING], got[HEAD])
    flat = [np.concatenate([(m[n] - stored[0][n]).ravel() for n in sorted(base)]) for m in stored[1:]]
    weight = list(WEIGHTS[:2]) if dialect == "mergekit" else [1.0, 1.0]
    expected = reference_ties([f.astype(np.float64) for f in flat], [0.4, 0.4], weight, dialect)[:72]
    delta = as_float64(got[EMBEDDING]).ravel() - stored[0][EMBEDDING].ravel()
    np.testing.assert_allclose(delta, expected, atol=1e-6)


def test_untied_heads_of_one_shape_are_counted(tmp_path: Path) -> None:
    untied = {**TIED, "tie_word_embeddings": False}
    tensors = {EMBEDDING: np.ones((4, 4)), HEAD: np.ones((4, 4))}
    paths = [write_model(tmp_path / name, tensors, config=untied) for name in ("base", "a")]
    assert all(t.counted for t in plan_of(recipe_text(paths, density=0.5)).tensors)


def test_the_fingerprint_changes_with_whatever_decides_bytes(tmp_path: Path) -> None:
    paths = family(tmp_path, "float32", models=2)
    seen = {
        plan_of(recipe_text(paths, density=0.3)).fingerprint,
        plan_of(recipe_text(paths, density=0.4)).fingerprint,
        plan_of(recipe_text(paths, density=0.3, out_dtype="float16")).fingerprint,
        plan_of(recipe_text(paths, density=0.3), shard_bytes=3000).fingerprint,
        plan_of(recipe_text([paths[1], paths[0], paths[2]], density=0.3)).fingerprint,
    }
    assert len(seen) == 5
    assert plan_of(recipe_text(paths, density=0.3)).fingerprint in seen
    write_model(paths[2], read_model(paths[2]))
    assert plan_of(recipe_text(paths, density=0.3)).fingerprint not in seen


def test_every_tensor_starts_at_a_multiple_of_its_entries_size(tmp_path: Path) -> None:
    tensors = {"a": torch.zeros(3, dtype=torch.int8), "b": np.ones(3), "c": torch.zeros(1, dtype=torch.int64)}
    paths = [write_model(tmp_path / name, tensors) for name in ("base", "a")]
    plan = plan_of(recipe_text(paths, density=0.5))
    for tensor in plan.tensors:
        assert tensor.offset % {"I8": 1, "F32": 4, "I64": 8}[tensor.dtype] == 0


def test_a_density_that_varies_is_refused_where_the_trim_ranks_the_whole_model(tmp_path: Path) -> None:
    paths = family(tmp_path, "float32", models=2)
    with pytest.raises(UserError, match="density cannot differ from tensor to tensor"):
        plan_of(recipe_text(paths, density=[0.1, 0.9], trim_scope="model"))


def test_a_description_names_models_numbers_sizes_and_copies(tmp_path: Path) -> None:
    tensors = {
        "model.layers.0.w": np.ones((4, 4)),
        "model.layers.1.w": np.ones((4, 4)),
        "ids": torch.arange(3),
    }
    paths = [write_model(tmp_path / name, tensors, "bfloat16") for name in ("base", "a", "b")]
    text = describe(plan_of(recipe_text(paths, density=[0.25, 0.5], dialect="peft")))
    for line in (
        f"base: {paths[0]}",
        f"model: {paths[1]}",
        "method: TIES",
        "  weight: 0.5, 1",
        "  density: 0.25 … 0.5, 0.25 … 0.5",
        "  lambda: 1",
        "  trim_scope: tensor",
        "  elect: mass",
        "merges: 2 tensors, 32 parameters, into BF16",
        f"copies: 1 tensors from {paths[0]}: ids",
        "in model.safetensors",
        "config.json",
    ):
        assert line in text
