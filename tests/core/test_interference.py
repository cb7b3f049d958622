"""The report counts what sorting and looking at every entry would count."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from merge_core.errors import UserError
from merge_core.interference import InterferenceReport, inspect, inspectable, levels, stretches
from merge_core.interference import measure as measure_module
from merge_core.prepare import prepare
from merge_core.recipe import read_recipe
from merge_core.streaming import pieces
from tests.checkpoints import trim_mask, write_model

SHAPES = {
    "model.embed_tokens.weight": (37, 16),
    "model.layers.0.self_attn.q_proj.weight": (16, 16),
    "model.layers.0.mlp.experts.7.w1.weight": (33, 16),
    "model.layers.1.self_attn.q_proj.weight": (16, 16),
    "model.norm.weight": (16,),
}


def make_models(
    folder: Path, shapes: dict[str, tuple[int, ...]], models: int, dtype: str, seed: int = 0
) -> list[str]:
    """A base and fine-tunes whose task vectors have many ties, zeros and exact opposites."""
    rng = np.random.default_rng(seed)
    base = {n: rng.normal(0, 1, s).astype(np.float32).round(1) for n, s in shapes.items()}
    paths = [str(write_model(folder / "base", base, dtype))]
    for number in range(models):
        tuned = {
            n: v
            + (rng.integers(-8, 9, v.shape) * 2.0**-6 * rng.choice([1, 1, 4], v.shape)).astype(np.float32)
            for n, v in base.items()
        }
        paths.append(str(write_model(folder / f"tuned-{number}", tuned, dtype)))
    return paths


def recipe_for(paths: list[str], weights: list[float] | None = None, **parameters: Any) -> str:
    weights = weights or [1.0] * (len(paths) - 1)
    unweighted = parameters.get("dialect") in ("paper", "fusionbench", "sd-mecha")
    models = [
        {"model": p, **({} if unweighted else {"parameters": {"weight": w}})}
        for p, w in zip(paths[1:], weights, strict=True)
    ]
    return yaml.safe_dump(
        {
            "merge_method": "ties",
            "base_model": paths[0],
            "models": models,
            "parameters": {"density": 0.2, **parameters},
        }
    )


def brute_force(paths: list[str], weights: list[float], dialect: str, scope: str) -> dict[str, np.ndarray]:
    """name → [3, 100] counts of touched, contested and conflicted entries."""
    from tests.checkpoints import read_model

    base = {n: t.float().numpy() for n, t in read_model(Path(paths[0])).items()}
    taus = [
        {n: (t.float().numpy() - base[n]).ravel() for n, t in read_model(Path(p)).items()} for p in paths[1:]
    ]
    names = sorted(base)
    counts = {n: np.zeros((3, 100), np.int64) for n in names}
    for j in range(1, 101):
        kept: dict[str, list[np.ndarray]] = {n: [] for n in names}
        for tau, weight in zip(taus, weights, strict=True):
            if scope == "model":
                whole = np.concatenate([tau[n] for n in names])
                mask = trim_mask(dialect, whole, j / 100)
                parts = np.split(mask, np.cumsum([tau[n].size for n in names])[:-1])
            else:
                parts = [trim_mask(dialect, tau[n], j / 100) for n in names]
            for name, part in zip(names, parts, strict=True):
                kept[name].append(np.where(part, tau[name] * np.float32(weight), 0))
        for name in names:
            hat = np.stack(kept[name])
            survivors = (hat != 0).sum(0)
            clash = (hat > 0).any(0) & (hat < 0).any(0)
            counts[name][:, j - 1] = [(survivors >= 1).sum(), (survivors >= 2).sum(), clash.sum()]
    return counts


def assert_counts(report: InterferenceReport, expected: dict[str, np.ndarray]) -> None:
    """`expected`: name → [3, 100] counts of touched, contested and conflicted entries."""
    for tensor in report.tensors:
        got = np.array([tensor.touched, tensor.contested, tensor.conflicted])
        np.testing.assert_array_equal(got, expected[tensor.name], err_msg=tensor.name)


@pytest.mark.parametrize("ranked_by", ["sorting", "tables"])
@pytest.mark.parametrize("dialect", ["mergekit", "peft", "paper", "fusionbench", "sd-mecha"])
@pytest.mark.parametrize("scope", ["tensor", "model"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_counts_are_those_of_brute_force_at_every_density(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ranked_by: str, dialect: str, scope: str, dtype: str
) -> None:
    if ranked_by == "tables":
        monkeypatch.setattr(measure_module, "SORTED_ENTRIES", 0)
    paths = make_models(tmp_path, SHAPES, 3, dtype)
    report = inspect(prepare(read_recipe(recipe_for(paths, dialect=dialect, trim_scope=scope))))
    expected = brute_force(paths, [1, 1, 1], dialect, scope)
    assert_counts(report, expected)


def test_negative_and_zero_weights_count_as_they_vote(tmp_path: Path) -> None:
    paths = make_models(tmp_path, SHAPES, 3, "float32")
    weights = [0.5, -1.0, 0.0]
    report = inspect(prepare(read_recipe(recipe_for(paths, weights))))
    expected = brute_force(paths, weights, "mergekit", "tensor")
    for tensor in report.tensors:
        np.testing.assert_array_equal(tensor.conflicted, expected[tensor.name][2])
        np.testing.assert_array_equal(tensor.touched, expected[tensor.name][0])


@pytest.mark.parametrize("scope", ["tensor", "model"])
def test_weights_that_come_in_after_the_vote_turn_no_sign(tmp_path: Path, scope: str) -> None:
    paths = make_models(tmp_path, SHAPES, 3, "float32")
    text = recipe_for(paths, [0.5, -2.0, 0.0], dialect="peft", trim_scope=scope)
    report = inspect(prepare(read_recipe(text)))
    expected = brute_force(paths, [1, 1, 1], "peft", scope)
    assert_counts(report, expected)


@pytest.mark.parametrize("scope", ["tensor", "model"])
def test_large_tensors_with_few_distinct_magnitudes(tmp_path: Path, scope: str) -> None:
    shapes = {"layers.0.w": (500, 600), "layers.1.w": (300, 700), "norm": (7,)}
    paths = make_models(tmp_path, shapes, 2, "bfloat16")
    report = inspect(prepare(read_recipe(recipe_for(paths, trim_scope=scope))))
    expected = brute_force(paths, [1, 1], "mergekit", scope)
    assert_counts(report, expected)


@pytest.mark.parametrize("counted", ["finely", "in little memory", "roughly", "not"])
@pytest.mark.parametrize("scope", ["tensor", "model"])
def test_ties_are_cut_at_the_same_entry_however_roughly_they_were_counted_on_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scope: str, counted: str
) -> None:
    monkeypatch.setattr(pieces, "CHUNK", 1 << 12)
    for most in ("MOST", "MOST_OF_SCOPE"):
        monkeypatch.setattr(stretches, most, 7 if counted == "roughly" else 1000)
    if counted == "in little memory":
        monkeypatch.setattr(stretches, "MOST_BYTES", 1 << 18)  # for some five of 49 notes
    if counted == "not":
        monkeypatch.setattr(measure_module, "BEFORE_FOLDING", 0)
    paths = make_models(tmp_path, {"layers.0.w": (400, 500), "layers.1.w": (300, 257)}, 2, "bfloat16")
    report = inspect(prepare(read_recipe(recipe_for(paths, trim_scope=scope))))
    expected = brute_force(paths, [1, 1], "mergekit", scope)
    assert_counts(report, expected)


@pytest.mark.parametrize("scope", ["tensor", "model"])
def test_many_magnitudes_are_told_their_levels_a_few_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scope: str
) -> None:
    monkeypatch.setattr(levels, "TOGETHER", 100)
    monkeypatch.setattr(levels, "MOST_LOW", 100)
    rng = np.random.default_rng(5)
    base = {f"layers.{i}.w": rng.normal(size=(300, 300)).astype(np.float32) for i in range(2)}
    tuned = [
        {n: w + rng.standard_t(2, w.shape).astype(np.float32) for n, w in base.items()} for _ in range(2)
    ]
    families = enumerate([base, *tuned])
    paths = [str(write_model(tmp_path / str(i), weights, "float32")) for i, weights in families]
    report = inspect(prepare(read_recipe(recipe_for(paths, trim_scope=scope))))
    expected = brute_force(paths, [1, 1], "mergekit", scope)
    assert_counts(report, expected)


@pytest.mark.parametrize("scope", ["tensor", "model"])
def test_a_model_without_entries_has_nothing_to_count(tmp_path: Path, scope: str) -> None:
    paths = make_models(tmp_path, {"layers.0.w": (0, 16)}, 2, "float32")
    (only,) = inspect(prepare(read_recipe(recipe_for(paths, trim_scope=scope)))).tensors
    assert (only.numel, set(only.touched)) == (0, {0})


def test_layer_and_module_are_told_by_the_name(tmp_path: Path) -> None:
    paths = make_models(tmp_path, SHAPES, 2, "float32")
    report = inspect(prepare(read_recipe(recipe_for(paths))))
    places = {t.name: (t.layer, t.module) for t in report.tensors}
    assert places["model.layers.0.mlp.experts.7.w1.weight"] == (0, "mlp.experts.7.w1.weight")
    assert places["model.norm.weight"] == (None, "model.norm.weight")


def test_pairs_and_norms_are_those_of_the_untrimmed_task_vectors(tmp_path: Path) -> None:
    from tests.checkpoints import read_model

    paths = make_models(tmp_path, SHAPES, 2, "float32")
    report = inspect(prepare(read_recipe(recipe_for(paths))))
    base, a, b = ({n: t.numpy().astype(np.float64) for n, t in read_model(Path(p)).items()} for p in paths)
    x = np.concatenate([(a[n].astype(np.float32) - base[n].astype(np.float32)).ravel() for n in sorted(base)])
    y = np.concatenate([(b[n].astype(np.float32) - base[n].astype(np.float32)).ravel() for n in sorted(base)])
    x, y = x.astype(np.float64), y.astype(np.float64)
    (pair,) = report.pairs
    assert (pair.a, pair.b) == (paths[1], paths[2])
    assert pair.cosine == pytest.approx(x @ y / np.linalg.norm(x) / np.linalg.norm(y), abs=1e-12)
    both = (x != 0) & (y != 0)
    assert pair.sign_agreement == pytest.approx((np.sign(x) == np.sign(y))[both].mean())
    assert report.norms[0].norm == pytest.approx(np.linalg.norm(x))
    whole = np.concatenate([base[n].ravel() for n in sorted(base)])
    assert report.norms[0].relative == pytest.approx(np.linalg.norm(x) / np.linalg.norm(whole))


def test_report_does_not_depend_on_threads(tmp_path: Path) -> None:
    paths = make_models(tmp_path, {"a": (700, 300), "b": (300, 500)}, 3, "bfloat16")
    plan = prepare(read_recipe(recipe_for(paths, trim_scope="model")))
    assert inspect(plan, threads=1) == inspect(plan, threads=3)


def test_report_survives_json(tmp_path: Path) -> None:
    paths = make_models(tmp_path, SHAPES, 2, "float32")
    report = inspect(prepare(read_recipe(recipe_for(paths))))
    document = json.loads(json.dumps(report.to_json()))
    assert InterferenceReport.from_json(document) == report
    assert document["density"][0] == 0.01
    assert document["density"][-1] == 1.0


def test_a_model_equal_to_the_base_touches_nothing(tmp_path: Path) -> None:
    paths = make_models(tmp_path, SHAPES, 1, "float32")
    report = inspect(prepare(read_recipe(recipe_for([paths[0], paths[1], paths[0] + "/../base"]))))
    assert report.pairs[0].cosine is None
    assert max(max(t.conflicted) for t in report.tensors) == 0


def test_a_method_that_never_trims_is_inspected_as_ties_would_trim_it(tmp_path: Path) -> None:
    paths = make_models(tmp_path, SHAPES, 2, "float32")
    text = (
        recipe_for(paths)
        .replace("merge_method: ties", "merge_method: task_arithmetic")
        .replace("density: 0.2", "{}")
    )
    recipe = inspectable(read_recipe(text.replace("parameters:\n  {}\n", "")))
    expected = inspect(prepare(read_recipe(recipe_for(paths))))
    assert inspect(prepare(recipe)).tensors == expected.tensors


def test_inspection_needs_a_base(tmp_path: Path) -> None:
    paths = make_models(tmp_path, SHAPES, 1, "float32")
    recipe = read_recipe(
        yaml.safe_dump(
            {"merge_method": "linear", "models": [{"model": paths[1], "parameters": {"weight": 1}}]}
        )
    )
    with pytest.raises(UserError, match="base_model"):
        inspectable(recipe)
