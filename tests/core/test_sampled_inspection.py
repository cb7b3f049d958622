"""A sample's counts come with intervals that hold the true counts, within a budget of bytes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from merge_core.__main__ import main
from merge_core.errors import UserError
from merge_core.interference import InterferenceReport, inspect
from merge_core.interference.rates import rate_bounds
from merge_core.interference.sampling import inspect_sample
from merge_core.interference.sampling.design import LOCAL, REMOTE, Cost, Manner, design, scattered
from merge_core.interference.sampling.intervals import student
from merge_core.interference.summary import sum_bounds
from merge_core.plan import MergePlan
from merge_core.prepare import prepare
from merge_core.progress import Cancelled
from merge_core.recipe import read_recipe
from tests.checkpoints import write_model
from tests.core.test_interference import SHAPES, make_models, recipe_for

KINDS = ("touched", "contested", "conflicted")
SCALES = {
    "layers.0.q": 1.0,
    "layers.0.up": 3.0,
    "layers.1.q": 0.3,
    "layers.1.up": 2.0,
    "embed": 1.0,
    "norm": 5.0,
}
LARGE = {
    "layers.0.q": (256, 256),
    "layers.0.up": (400, 256),
    "layers.1.q": (256, 256),
    "layers.1.up": (400, 256),
    "embed": (900, 128),
    "norm": (256,),
}


def structured_models(folder: Path, dtype: str) -> list[str]:
    """Task vectors with heavy tails, shared parts, rows and tensors of different scale; in bfloat16 many equal ones."""
    rng = np.random.default_rng(5)
    base = {name: rng.normal(0, 0.02, shape) for name, shape in LARGE.items()}
    shared = {name: rng.standard_t(3, shape) for name, shape in LARGE.items()}
    rows = {
        name: np.exp(rng.normal(0, 0.5, shape[:1] + (1,) * (len(shape) - 1))) for name, shape in LARGE.items()
    }
    paths = [str(write_model(folder / "base", base, dtype))]
    for number in range(3):
        tuned = {
            name: value
            + 1e-3 * SCALES[name] * rows[name] * (0.4 * shared[name] + rng.standard_t(3, value.shape))
            for name, value in base.items()
        }
        paths.append(str(write_model(folder / f"tuned-{number}", tuned, dtype)))
    return paths


@pytest.fixture(scope="module", params=["float32", "bfloat16"])
def paths(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return structured_models(tmp_path_factory.mktemp("models"), request.param)


def plan_of(paths: list[str], **parameters: object) -> MergePlan:
    return prepare(read_recipe(recipe_for(paths, **parameters)))


def curves(report: InterferenceReport, ending: str = "") -> np.ndarray:
    """[tensors, 3, densities]."""
    return np.array([[getattr(t, kind + ending) for kind in KINDS] for t in report.tensors])


@pytest.mark.parametrize(
    ("manner", "scope", "dialect"),
    [
        (LOCAL, "tensor", "mergekit"),
        (REMOTE, "tensor", "mergekit"),
        (LOCAL, "model", "mergekit"),
        (REMOTE, "model", "paper"),
    ],
    ids=["folders", "hub", "folders, whole model", "hub, whole model, equals kept"],
)
def test_intervals_hold_the_true_counts_95_times_in_100(
    paths: list[str], monkeypatch: pytest.MonkeyPatch, manner: Manner, scope: str, dialect: str
) -> None:
    monkeypatch.setattr("merge_core.interference.sampling.preview.LOCAL", manner)
    plan = plan_of(paths, trim_scope=scope, dialect=dialect)
    true = curves(inspect(plan))
    numel = np.array([t.numel for t in plan.tensors])[:, None, None]
    inside, width, sums = [], [], []
    for seed in range(8):
        report = inspect_sample(plan, 1_200_000, seed=seed)
        found, low, high = curves(report), curves(report, "_low"), curves(report, "_high")
        assert (low <= found).all()
        assert (found <= high).all()
        partly = [n for n, t in enumerate(report.tensors) if t.sampled != t.numel or scope == "model"]
        inside.append(((low <= true) & (true <= high))[partly])
        width.append(((high - low) / numel)[partly])
        for whole in (0, 1):
            ends = rate_bounds(report.tensors, KINDS[whole])[:, 19]
            sums.append(ends[0] <= true[:, 2, 19].sum() / true[:, whole, 19].sum() <= ends[1])
        for kind in range(3):
            bounds = sum_bounds(
                [(found[t, kind, 19], low[t, kind, 19], high[t, kind, 19]) for t in range(len(true))]
            )
            sums.append(bounds[0] <= true[:, kind, 19].sum() <= bounds[1])
    assert np.mean(inside) >= 0.95
    assert (
        np.mean(inside, axis=(0, 1)).min() >= 0.85
    )  # at no density far worse; eight seeds tell no more than that
    assert np.mean(sums) >= 0.9
    assert np.mean(width) < 0.1  # and they say something


@pytest.mark.parametrize("scope", ["tensor", "model"])
@pytest.mark.parametrize("dialect", ["mergekit", "peft", "paper", "fusionbench", "sd-mecha"])
def test_a_budget_for_everything_gives_the_exact_report(tmp_path: Path, scope: str, dialect: str) -> None:
    paths = make_models(tmp_path, SHAPES, 3, "bfloat16")
    weights = [0.5, -2.0, 1.0] if dialect in ("mergekit", "peft") else None
    plan = prepare(read_recipe(recipe_for(paths, weights, trim_scope=scope, dialect=dialect)))
    exact, sampled = inspect(plan), inspect_sample(plan, 10**9)
    for ending in ("", "_low", "_high"):
        np.testing.assert_array_equal(curves(sampled, ending), curves(exact))
    assert all(t.sampled == t.numel for t in sampled.tensors)
    for got, expected in zip(sampled.pairs, exact.pairs, strict=True):
        assert got.cosine == pytest.approx(expected.cosine)
        assert got.cosine_low == pytest.approx(got.cosine) == got.cosine_high
        assert got.sign_agreement == pytest.approx(expected.sign_agreement)
    for mine, theirs in zip(sampled.norms, exact.norms, strict=True):
        assert mine.norm == pytest.approx(theirs.norm)
        assert mine.relative == pytest.approx(theirs.relative)


def test_norms_and_cosines_of_a_sample_come_with_intervals(paths: list[str]) -> None:
    plan = plan_of(paths)
    exact = inspect(plan)
    inside = []
    for seed in range(10):
        report = inspect_sample(plan, 1_200_000, seed=seed)
        for a, b in zip(report.pairs, exact.pairs, strict=True):
            inside += [
                a.cosine_low <= b.cosine <= a.cosine_high,
                a.sign_agreement_low <= b.sign_agreement <= a.sign_agreement_high,
            ]
        for m, n in zip(report.norms, exact.norms, strict=True):
            inside.append(m.norm_low <= n.norm <= m.norm_high)
            inside.append(m.relative_low <= n.relative <= m.relative_high)
    assert np.mean(inside) >= 0.9


@pytest.mark.parametrize("manner", [LOCAL, REMOTE], ids=["folders", "hub"])
def test_a_larger_budget_reads_all_that_a_smaller_one_read(manner: Manner) -> None:
    names, numel = ["a", "b", "c", "d"], [700, 5000, 123_457, 3_000_000]
    before: list[set[int]] = [set() for _ in names]
    for budget in (60_000, 100_000, 170_000, 700_000, 2_000_000, 9_000_000, 13_000_000):
        chosen = design(names, numel, [Cost(4)] * 4, budget, 3, manner)
        read = [{i for start, stop in s.runs() for i in range(start, stop)} for s in chosen]
        assert sum(map(len, read)) * 4 <= budget
        assert all(small <= large for small, large in zip(before, read, strict=True))
        assert [len(r) for r in read] == [s.entries for s in chosen]
        before = read
    assert [len(r) for r in before] == numel


def test_every_entry_is_as_likely_to_be_read() -> None:
    numel, seen = 10_007, np.zeros(10_007)
    for seed in range(1500):
        (chosen,) = design(["a"], [numel], [Cost(1)], 1300, seed, LOCAL)
        for start, stop in chosen.runs():
            seen[start:stop] += 1
    share = seen.reshape(-1)[: numel // 7 * 7].reshape(-1, 7).mean(axis=1) / 1500
    expected = chosen.entries / numel
    assert abs(share.mean() - expected) < 0.003
    assert np.abs(share - expected).max() < 0.06  # 6 standard deviations of 1500 draws


def test_blocks_fall_into_all_parts_of_a_tensor() -> None:
    for seed in range(20):
        tiles = scattered("w", seed, 10, 16)
        assert sorted(tiles >> 6) == list(range(16))
        assert sorted(scattered("w", seed, 10, 1024)) == list(range(1024))
        np.testing.assert_array_equal(scattered("w", seed, 10, 5), tiles[:5])


def test_a_sample_depends_on_its_seed_alone(paths: list[str]) -> None:
    plan = plan_of(paths)
    assert inspect_sample(plan, 10**6, seed=4) == inspect_sample(plan, 10**6, seed=4)
    assert inspect_sample(plan, 10**6, seed=4) != inspect_sample(plan, 10**6, seed=5)


def test_a_budget_too_small_is_refused_with_one_that_is_not(paths: list[str]) -> None:
    plan = plan_of(paths)
    with pytest.raises(UserError, match=r"smaller than the models' headers"):
        inspect_sample(plan, 1000)
    with pytest.raises(UserError, match="too small to read something of each of the 6 tensors"):
        inspect_sample(plan, 20_000)


def test_a_cancelled_sample_stops(paths: list[str]) -> None:
    with pytest.raises(Cancelled):
        inspect_sample(plan_of(paths), 10**6, cancelled=lambda: True)


def test_models_of_weight_zero_do_not_count(paths: list[str]) -> None:
    plan = prepare(read_recipe(recipe_for(paths, [1.0, 0.0, 0.0])))
    report = inspect_sample(plan, 10**6)
    assert curves(report, "_high")[:, 1:].max() == 0
    assert curves(report)[:, 0, 49] == pytest.approx([t.numel / 2 for t in report.tensors], rel=0.02)


def test_report_of_a_sample_survives_json(paths: list[str]) -> None:
    report = inspect_sample(plan_of(paths), 10**6)
    assert InterferenceReport.from_json(json.loads(json.dumps(report.to_json()))) == report


def test_the_command_line_samples(
    paths: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIEBREAK_HOME", str(tmp_path / "home"))
    recipe, out = tmp_path / "recipe.yml", tmp_path / "report.json"
    recipe.write_text(recipe_for(paths))
    assert main(["inspect", str(recipe), "--sample-mb", "1", "--seed", "3", "--json", str(out)]) == 0
    text = capsys.readouterr().out
    assert "estimated from" in text
    assert "±" in text
    layers = [line for line in text.splitlines() if line.startswith(("0 ", "1 ", "all "))]
    assert all(line.count("±") == 4 for line in layers)  # touched, contested, conflicted, of contested
    models = [line for line in text.splitlines() if line.startswith("tuned-") and "×" not in line]
    assert all(line.count("±") == 2 for line in models)  # ‖τ‖, ‖τ‖/‖base‖
    assert len(layers) == len(models) == 3
    document = json.loads(out.read_text())
    tensor = document["tensors"][0]
    ranged = (*KINDS, "of_touched", "of_contested")
    assert {"sampled", *(f"{kind}_{side}" for kind in ranged for side in ("low", "high"))} <= tensor.keys()
    assert len(tensor["conflicted_low"]) == len(document["density"]) == 100
    assert tensor["sampled"] < tensor["numel"]
    for wrong in ("0", "-1", "many", "nan"):
        assert main(["inspect", str(recipe), "--sample-mb", wrong]) == 2
    assert main(["inspect", str(recipe), "--seed", "x"]) == 2


@pytest.mark.parametrize(
    ("freedom", "expected"),
    [(1, 12.706), (2, 4.303), (3, 3.182), (5, 2.571), (10, 2.228), (30, 2.042), (np.inf, 1.96)],
)
def test_students_t_is_that_of_the_tables(freedom: float, expected: float) -> None:
    assert student(np.array(float(freedom))) == pytest.approx(expected, abs=0.004)


def test_an_event_never_seen_is_rare_and_not_unknown(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    base, shared = rng.normal(size=(90, 90)), rng.normal(size=(90, 90))
    paths = [str(write_model(tmp_path / "base", {"w": base}))]
    for number in range(3):
        tuned = base + 0.01 * (1.3 * shared + rng.normal(size=base.shape))
        paths.append(str(write_model(tmp_path / f"tuned-{number}", {"w": tuned})))
    plan = plan_of(paths)
    for seed in range(10):
        report = inspect_sample(plan, 30_000, seed=seed)
        found, high = curves(report)[0, 2], curves(report, "_high")[0, 2]
        assert (found[:10] == 0).any()
        assert high[found == 0].max() < 0.05 * 8100
