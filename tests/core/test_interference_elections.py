"""Norms, pairs, survivors and losers of every tensor are those that looking at every entry gives."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from merge_core.__main__ import main
from merge_core.engine import merge
from merge_core.interference import InterferenceReport, inspect
from merge_core.interference import measure as measure_module
from merge_core.kernels import disjoint
from merge_core.kernels.elections import (
    BINS,
    STEPS,
    Ballots,
    count_elections,
    count_elections_plain,
    count_survivors,
    count_survivors_plain,
)
from merge_core.kernels.onset import NEVER
from merge_core.prepare import prepare
from merge_core.recipe import read_recipe
from tests.checkpoints import read_model, trim_mask
from tests.core.test_interference import SHAPES, make_models, recipe_for


def task_vectors(paths: list[str]) -> dict[str, np.ndarray]:
    """Per tensor [models, n], as float32 differences."""
    base, *models = ({n: t.float().numpy() for n, t in read_model(Path(p)).items()} for p in paths)
    return {name: np.stack([(m[name] - base[name]).ravel() for m in models]) for name in base}


def elected_sign(elect: str, votes: np.ndarray, energy: np.ndarray) -> np.ndarray:
    """Per entry of votes [models, n]; 0 where they are tied. `energy` is that of the models' whole scope."""
    shares = votes / np.sqrt(np.where(energy > 0, energy, 1))[:, None]
    if elect == "mass":
        return np.sign(votes.sum(0))
    if elect == "count":
        return np.sign(np.sign(votes).sum(0))
    if elect == "normmass":
        return np.sign((np.sign(shares) * shares**2).sum(0))
    return np.sign(shares[np.abs(shares).argmax(0), np.arange(votes.shape[1])])


@pytest.mark.parametrize("scope", ["tensor", "model"])
@pytest.mark.parametrize("elect", ["mass", "count", "normfrac", "normmass", "none"])
@pytest.mark.parametrize(
    ("dialect", "weights"),
    [
        ("mergekit", [1.0, 1.0, 1.0]),
        ("mergekit", [0.5, -2.0, 0.0]),
        ("mergekit", [0.25, 1.0, 3.0]),
        ("peft", [0.5, -2.0, 3.0]),
        ("paper", None),
        ("sd-mecha", None),
    ],
)
def test_who_survives_and_who_is_outvoted_in_the_recipes_own_election(
    tmp_path: Path, scope: str, elect: str, dialect: str, weights: list[float] | None
) -> None:
    paths = make_models(tmp_path, SHAPES, 3, "bfloat16")
    text = recipe_for(paths, weights, trim_scope=scope, elect=elect, dialect=dialect)
    report = inspect(prepare(read_recipe(text)), elections=True)
    taus = {name: tau.astype(np.float64) for name, tau in task_vectors(paths).items()}
    weight = np.array(weights or [1.0] * 3) if dialect == "mergekit" else np.ones(3)
    names = sorted(taus)
    ends = np.cumsum([taus[n].shape[1] for n in names])[:-1]
    for at, density in enumerate(report.coarse):
        scopes = [names] if scope == "model" else [[name] for name in names]
        told = {t.name: t.elections for t in report.tensors}
        for members in scopes:
            whole = np.concatenate([taus[n] for n in members], axis=1)
            kept = np.stack([np.where(trim_mask(dialect, row, density), row, 0) for row in whole])
            kept[weight == 0] = 0
            votes = kept * weight[:, None]
            elected = elected_sign(elect, votes, (kept**2).sum(1)) if elect != "none" else None
            if elected is not None and dialect in ("mergekit", "peft"):
                elected = np.where(elected == 0, 1, elected)
            elif elected is not None and dialect == "paper":
                elected = np.where(elected == 0, np.sign(elected.sum()) or -1, elected)
            agree = votes != 0 if elected is None else np.sign(votes) * elected > 0
            lost = np.where((votes != 0) & ~agree, np.abs(kept), 0)
            cuts = ends if scope == "model" else []
            for name, mine, gone in zip(
                members, np.split(kept, cuts, 1), np.split(lost, cuts, 1), strict=True
            ):
                found = told[name]
                assert found is not None
                assert found.election == elect
                assert [row[at] for row in found.kept] == (mine != 0).sum(1).tolist()
                assert [row[at] for row in found.kept_mass] == pytest.approx(np.abs(mine).sum(1), rel=1e-6)
                assert [row[at] for row in found.kept_energy] == pytest.approx((mine**2).sum(1), rel=1e-6)
                assert [row[at] for row in found.outvoted] == pytest.approx(gone.sum(1), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("elect", ["mass", "count", "normfrac"])
def test_the_elected_are_those_that_a_merge_adds_up(tmp_path: Path, elect: str) -> None:
    weights = [0.3, -1.7, 0.6]
    paths = make_models(tmp_path, SHAPES, 3, "float32")
    settings = {"elect": elect, "combine": "sum", "density": 0.45, "rescale": True}
    plan = prepare(read_recipe(recipe_for(paths, weights, **settings)))
    merge(plan, tmp_path / "out")
    base, merged = (read_model(path) for path in (Path(paths[0]), tmp_path / "out"))
    report = inspect(plan, elections=True)
    at = report.coarse.index(0.45)
    for tensor in report.tensors:
        # All that agree have one sign, weighed: their sum's magnitude is the sum of their magnitudes.
        added = (merged[tensor.name].double() - base[tensor.name].double()).abs().sum().item()
        assert tensor.elections is not None
        found = zip(weights, tensor.elections.kept_mass, tensor.elections.outvoted, strict=True)
        assert added == pytest.approx(sum(abs(w) * (k[at] - o[at]) for w, k, o in found), rel=1e-4)


@pytest.mark.parametrize("elect", ["mass", "normmass"])
def test_elections_are_the_same_whichever_way_a_scope_is_ranked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, elect: str
) -> None:
    paths = make_models(tmp_path, SHAPES, 3, "bfloat16")
    plan = prepare(read_recipe(recipe_for(paths, [0.5, -2.0, 0.7], elect=elect)))
    expected = inspect(plan, elections=True)
    monkeypatch.setattr(measure_module, "SORTED_ENTRIES", 0)
    assert inspect(plan, elections=True) == expected


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


