"""Model cards: what a stranger and the Hub read of a merge, and what nobody may read out of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt

from merge_core.__main__ import main
from merge_core.card import model_card
from merge_core.interference import inspect
from merge_core.plan import MergePlan
from merge_core.prepare import prepare
from merge_core.recipe import load_recipe, read_recipe
from tests.checkpoints import read_model, write_model

CONFIG = {"architectures": ["ToyForCausalLM"], "model_type": "toy"}
SHA = "0123456789abcdef0123456789abcdef01234567"


def family(folder: Path, names: list[str], licences: Mapping[str, str] | None = None) -> list[Path]:
    """Models that differ by little, the first the base; `licences` are front matters of their cards."""
    rng = np.random.default_rng(3)
    base = {f"model.layers.{i}.mlp.weight": rng.standard_normal((16, 8)).astype(np.float32) for i in range(3)}
    paths = []
    for name in names:
        moved = {k: v + 0.1 * rng.standard_normal(v.shape).astype(np.float32) for k, v in base.items()}
        paths.append(write_model(folder / name, moved if paths else base, config=CONFIG))
        if licences and name in licences:
            (paths[-1] / "README.md").write_text(f"---\n{licences[name]}\n---\n# A model\n")
    return paths


def recipe_text(paths: list[Path], **parameters: Any) -> str:
    settings = {"weight": 1.0, "density": 0.5, **parameters}
    models = [{"model": str(path)} for path in paths[1:]]
    return yaml.safe_dump(
        {"merge_method": "ties", "base_model": str(paths[0]), "models": models, "parameters": settings}
    )


def planned(paths: list[Path], **parameters: Any) -> MergePlan:
    return prepare(read_recipe(recipe_text(paths, **parameters)))


def from_hub(plan: MergePlan, ids: Mapping[str, str]) -> MergePlan:
    """The plan as if its folders had come from the Hub, by folder name → repository."""
    text = yaml.safe_load(recipe_text([Path(plan.base.ref), *(Path(m.ref) for m in plan.models)]))  # type: ignore[union-attr]
    text["base_model"] = ids[Path(text["base_model"]).name]
    text["models"] = [{"model": ids[Path(m["model"]).name]} for m in text["models"]]

    def moved(checkpoint: Any) -> Any:
        return replace(checkpoint, ref=ids[Path(checkpoint.ref).name], commit=SHA)

    return replace(
        plan,
        recipe=read_recipe(yaml.safe_dump(text)),
        base=moved(plan.base),
        models=tuple(moved(model) for model in plan.models),
        names=tuple(ids[Path(name).name] for name in plan.names),
    )


def score(
    role: str, model: str, value: float, probe: str = "digits", metric: str = "accuracy"
) -> dict[str, Any]:
    low, high = round(value - 0.05, 4), round(value + 0.05, 4)
    return {
        "role": role,
        "model": model,
        "probe": probe,
        "metric": metric,
        "score": value,
        "low": low,
        "high": high,
        "n": 200,
    }


@pytest.fixture
def plan(tmp_path: Path) -> MergePlan:
    return planned(family(tmp_path, ["base", "code", "math"]))


def test_the_hubs_own_client_reads_the_metadata(plan: MergePlan) -> None:
    hub = from_hub(plan, {"base": "acme/base", "code": "acme/code", "math": "bo/math"})
    scores = [
        score("base", "acme/base", 0.5),
        score("merge", "merge", 0.625),
        score("merge", "merge", 0.75, "signs"),
    ]
    data = ModelCard(model_card(hub, scores=scores)).data
    assert data["base_model"] == ["acme/base", "acme/code", "bo/math"]
    assert data["base_model_relation"] == "merge"
    assert (data["library_name"], data["pipeline_tag"]) == ("transformers", "text-generation")
    assert data["tags"] == ["merge", "tiebreak", "ties"]
    results = data.eval_results
    assert results is not None
    assert [(r.dataset_name, r.metric_type, r.metric_value) for r in results] == [
        ("digits", "accuracy", 0.625),
        ("signs", "accuracy", 0.75),
    ]
    assert "n = 200" in str(results[0].metric_name)


@pytest.mark.parametrize(
    ("endpoint", "address"),
    [
        ("https://hub.example/", "https://hub.example"),
        ("https://me:secret@hub.example:8443/models?x=1", "https://hub.example:8443/models"),
        ("http://[::1]:8765", "http://[::1]:8765"),
        ("https://hub.example/a)(b", "https://hub.example/a%29%28b"),
        ("javascript:alert(1)", "https://huggingface.co"),
        ("https://hub.example:port", "https://huggingface.co"),
        ("", "https://huggingface.co"),
    ],
)
def test_links_lead_to_the_hub_that_the_models_came_from(
    plan: MergePlan, endpoint: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    card = model_card(from_hub(plan, {"base": "acme/base", "code": "acme/code", "math": "bo/math"}))
    assert f"[`acme/code`]({address}/acme/code/tree/{SHA})" in card
    assert "secret" not in card


def test_hub_parents_are_linked_and_the_recipe_pins_their_commits(plan: MergePlan) -> None:
    card = model_card(from_hub(plan, {"base": "acme/base", "code": "acme/code", "math": "bo/math"}))
    assert f"[`acme/code`](https://huggingface.co/acme/code/tree/{SHA})" in card
    recipe = read_recipe(card.split("```yaml\n")[1].split("```")[0])
    assert {str(ref) for ref in recipe.refs()} == {
        f"{name}@{SHA}" for name in ("acme/base", "acme/code", "bo/math")
    }


def test_folders_are_not_named_as_base_models_of_the_hub(plan: MergePlan) -> None:
    assert ModelCard(model_card(plan)).data.get("base_model") is None


def test_published_folder_holds_no_path_of_this_machine(tmp_path: Path) -> None:
    paths = family(tmp_path / "secret-place", ["base", "code", "math"])
    (tmp_path / "recipe.yml").write_text(recipe_text(paths) + f"tokenizer_source: {paths[1]}\n")
    assert main(["merge", str(tmp_path / "recipe.yml"), str(tmp_path / "out")]) == 0
    written = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert {"README.md", "mergekit_config.yml", "config.json"} <= {path.name for path in written}
    for path in written:
        for secret in (str(tmp_path), "secret-place", "recipe.yml"):
            assert secret.encode() not in path.read_bytes(), path


def test_published_recipe_merges_again_to_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = family(tmp_path / "models", ["base", "code", "math"])
    (tmp_path / "recipe.yml").write_text(recipe_text(paths))
    assert main(["merge", str(tmp_path / "recipe.yml"), str(tmp_path / "out")]) == 0
    monkeypatch.chdir(tmp_path / "models")
    assert main(["merge", str(tmp_path / "out" / "mergekit_config.yml"), "merged"]) == 0
    name = "model.safetensors"
    assert (tmp_path / "models" / "merged" / name).read_bytes() == (tmp_path / "out" / name).read_bytes()


def test_folders_of_one_name_stay_two_models(tmp_path: Path) -> None:
    base = family(tmp_path, ["base"])[0]
    twins = [family(tmp_path / where, ["base", "tuned"])[1] for where in ("a", "b")]
    card = model_card(planned([base, *twins]))
    recipe = read_recipe(card.split("```yaml\n")[1].split("```")[0])
    assert sorted(str(ref) for ref in recipe.refs()) == ["./base", "./tuned", "./tuned-2"]


def test_card_without_scores_says_that_nothing_was_measured(plan: MergePlan) -> None:
    card = model_card(plan)
    assert "Nothing has been measured" in card
    assert "## Measured" not in card
    assert "## Where the parents disagree" not in card


def test_scores_stand_beside_base_and_parents_with_interval_and_n(plan: MergePlan) -> None:
    base, names = str(plan.recipe.base), plan.names
    scores = [
        score("base", base, 0.5),
        *(score("parent", n, 0.6) for n in names),
        score("merge", "merge", 0.7),
    ]
    card = model_card(plan, scores=scores)
    assert "`digits`, accuracy (n = 200)" in card
    assert "| `base` | 50.0 % (45.0–55.0) |" in card
    assert "| `code` | 60.0 % (55.0–65.0) |" in card
    assert "| **this merge** | 70.0 % (65.0–75.0) |" in card


def test_card_opens_its_scores_with_the_verdict_and_its_rule_is_the_pages(plan: MergePlan) -> None:
    base, names = str(plan.recipe.base), plan.names
    models = [("base", base, 0.5), *(("parent", n, 0.68) for n in names), ("merge", "merge", 0.7)]
    card = model_card(
        plan, scores=[score(*model, probe) for model in models for probe in ("digits", "words")]
    )
    measured = card.split("## Measured\n\n")[1].split("\n## ")[0]
    assert measured.startswith(
        "On average the merge is clearly above the base by 20.0 points (70.0 against 50.0) and 2.0 points above the "
        "best fine-tune, `code` (70.0 against 68.0), which is too little to tell from luck.\n\n|"
    )
    assert "| mean accuracy |" in measured
    assert "70.0 % (66.5–73.5) |" in measured
    assert "here ± 5.0 points against the base and ± 5.0 points against the best fine-tune;" in measured
    assert "overlap" not in measured


def test_two_metrics_of_one_probe_have_a_column_each(plan: MergePlan) -> None:
    scores = [score("merge", "merge", 0.4, "quiz"), score("merge", "merge", 0.6, "quiz", "accuracy per byte")]
    card = model_card(plan, scores=scores)
    assert "| `quiz`, accuracy (n = 200) | `quiz`, accuracy per byte (n = 200) |" in card
    assert "| **this merge** | 40.0 % (35.0–45.0) | 60.0 % (55.0–65.0) |" in card


def test_bits_per_byte_are_no_percentages(plan: MergePlan) -> None:
    card = model_card(plan, scores=[score("merge", "merge", 1.25, "novels", "bits per byte")])
    assert "| **this merge** | 1.250 (1.200–1.300) |" in card
    assert "Lower is better for `novels`" in card


def test_disagreement_is_that_of_the_recipes_density_beside_chance(plan: MergePlan) -> None:
    report = inspect(plan)
    card = model_card(plan, report=report)
    at = report.density.index(0.5)
    entries = sum(t.numel for t in report.tensors)
    contested, conflicted = (
        sum(getattr(t, k)[at] for t in report.tensors) for k in ("contested", "conflicted")
    )
    assert (
        f"| whole model | {entries} | {100 * contested / entries:.1f} % | {100 * conflicted / entries:.1f} % "
        f"| {100 * conflicted / contested:.1f} % |"
    ) in card
    assert "| by chance | – | 25.0 % | 12.5 % | 50.0 % |" in card
    by_layer = {t.layer: t.conflicted[at] / t.numel for t in report.tensors}
    for word, rate in (("most", max(by_layer.values())), ("least", min(by_layer.values()))):
        named = int(card.split(f"| {word}: layer ")[1].split()[0])
        assert by_layer[named] == rate


def test_licence_that_all_parents_share_is_the_merges(tmp_path: Path) -> None:
    names = ["base", "code", "math"]
    plan = planned(family(tmp_path, names, dict.fromkeys(names, "license: apache-2.0\ntags: [x]")))
    assert ModelCard(model_card(plan)).data["license"] == "apache-2.0"


def test_own_licence_that_all_parents_share_keeps_its_name_and_link(tmp_path: Path) -> None:
    names = ["base", "code"]
    own = "license: other\nlicense_name: acme-community\nlicense_link: https://acme.example/licence"
    data = ModelCard(model_card(planned(family(tmp_path, names, dict.fromkeys(names, own))))).data
    assert (data["license"], data["license_name"]) == ("other", "acme-community")
    assert data["license_link"] == "https://acme.example/licence"


@pytest.mark.parametrize(
    ("licences", "reason"),
    [
        ({"base": "license: mit", "code": "license: cc-by-nc-4.0"}, "`base` under `mit`; `code` under `cc-by-nc-4.0`"),
        ({"base": "license: mit"}, "`base` under `mit`; `code` names none"),
        ({"base": "license: mit", "code": "license: [mit, gpl]"}, "`code` names none"),
        ({"base": "license: other", "code": "license: other"}, "a licence of its own"),
        ({}, "No parent's card names a licence."),
    ],
)  # fmt: skip
def test_licence_is_left_open_with_its_reason(tmp_path: Path, licences: dict[str, str], reason: str) -> None:
    card = model_card(planned(family(tmp_path, ["base", "code"], licences)))
    assert ModelCard(card).data["license"] == "other"
    assert reason in card


@pytest.mark.parametrize(
    "front",
    [
        "license: !!python/object/apply:os.system [touch hacked]",
        "a: &a [x, x]\nb: &b [*a, *a]\nlicense: *b",
        "license: " + "[" * 5000,
        "license: {a: b}",
        'license: "mit\\n---\\nbase_model: evil/model"',
        "license: <script>alert(1)</script>",
        "license: mit\nlicense: apache-2.0",
        "\tlicense: mit",
        "license: \x00",
        "license: mit\n" + "x" * (1 << 20),
    ],
    ids=["tag", "alias", "deep", "mapping", "newline", "html", "twice", "tab", "nul", "endless"],
)  # fmt: skip
def test_hostile_card_of_a_parent_counts_as_silent(tmp_path: Path, front: str) -> None:
    card = model_card(planned(family(tmp_path, ["base", "code"], {"base": "license: mit", "code": front})))
    data = ModelCard(card).data
    assert data["license"] == "other"
    assert data.get("base_model") is None
    assert "`code` names none" in card
    assert not (Path.cwd() / "hacked").exists()


@pytest.mark.parametrize(
    "name",
    [
        "<img src=x onerror=alert(1)>",
        "[click](https:evil.example)",
        "`code` **bold** _x_",
        "a|b|c",
        "x\n---\nlicense: mit",
        "![pic](javascript:1)",
        "www.evil.example",
        "```",
        "\u202egnp.exe",
        "--- # {{x}} ${y}",
    ],
)  # fmt: skip
def test_what_strangers_named_stays_text(tmp_path: Path, name: str) -> None:
    folder = name if name.isprintable() else "tuned"  # a recipe refuses other names
    plan = planned(family(tmp_path, ["base", folder]))
    scores = [score("base", name, 0.5, probe=name), score("merge", "merge", 0.5, probe=name)]
    card = model_card(plan, scores=scores)
    html = MarkdownIt("gfm-like", {"linkify": False, "html": True}).render(ModelCard(card).text)
    links = [part.split('"')[1] for part in html.split("<a ")[1:]]
    assert links == ["https://arxiv.org/abs/2306.01708"]
    assert "<img" not in html
    assert "<strong>bold" not in html
    assert html.count("<h1>") == 1
    assert "\u202e" not in html
    rows = [row.count("<td") for row in html.split("<tr>") if "<td" in row]
    assert rows == [4, 4, 2, 2], "a bar in a name added a column"
    assert ModelCard(card).data["license"] == "other"


def test_weights_are_those_of_the_recipe_whatever_the_card_says(tmp_path: Path) -> None:
    paths = family(tmp_path, ["base", "code"])
    (tmp_path / "recipe.yml").write_text(recipe_text(paths, density=1.0))
    assert main(["merge", str(tmp_path / "recipe.yml"), str(tmp_path / "out")]) == 0
    merged, tuned = read_model(tmp_path / "out"), read_model(paths[1])
    for name, tensor in tuned.items():
        np.testing.assert_allclose(merged[name].numpy(), tensor.numpy(), rtol=1e-6)
    assert load_recipe(tmp_path / "out" / "mergekit_config.yml").method == "ties"


def test_map_is_a_picture_of_layers_and_modules_whatever_the_tensors_are_called() -> None:
    import io

    from PIL import Image

    from merge_core.card.map_picture import map_picture
    from merge_core.interference import InterferenceReport, TensorInterference

    grid = (0.5, 1.0)
    tensors = tuple(
        TensorInterference(
            f"h.{layer}.{module}", layer, module, "h", 100, (50, 100), (20, 40), (layer * 5, 20)
        )
        for layer in range(3)
        for module in ("attn.q_proj.weight", "<b>\x1b[31m\N{WAVING HAND SIGN}.weight", "mlp.fc1.weight")
    )
    report = InterferenceReport(("a", "b"), grid, tensors, (), ())
    picture = map_picture(report, 0.5)
    assert picture is not None
    shown = Image.open(io.BytesIO(picture))
    assert shown.format == "PNG"
    assert len({shown.getpixel((125, 36 + 20 * layer)) for layer in range(3)}) == 3
    outside = InterferenceReport(("a", "b"), grid, (), (), ())
    assert map_picture(outside, 0.5) is None
