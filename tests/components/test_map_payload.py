"""What the browser is sent holds the report's numbers, added up by cell, and nothing that is not text or number."""

from __future__ import annotations

import base64
import json
from dataclasses import replace

import numpy as np
import pytest

from components.interference import conflict_map
from components.interference.inspecting import MapState
from components.interference.map_payload import MOST_LISTED, NO_RATE, brief_names, map_payload
from merge_core.errors import UserError
from merge_core.interference import InterferenceReport, ModelNorm, PairAgreement, TensorInterference
from merge_core.interference.chance import chance
from merge_core.interference.map_layout import arrange
from tests.browser.map_page import made_up_report

DENSITY = tuple(j / 100 for j in range(1, 101))
NAMES = [
    "embed.weight",
    *(
        f"layers.{layer}.{part}"
        for layer in range(3)
        for part in ("attn.q.weight", "attn.q.bias", "fc1.weight")
    ),
    *(f"layers.1.experts.{expert}.w1.weight" for expert in range(MOST_LISTED + 6)),
    "head.weight",
]


@pytest.fixture(scope="module")
def report() -> InterferenceReport:
    rng = np.random.default_rng(7)
    tensors = []
    for name in NAMES:
        numel = int(rng.integers(50, 5000))
        touched = np.sort(rng.integers(0, numel + 1, 100))
        contested = (touched * rng.uniform(0, 1)).astype(int)
        contested[:3] = 0
        conflicted = (contested * rng.uniform(0, 1)).astype(int)
        curves = (tuple(int(n) for n in curve) for curve in (touched, contested, conflicted))
        tensors.append(TensorInterference(name, None, name, "", numel, *curves))
    models = ("./garment-a", "./garment-b")
    pairs = (PairAgreement(*models, 0.25, 0.6),)
    return InterferenceReport(
        models, DENSITY, tuple(tensors), pairs, (ModelNorm(models[0], 1, 0.1), ModelNorm(models[1], 2, None))
    )


def unpacked(text: str, kind: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), kind)


def test_each_cell_holds_the_sums_over_its_tensors(report: InterferenceReport) -> None:
    payload = map_payload(report)
    curves = unpacked(payload["curves"], "<f4").reshape(3, len(payload["cells"]), 100)
    found = {t.name: t for t in report.tensors}
    arranged = arrange(NAMES)
    assert len(payload["cells"]) == len(arranged.cells)
    seen = []
    for number, (cell, place) in enumerate(zip(payload["cells"], arranged.cells, strict=True)):
        mine = [found[NAMES[i]] for i in place.tensors]
        seen += [t.name for t in mine]
        assert (cell["row"], cell["column"], cell["count"]) == (place.row, place.column, len(mine))
        assert cell["numel"] == sum(t.numel for t in mine)
        for curve, which in zip(curves[:, number], ("touched", "contested", "conflicted"), strict=True):
            for step in range(100):
                assert curve[step] == sum(getattr(t, which)[step] for t in mine)
    assert sorted(seen) == sorted(NAMES)


def test_tensors_of_a_cell_that_holds_several_have_their_own_conflict_rate(
    report: InterferenceReport,
) -> None:
    payload = map_payload(report)
    rates = unpacked(payload["tensor_rates"], "<u2").reshape(-1, 100)
    found = {t.name: t for t in report.tensors}
    listed = [t["name"] for cell in payload["cells"] if cell["count"] > 1 for t in cell["tensors"]]
    assert len(listed) == len(rates)
    for name, rate in zip(listed, rates, strict=True):
        for step in range(100):
            contested, conflicted = found[name].contested[step], found[name].conflicted[step]
            if contested == 0:
                assert rate[step] == NO_RATE
            else:
                assert rate[step] / (NO_RATE - 1) == pytest.approx(conflicted / contested, abs=1e-5)


def test_a_cell_of_many_experts_names_some_and_counts_all(report: InterferenceReport) -> None:
    (cell,) = [c for c in map_payload(report)["cells"] if c["count"] > 2]
    assert cell["count"] == MOST_LISTED + 6
    assert len(cell["tensors"]) == MOST_LISTED


def test_chance_is_reckoned_for_the_models_that_vote(report: InterferenceReport) -> None:
    for voters, models in ((None, 2), (3, 3)):
        null = chance(models, DENSITY)
        assert map_payload(report, voters)["chance"] == {
            "touched": list(null.touched),
            "contested": list(null.contested),
            "conflicted": list(null.conflicted),
        }


def test_a_model_of_weight_zero_does_not_vote(report: InterferenceReport) -> None:
    question = (
        "merge_method: ties\nbase_model: ./base\nmodels:\n"
        "  - {model: ./garment-a, parameters: {weight: 1.0}}\n  - {model: ./garment-b, parameters: {weight: 0.0}}\n"
        "  - {model: ./garment-c, parameters: {weight: -1.0}}\nparameters: {density: 0.2}\n"
    )
    value = conflict_map.update(MapState({"question": question}, report=report))
    assert json.loads(value["payload"])["chance"]["touched"] == list(chance(2, DENSITY).touched)


