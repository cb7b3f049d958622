"""One tensor's counts by heads and rows are those of sorting its scope and looking at every entry."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from merge_core.__main__ import main
from merge_core.errors import UserError
from merge_core.interference import inspect
from merge_core.interference.block_counts import BlockCounts, inspect_blocks
from merge_core.kernels.blocks import count_blocks, count_blocks_plain
from merge_core.kernels.onset import NEVER
from merge_core.prepare import prepare
from merge_core.progress import Cancelled, Progress
from merge_core.recipe import read_recipe
from merge_core.streaming import pieces as pieces_module
from merge_core.trimming.thresholds import SMALL_SCOPE
from tests.checkpoints import read_model, trim_mask, write_model
from tests.core.test_interference import recipe_for
from tests.core.test_lora import BASE, factors, merged, write_adapter
from tests.core.test_lora import recipe as lora_recipe

CONFIG = {
    "model_type": "llama",
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "hidden_size": 40,
}
Q, K, OUT = (f"model.layers.1.self_attn.{part}_proj.weight" for part in "qko")
SHAPES = {
    "model.embed_tokens.weight": (150, 40),
    "model.layers.0.mlp.up_proj.weight": (33, 40),
    Q: (48, 40),
    K: (16, 40),
    OUT: (40, 48),
    "model.layers.1.self_attn.q_proj.bias": (48,),
    "model.norm.weight": (40,),
}
DENSITIES = np.arange(1, 101) / 100


def make_models(
    folder: Path, models: int, dtype: str, config: dict[str, Any], shapes: Any = SHAPES
) -> list[str]:
    """Task vectors with many ties, zeros and opposites, that differ from row to row and column to column."""
    rng = np.random.default_rng(3)
    base = {n: rng.normal(0, 1, s).astype(np.float32).round(1) for n, s in shapes.items()}
    paths = [str(write_model(folder / "base", base, dtype, config=config))]
    for number in range(models):
        tuned = {}
        for name, values in base.items():
            scale = 2.0 ** rng.integers(-1, 2, values.shape[:1] + (1,) * (values.ndim - 1))
            if values.ndim == 2:
                scale = scale * 2.0 ** rng.integers(-1, 2, (1, values.shape[1]))
            tuned[name] = values + (rng.integers(-4, 5, values.shape) * 2.0**-6 * scale).astype(np.float32)
        paths.append(str(write_model(folder / f"tuned-{number}", tuned, dtype, config=config)))
    return paths


def taus_of(paths: list[str]) -> list[dict[str, np.ndarray]]:
    base, *models = ({n: t.float().numpy() for n, t in read_model(Path(p)).items()} for p in paths)
    return [{n: m[n] - base[n] for n in base} for m in models]


def survivors(
    taus: list[dict[str, np.ndarray]], signs: list[float], name: str, dialect: str, scope: str, density: float
) -> np.ndarray:
    """τ̂ of one tensor, turned as it votes: [models, *shape]."""
    kept = []
    for tau, sign in zip(taus, signs, strict=True):
        names = sorted(tau) if scope == "model" else [name]
        mask = trim_mask(dialect, np.concatenate([tau[n].ravel() for n in names]), density)
        start = sum(tau[n].size for n in names[: names.index(name)])
        own = mask[start : start + tau[name].size].reshape(tau[name].shape)
        kept.append(np.where(own, tau[name] * np.float32(sign), 0))
    return np.stack(kept)


def require_equal(found: BlockCounts, hat_at: Any) -> None:
    """Compare with a function density → τ̂, at every density."""
    for step, density in enumerate(DENSITIES):
        hat = hat_at(density)
        for number, block in enumerate(found.blocks.blocks):
            place = slice(block.start, block.stop)
            own = hat[:, :, place] if found.blocks.axis else hat[:, place]
            flat = own.reshape(len(own), -1)
            alive = (flat != 0).sum(0)
            clash = (flat > 0).any(0) & (flat < 0).any(0)
            counted = [found.touched, found.contested, found.conflicted]
            assert found.numel[number] == flat.shape[1]
            assert [kind[number][step] for kind in counted] == [
                (alive >= 1).sum(),
                (alive >= 2).sum(),
                clash.sum(),
            ]
            assert [row[step] for row in found.kept[number]] == (flat != 0).sum(1).tolist()


@pytest.mark.parametrize("dialect", ["mergekit", "peft", "paper", "sd-mecha"])
@pytest.mark.parametrize("scope", ["tensor", "model"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_counts_are_those_of_brute_force(tmp_path: Path, dialect: str, scope: str, dtype: str) -> None:
    paths = make_models(tmp_path, 3, dtype, CONFIG)
    taus = taus_of(paths)
    plan = prepare(read_recipe(recipe_for(paths, dialect=dialect, trim_scope=scope)))
    for name in (Q, OUT, "model.embed_tokens.weight", "model.norm.weight"):
        found = inspect_blocks(plan, name)
        require_equal(found, lambda d, n=name: survivors(taus, [1, 1, 1], n, dialect, scope, d))


@pytest.mark.parametrize("scope", ["tensor", "model"])
def test_models_vote_as_their_weights_say(tmp_path: Path, scope: str) -> None:
    paths = make_models(tmp_path, 3, "bfloat16", CONFIG)
    taus = taus_of(paths)
    plan = prepare(read_recipe(recipe_for(paths, [0.5, -2.0, 0.0], trim_scope=scope)))
    require_equal(inspect_blocks(plan, K), lambda d: survivors(taus, [1, -1, 0], K, "mergekit", scope, d))


@pytest.mark.parametrize("dialect", ["mergekit", "sd-mecha"])
@pytest.mark.parametrize("scope", ["tensor", "model"])
def test_known_thresholds_are_reused_and_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dialect: str, scope: str
) -> None:
    large = "model.embed_tokens.weight"  # the others are too small by themselves to be worth remembering
    paths = make_models(tmp_path, 3, "bfloat16", CONFIG, {**SHAPES, large: (SMALL_SCOPE // 40 + 1, 40)})
    plan = prepare(read_recipe(recipe_for(paths, dialect=dialect, trim_scope=scope)))
    expected = {name: inspect_blocks(plan, name) for name in (SHAPES if scope == "model" else [large])}
    inspect(plan, known=tmp_path / "known")

    def refuse(*_: Any) -> None:
        raise AssertionError("magnitudes were ranked again")

    monkeypatch.setattr("merge_core.interference.block_counts.measure_levels", refuse)
    for name, counts in expected.items():
        assert inspect_blocks(plan, name, known=tmp_path / "known") == counts


@pytest.mark.parametrize("scope", ["tensor", "model"])
def test_the_blocks_of_a_tensor_add_up_to_its_row_in_the_report(tmp_path: Path, scope: str) -> None:
    paths = make_models(tmp_path, 2, "float16", CONFIG)
    plan = prepare(read_recipe(recipe_for(paths, trim_scope=scope)))
    for tensor in inspect(plan).tensors:
        found = inspect_blocks(plan, tensor.name)
        for kind in ("touched", "contested", "conflicted"):
            assert np.sum(getattr(found, kind), axis=0).tolist() == list(getattr(tensor, kind))


@pytest.mark.parametrize("scope", ["tensor", "model"])
def test_neither_threads_nor_the_cut_into_parts_changes_a_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scope: str
) -> None:
    shapes = {"a": (70, 30), "layers.0.w": (1100, 301), "norm": (7,)}
    paths = make_models(tmp_path, 3, "bfloat16", {}, shapes)
    taus = taus_of(paths)
    plan = prepare(read_recipe(recipe_for(paths, trim_scope=scope)))
    one = inspect_blocks(plan, "layers.0.w", threads=1)
    assert inspect_blocks(plan, "layers.0.w", threads=3) == one
    for step in (4, 19, 99):
        hat = survivors(taus, [1, 1, 1], "layers.0.w", "mergekit", scope, DENSITIES[step])
        sums = np.add.reduceat((hat != 0).sum(axis=2), range(0, 1100, 18), axis=1)
        assert [[row[step] for row in block] for block in one.kept] == sums.T.tolist()
    assert pieces_module.CHUNK < 1100 * 301


def test_adapters_are_counted_as_the_models_that_merging_them_makes(tmp_path: Path) -> None:
    base = write_model(tmp_path / "base", BASE)
    first = write_adapter(tmp_path / "one", factors(seed=1))
    second = write_adapter(tmp_path / "two", factors(rank=2, seed=2))
    names = [f"{base}+{first}", f"{base}+{second}"]
    for number, name in enumerate(names):
        merged(tmp_path, lora_recipe(base, name), f"full-{number}")
    taus = taus_of([str(base), str(tmp_path / "full-0"), str(tmp_path / "full-1")])
    plan = prepare(read_recipe(lora_recipe(base, *names, method="ties", density=0.2)))
    for name in ("model.layers.0.q_proj.weight", "model.layers.0.mlp.weight"):
        found = inspect_blocks(plan, name)
        require_equal(found, lambda d, n=name: survivors(taus, [1, 1], n, "mergekit", "tensor", d))


def test_the_kernel_is_its_numpy_meaning() -> None:
    rng = np.random.default_rng(4)
    for models in (1, 2, 5):
        vectors = rng.integers(-3, 4, (models, 3000)).astype(np.float32)
        level = np.where(vectors == 0, NEVER, rng.integers(0, 101, vectors.shape)).astype(np.uint8)
        sign = rng.choice([-1, 1], models).astype(np.float32)
        block = rng.integers(0, 7, 3000)
        found = []
        for count in (count_blocks, count_blocks_plain):
            counts, kept = np.zeros((7, 3, NEVER + 1), np.int64), np.zeros((7, models, NEVER + 1), np.int64)
            count(level, vectors, sign, block, counts, kept)
            found.append((counts, kept))
        for got, expected in zip(*found, strict=True):
            np.testing.assert_array_equal(got, expected)


def test_a_count_tells_how_far_it_is_and_stops_when_asked(tmp_path: Path) -> None:
    paths = make_models(tmp_path, 2, "bfloat16", CONFIG)
    plan = prepare(read_recipe(recipe_for(paths, trim_scope="model")))
    told: list[Progress] = []
    inspect_blocks(plan, OUT, progress=told.append)
    assert told
    assert all(0 <= p.fraction <= 1 for p in told)
    with pytest.raises(Cancelled):
        inspect_blocks(plan, OUT, cancelled=lambda: True)


def test_a_tensor_that_is_not_there_is_refused_with_the_nearest(tmp_path: Path) -> None:
    paths = make_models(tmp_path, 2, "float32", CONFIG)
    with pytest.raises(UserError, match=r"layers\.9") as refused:
        inspect_blocks(prepare(read_recipe(recipe_for(paths))), Q.replace("1", "9"))
    assert Q in refused.value.hint


def test_the_command_line_counts_one_tensor(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIEBREAK_HOME", str(tmp_path / "home"))
    recipe, out = tmp_path / "recipe.yml", tmp_path / "blocks.json"
    paths = make_models(tmp_path, 2, "bfloat16", CONFIG)
    recipe.write_text(recipe_for(paths))
    assert main(["inspect", str(recipe), "--tensor", K, "--json", str(out)]) == 0
    said = capsys.readouterr().out
    assert "key head 1" in said
    assert "chance" in said
    document = json.loads(out.read_text())
    assert BlockCounts.from_json(document) == inspect_blocks(prepare(read_recipe(recipe.read_text())), K)
    assert [(b["start"], b["stop"]) for b in document["blocks"]] == [(0, 8), (8, 16)]
    for more in (["--elections"], ["--sample-mb", "1"], ["--html", str(tmp_path / "a.html")]):
        assert main(["inspect", str(recipe), "--tensor", K, *more]) == 2
