"""Norms, pairs, survivors and losers of every tensor are those that looking at every entry gives."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from merge_core.__main__ import main
from merge_core.interference import InterferenceReport, inspect
from merge_core.interference import measure as measure_module
from merge_core.kernels.elections import BINS, count_elections, count_elections_plain
from merge_core.kernels.onset import NEVER
from merge_core.prepare import prepare
from merge_core.recipe import read_recipe
from tests.checkpoints import read_model, trim_mask
from tests.core.test_interference import SHAPES, make_models, recipe_for


def task_vectors(paths: list[str]) -> dict[str, np.ndarray]:
    """Per tensor [models, n], as float32 differences."""
    base, *models = ({n: t.float().numpy() for n, t in read_model(Path(p)).items()} for p in paths)
    return {name: np.stack([(m[name] - base[name]).ravel() for m in models]) for name in base}


@pytest.mark.parametrize("weights", [[1.0, 1.0, 1.0], [0.5, -2.0, 0.0]])
@pytest.mark.parametrize("scope", ["tensor", "model"])
@pytest.mark.parametrize("ranked_by", ["sorting", "tables"])
def test_who_survives_and_who_is_outvoted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ranked_by: str, scope: str, weights: list[float]
) -> None:
    if ranked_by == "tables":
        monkeypatch.setattr(measure_module, "SORTED_ENTRIES", 0)
    paths = make_models(tmp_path, SHAPES, 3, "bfloat16")
    report = inspect(prepare(read_recipe(recipe_for(paths, weights, trim_scope=scope))), elections=True)
    taus = task_vectors(paths)
    names = sorted(taus)
    signs = np.sign(weights)
    for at, density in enumerate(report.coarse):
        if scope == "model":
            whole = np.concatenate([taus[n] for n in names], axis=1)
            masks = np.stack([trim_mask("mergekit", row, density) for row in whole])
            cut = dict(
                zip(names, np.split(masks, np.cumsum([taus[n].shape[1] for n in names])[:-1], 1), strict=True)
            )
        else:
            cut = {n: np.stack([trim_mask("mergekit", row, density) for row in taus[n]]) for n in names}
        for tensor in report.tensors:
            kept = np.where(cut[tensor.name] & (signs != 0)[:, None], taus[tensor.name].astype(np.float64), 0)
            found = tensor.elections
            assert found is not None
            assert [row[at] for row in found.kept] == (kept != 0).sum(1).tolist()
            assert [row[at] for row in found.kept_mass] == pytest.approx(np.abs(kept).sum(1), rel=1e-6)
            assert [row[at] for row in found.kept_energy] == pytest.approx((kept**2).sum(1), rel=1e-6)
            votes = kept * signs[:, None]
            for told, tally in (
                (found.outvoted_by_mass, votes.sum(0)),
                (found.outvoted_by_count, np.sign(votes).sum(0)),
            ):
                elected = np.where(tally < 0, -1, 1)
                lost = np.where(votes * elected < 0, np.abs(kept), 0).sum(1)
                assert [row[at] for row in told] == pytest.approx(lost, rel=1e-6, abs=1e-6)


def test_energy_and_pairs_of_every_tensor_add_up_to_those_of_the_model(tmp_path: Path) -> None:
    paths = make_models(tmp_path, SHAPES, 3, "float32")
    report = inspect(prepare(read_recipe(recipe_for(paths))))
    for tensor in report.tensors:
        tau = task_vectors(paths)[tensor.name].astype(np.float64)
        assert tensor.energy == pytest.approx((tau**2).sum(1))
        products = tau @ tau.T
        assert tensor.inner == pytest.approx([products[0, 1], products[0, 2], products[1, 2]])
        assert tensor.elections is None
        base = read_model(Path(paths[0]))[tensor.name].double().numpy()
        assert tensor.base_energy == pytest.approx((base**2).sum())
    for number, pair in enumerate(report.pairs):
        same = sum(t.same[number] for t in report.tensors if t.same)
        both = sum(t.both[number] for t in report.tensors if t.both)
        assert same / both == pair.sign_agreement


def test_magnitudes_are_counted_by_their_power_of_two(tmp_path: Path) -> None:
    paths = make_models(tmp_path, SHAPES, 2, "float32")
    report = inspect(prepare(read_recipe(recipe_for(paths))), elections=True)
    for tensor in report.tensors:
        assert tensor.elections is not None
        for row, tau in zip(tensor.elections.magnitudes, task_vectors(paths)[tensor.name], strict=True):
            assert sum(row) == tensor.numel
            for power, counted in enumerate(row, start=tensor.elections.lowest):
                low = 2.0**power if power > -127 else 0.0
                assert counted == ((np.abs(tau) >= low) & (np.abs(tau) < 2.0 ** (power + 1))).sum()


def test_the_kernel_is_its_numpy_meaning() -> None:
    rng = np.random.default_rng(4)
    for models in (1, 2, 5):
        vectors = rng.integers(-3, 4, (models, 3000)).astype(np.float32)
        level = np.where(vectors == 0, NEVER, rng.integers(0, 101, vectors.shape)).astype(np.uint8)
        sign = rng.choice([-1, 1], models).astype(np.float32)
        results = []
        for count in (count_elections, count_elections_plain):
            kept, magnitudes = np.zeros((models, NEVER + 1), np.int64), np.zeros((models, BINS), np.int64)
            sums, outvoted = np.zeros((2, models, NEVER + 1)), np.zeros((2, models, NEVER + 1))
            count(level, vectors, sign, kept, sums, outvoted, magnitudes)
            results.append((kept, sums, np.cumsum(outvoted, axis=2)[..., :NEVER], magnitudes))
        for got, expected in zip(*results, strict=True):
            np.testing.assert_array_equal(got, expected)  # small whole numbers: exact in any order


def test_elections_do_not_depend_on_threads_and_survive_json(tmp_path: Path) -> None:
    paths = make_models(tmp_path, {"a": (700, 300), "b": (300, 500)}, 3, "bfloat16")
    plan = prepare(read_recipe(recipe_for(paths, trim_scope="model")))
    report = inspect(plan, threads=1, elections=True)
    assert inspect(plan, threads=3, elections=True) == report
    assert InterferenceReport.from_json(json.loads(json.dumps(report.to_json()))) == report


def test_the_command_line_tells_who_is_outvoted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIEBREAK_HOME", str(tmp_path / "home"))
    recipe, out = tmp_path / "recipe.yml", tmp_path / "report.json"
    recipe.write_text(recipe_for(make_models(tmp_path, SHAPES, 3, "float32")))
    assert main(["inspect", str(recipe), "--elections", "--json", str(out)]) == 0
    assert "outvoted at density 0.2" in capsys.readouterr().out
    assert len(json.loads(out.read_text())["tensors"][0]["elections"]["kept"][0]) == 20
    assert main(["inspect", str(recipe), "--elections", "--sample-mb", "1"]) == 2