def test_a_report_without_tensors_is_an_empty_map() -> None:
    payload = map_payload(InterferenceReport(("./a",), DENSITY, (), (), (ModelNorm("./a", 0, None),)))
    assert payload["cells"] == []
    assert payload["rows"] == []
    json.dumps(payload)


def test_work_and_problems_are_passed_on() -> None:
    assert conflict_map.update(MapState({}, fraction=0.4, message="layer 3")) == {
        "state": "loading",
        "fraction": 0.4,
        "message": "layer 3",
    }
    problem = UserError("No base.", "Name one.")
    assert conflict_map.update(MapState({}, problem=problem)) == {
        "state": "problem",
        "message": "No base.",
        "hint": "Name one.",
    }


@pytest.mark.parametrize(
    ("spelled", "brief"),
    [
        (["m/garment-vit-shoes", "m/garment-vit-tops"], ["shoes", "tops"]),
        (["acme/code", "acme/math"], ["code", "math"]),
        (["./a/model", "./b/model"], ["a/model", "b/model"]),
        (["./vit", "./vit-tops"], ["vit", "vit-tops"]),
        (["./only-one"], ["only-one"]),
    ],
)
def test_models_go_by_what_tells_them_apart(spelled: list[str], brief: list[str]) -> None:
    assert brief_names(spelled) == brief


def test_a_samples_errors_add_up_in_quadrature_over_a_cell(report: InterferenceReport) -> None:
    rng = np.random.default_rng(3)
    tensors = []
    for tensor in report.tensors:
        bounds = {}
        for name in ("touched", "contested", "conflicted"):
            counts = np.array(getattr(tensor, name))
            bounds[f"{name}_low"] = tuple((counts - rng.integers(0, 50, 100)).tolist())
            bounds[f"{name}_high"] = tuple((counts + rng.integers(0, 50, 100)).tolist())
        tensors.append(replace(tensor, sampled=tensor.numel // 7, **bounds))
    payload = map_payload(replace(report, tensors=tuple(tensors)))
    off = unpacked(payload["sampled"]["off"], "<f4").reshape(2, 5, len(payload["cells"]), 100)
    for number, cell in enumerate(arrange(NAMES).cells):
        mine = [tensors[i] for i in cell.tensors]
        assert payload["cells"][number]["sampled"] == sum(t.sampled for t in mine)
        below = [(t.contested[30] - t.contested_low[30]) ** 2 for t in mine]
        above = [(t.conflicted_high[60] - t.conflicted[60]) ** 2 for t in mine]
        assert off[0, 1, number, 30] == pytest.approx(sum(below) ** 0.5)
        assert off[1, 2, number, 60] == pytest.approx(sum(above) ** 0.5)
    assert payload["sampled"]["of"] == sum(t.numel for t in tensors)
    assert "sampled" not in map_payload(report)


def test_each_models_part_is_added_up_by_cell() -> None:
    report = made_up_report(NAMES, entries=300, elections=True)
    weights = [[0.5, 2.0, 0.0]] * (len(NAMES) - 1) + [[3.0, 1.0, 1.0]]
    payload = map_payload(report, weights=weights)["by_model"]
    arranged = arrange(NAMES)
    cells, steps, models = len(arranged.cells), len(report.coarse), len(report.models)
    energy = unpacked(payload["energy"], "<f8").reshape(models, cells)
    inner = unpacked(payload["inner"], "<f8").reshape(len(report.pairs), cells)
    elections = payload["elections"]
    lost, mass = (
        unpacked(elections[name], "<f4").reshape(models, cells, steps) for name in ("outvoted", "kept_mass")
    )
    assert elections["election"] == "mass"
    magnitudes = unpacked(elections["magnitudes"], "<f4").reshape(models, cells, elections["bins"])
    for number, cell in enumerate(arranged.cells):
        mine = [report.tensors[i] for i in cell.tensors]
        assert energy[1, number] == pytest.approx(sum(t.energy[1] for t in mine))
        assert inner[2, number] == pytest.approx(sum(t.inner[2] for t in mine))
        own = [weights[i] for i in cell.tensors]
        for told, name in ((lost, "outvoted"), (mass, "kept_mass")):
            for model in range(models):
                parts = [
                    getattr(t.elections, name)[model][7] * w[model] for t, w in zip(mine, own, strict=True)
                ]
                assert told[model, number, 7] == pytest.approx(sum(parts))
        assert magnitudes[2, number].sum() == sum(t.numel for t in mine)
        biggest = max(t.elections.lowest + len(t.elections.magnitudes[0]) for t in mine)
        assert np.flatnonzero(magnitudes[:, number].any(axis=0)).max() == biggest - 1 - elections["lowest"]


def test_a_report_that_does_not_tell_of_single_models_says_so(report: InterferenceReport) -> None:
    assert "by_model" not in map_payload(report)
    counted = made_up_report(NAMES, entries=50, elections=True)
    some = (replace(counted.tensors[0], elections=None), *counted.tensors[1:])
    assert map_payload(replace(counted, tensors=some))["by_model"]["elections"] is None
