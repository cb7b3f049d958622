"""DARE drops the same entries whatever the machine does, and others for every seed, tensor and model."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from merge_core.engine import merge
from merge_core.plan import make_plan
from merge_core.prepare import open_all, prepare
from merge_core.recipe import ModelRef, load_recipe, read_recipe
from merge_core.streaming import pieces as pieces_module
from tests.checkpoints import as_float64, read_model, write_model
from tests.core.test_engine import family, recipe_text, weight_bytes

METHODS = ("dare_linear", "dare_ties")


@pytest.fixture
def ones(tmp_path: Path) -> list[Path]:
    """Two models that differ from a base of zeros by exactly 1 everywhere."""
    shapes = {"a.weight": (100, 70), "b.weight": (100, 70)}
    paths = [write_model(tmp_path / "base", {n: np.zeros(s) for n, s in shapes.items()})]
    return paths + [write_model(tmp_path / m, {n: np.ones(s) for n, s in shapes.items()}) for m in ("x", "y")]


def run(text: str, out: Path, **limits: int) -> dict[str, np.ndarray]:
    merge(prepare(read_recipe(text)), out, **limits)
    return {name: as_float64(t).ravel() for name, t in read_model(out).items()}


def test_what_stays_is_rescaled_so_that_the_expected_change_is_the_whole_one(
    tmp_path: Path, ones: list[Path]
) -> None:
    text = recipe_text(ones[:2], "dare_linear", weights=(1.0,), density=0.25)
    merged = np.concatenate(list(run(text, tmp_path / "out").values()))
    assert set(merged) == {0.0, 4.0}
    assert abs(np.mean(merged) - 1) < 4 * 4 * np.sqrt(0.25 * 0.75 / merged.size)
    plain = run(text.replace("density: 0.25", "density: 0.25\n  rescale: false"), tmp_path / "plain")
    np.testing.assert_array_equal(np.concatenate(list(plain.values())) * 4, merged)


def test_every_seed_tensor_and_model_draws_for_itself(tmp_path: Path, ones: list[Path]) -> None:
    draws = []
    for model in ones[1:]:
        for seed in (0, 1):
            text = recipe_text([ones[0], model], "dare_linear", weights=(1.0,), density=0.5, seed=seed)
            draws += run(text, tmp_path / f"{model.name}-{seed}").values()
    kept = np.array([np.where(d != 0, 1.0, -1.0) for d in draws])
    correlation = (kept @ kept.T / kept.shape[1])[~np.eye(len(draws), dtype=bool)]
    assert np.abs(correlation).max() < 5 / np.sqrt(kept.shape[1])


@pytest.mark.parametrize("method", METHODS)
def test_bytes_depend_on_no_thread_piece_or_order_of_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    paths = family(tmp_path, "bfloat16")
    text = recipe_text(paths, method, density=0.6, seed=11)
    run(text, tmp_path / "one", threads=1)
    monkeypatch.setattr(pieces_module, "CHUNK", 64)
    monkeypatch.setattr(pieces_module, "PIECE", 192)
    document = yaml.safe_load(text)
    document["models"].reverse()
    run(yaml.safe_dump(document), tmp_path / "other", threads=3)
    assert weight_bytes(tmp_path / "one") == weight_bytes(tmp_path / "other")


def test_a_merge_is_made_again_from_the_recipe_it_carries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = family(tmp_path / "somewhere", "bfloat16")
    run(recipe_text(paths, "dare_ties", density=0.5), tmp_path / "first")
    (tmp_path / "somewhere").rename(tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path / "elsewhere")
    carried = load_recipe(tmp_path / "first" / "mergekit_config.yml")
    merge(prepare(carried), tmp_path / "second")
    assert weight_bytes(tmp_path / "first") == weight_bytes(tmp_path / "second")


def test_dare_ties_adds_those_that_agree_with_the_heavier_side(tmp_path: Path) -> None:
    base = {"w": np.zeros((3, 4))}
    paths = [write_model(tmp_path / "base", base)]
    for name, value in (("a", 1.0), ("b", 2.0), ("c", -2.5)):
        paths.append(write_model(tmp_path / name, {"w": np.full((3, 4), value)}))
    text = recipe_text(paths, "dare_ties", weights=(1.0, 1.0, 1.0))
    assert set(run(text, tmp_path / "sum")["w"]) == {3.0}
    text = recipe_text(paths, "dare_ties", weights=(1.0, 1.0, 1.0), normalize=True)
    assert set(run(text, tmp_path / "mean")["w"]) == {1.5}


def test_folders_of_one_name_keep_their_draws_in_any_order(tmp_path: Path) -> None:
    base, *tuned = family(tmp_path / "models", "float32", models=2)
    named = [shutil.move(model, tmp_path / f"run-{n}" / "final") for n, model in enumerate(tuned)]
    merged = []
    for order in (named, named[::-1]):
        text = recipe_text([base, *order], "dare_linear", weights=(1.0, 1.0), density=0.5)
        merged.append(run(text, tmp_path / f"out-{len(merged)}"))
    for name, values in merged[0].items():
        np.testing.assert_array_equal(values, merged[1][name])


def test_tied_embeddings_stay_alike(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    paths = []
    for name in ("base", "a", "b"):
        table = rng.normal(size=(40, 8))
        tensors = {"model.embed_tokens.weight": table, "lm_head.weight": table}
        config = {"model_type": "llama", "tie_word_embeddings": True}
        paths.append(write_model(tmp_path / name, tensors, config=config))
    merged = run(recipe_text(paths, "dare_ties", weights=(1.0, 1.0), density=0.5), tmp_path / "out")
    np.testing.assert_array_equal(merged["lm_head.weight"], merged["model.embed_tokens.weight"])


def test_two_revisions_of_a_model_draw_each_for_itself(tmp_path: Path, ones: list[Path]) -> None:
    recipe = read_recipe(recipe_text(ones, "dare_linear", weights=(1.0, 1.0), density=0.5))
    opened = {ref: checkpoint for ref, checkpoint in open_all(recipe).items()}
    names = {str(ones[1]): "acme/model@v1", str(ones[2]): "acme/model@v2"}
    entries = tuple(replace(e, ref=ModelRef.parse(names[str(e.ref)])) for e in recipe.models)
    checkpoints = {recipe.base: opened[recipe.base]}
    for before, after in zip(recipe.models, entries, strict=True):
        commit = str(after.ref.revision) * 20
        checkpoints[after.ref] = replace(opened[before.ref], ref=str(after.ref), commit=commit)
    first, second = make_plan(replace(recipe, models=entries), checkpoints).drawn_as
    assert first != second