@pytest.mark.parametrize(
    "vote", [disjoint.VOTE_MASS, disjoint.VOTE_COUNT, disjoint.VOTE_SHARE, disjoint.VOTE_LARGEST]
)
def test_the_kernels_are_their_numpy_meanings(vote: int) -> None:
    rng = np.random.default_rng(4)
    for models in (1, 2, 5):
        vectors = rng.integers(-3, 4, (models, 3000)).astype(np.float32)
        level = np.where(vectors == 0, NEVER, rng.integers(0, 101, vectors.shape)).astype(np.uint8)
        survivors = []
        for count in (count_survivors, count_survivors_plain):
            kept, magnitudes = np.zeros((models, NEVER + 1), np.int64), np.zeros((models, BINS), np.int64)
            sums = np.zeros((2, models, NEVER + 1))
            count(level, vectors, kept, sums, magnitudes)
            survivors.append((kept, sums, magnitudes))
        for varying in (False, True):
            ballot = rng.choice([-2.0, 1.0, 3.0], (models, 1))
            ballot = ballot * rng.integers(1, 4, (models, STEPS if varying else 1))
            ballots = Ballots(np.ascontiguousarray(np.broadcast_to(ballot, (models, STEPS))), vote, varying)
            fates, elected = np.zeros((2, 3, models, STEPS)), np.zeros((2, STEPS), np.int64)
            count_elections(level, vectors, ballots, fates[0], elected[0])
            count_elections_plain(level, vectors, ballots, fates[1], elected[1])
            np.testing.assert_array_equal(
                fates[0].cumsum(-1), fates[1].cumsum(-1)
            )  # whole numbers: in any order
            np.testing.assert_array_equal(elected[0], elected[1])
        for got, expected in zip(*survivors, strict=True):
            np.testing.assert_array_equal(got, expected)


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
