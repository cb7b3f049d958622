"""The demo that comes with the program is whole, small, and scores what its notes say."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from transformers import ViTForImageClassification

from merge_core.engine import merge
from merge_core.prepare import prepare
from merge_core.probe import ProbeSet, load_probe, run_probe
from merge_core.recipe import read_recipe

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "assets/demo"
MODELS = sorted((DEMO / "models").iterdir())
PROBES = sorted((DEMO / "probes").glob("*.jsonl"))


@pytest.fixture(scope="module")
def results() -> dict[str, list[dict[str, Any]]]:
    return json.loads((DEMO / "results.json").read_text())


@pytest.fixture(scope="module")
def probes() -> list[ProbeSet]:
    return [load_probe(path) for path in PROBES]


def assert_scores_are(found: list[Any], noted: list[dict[str, Any]]) -> None:
    """Equal but for one item in 200, which the last bit of another processor's sums may tip."""
    assert [(r.probe, r.metric, r.n) for r in found] == [(r["probe"], r["metric"], r["n"]) for r in noted]
    for one, other in zip(found, noted, strict=True):
        assert one.score == pytest.approx(other["score"], abs=1.01 / one.n)


def test_a_base_and_four_fine_tunes_open_in_transformers_and_fit_each_other():
    assert len(MODELS) == 5
    shapes = set()
    for folder in MODELS:
        model = ViTForImageClassification.from_pretrained(folder, local_files_only=True)
        assert len(model.config.id2label) == 20
        shapes.add(tuple((name, tuple(p.shape)) for name, p in model.named_parameters()))
    assert len(shapes) == 1


def test_everything_together_stays_below_fifteen_megabytes():
    assert sum(path.stat().st_size for path in DEMO.rglob("*") if path.is_file()) < 15_000_000


def test_every_model_names_its_licence_and_its_data():
    for folder in MODELS:
        card = (folder / "README.md").read_text()
        assert "license: apache-2.0" in card
        assert "Fashion-MNIST (Zalando Research, MIT licence)" in card
        assert "CC BY 4.0" in card


def test_every_probe_has_two_hundred_items_of_classes_that_the_models_know(probes):
    assert len(probes) >= 4
    assert {len(probe.items) for probe in probes} == {200}
    assert len({probe.name for probe in probes}) == len(probes)
    known = set(json.loads((MODELS[0] / "config.json").read_text())["id2label"].values())
    assert set().union(*(probe.labels for probe in probes)) <= known


def test_the_opening_recipe_names_all_the_models_and_can_be_merged(monkeypatch):
    monkeypatch.chdir(ROOT)
    recipe = read_recipe((DEMO / "recipe.yml").read_text())
    assert recipe.method == "ties"
    assert {Path(ref.path) for ref in recipe.refs()} == {folder.relative_to(ROOT) for folder in MODELS}
    prepare(recipe)


def test_the_written_results_are_the_numbers_in_the_json(results, monkeypatch):
    monkeypatch.syspath_prepend(str(DEMO))
    import measure

    try:
        assert measure.table(results) in (DEMO / "RESULTS.md").read_text()
        models = [folder.name for folder in measured_order(results)]
        assert list(results) == [*models, measure.OPENING, *measure.MERGES]
    finally:
        sys.modules.pop("measure")


def measured_order(results: dict[str, Any]) -> list[Path]:
    """The model folders as the results list them."""
    return sorted(MODELS, key=lambda folder: list(results).index(folder.name))


def test_the_base_scores_what_its_notes_say(results, probes):
    assert_scores_are(run_probe(DEMO / "models/garment-vit", probes), results["garment-vit"])


def test_the_opening_merge_scores_what_its_notes_say(results, probes, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    merge(prepare(read_recipe((DEMO / "recipe.yml").read_text())), tmp_path / "merged")
    assert_scores_are(run_probe(tmp_path / "merged", probes), results["the opening recipe"])


def test_the_opening_merge_is_better_on_average_than_the_base(results):
    mean = {name: sum(r["score"] for r in scores) / len(scores) for name, scores in results.items()}
    assert mean["the opening recipe"] > mean["garment-vit"]


def test_the_opening_recipes_numbers_are_those_that_validation_images_chose():
    parameters = read_recipe((DEMO / "recipe.yml").read_text()).parameters
    said = f"density {parameters['density']:g}, λ = {parameters['lambda']:g}."
    assert said in " ".join((DEMO / "CHOICE.md").read_text().split())


def test_the_fine_tunes_really_interfere(results):
    """Each gains on its own part and pays for it on another."""
    by_probe = {name: {r["probe"]: r["score"] for r in scores} for name, scores in results.items()}
    base = by_probe["garment-vit"]
    for probe in base:
        tuned = by_probe[f"garment-vit-{probe}"]
        assert tuned[probe] > base[probe] + 0.05
        assert min(tuned[other] - base[other] for other in base if other != probe) < -0.02
