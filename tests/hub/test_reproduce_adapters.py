"""Adapters of the Hub: opened from headers, fetched beside their base, pinned, published and merged again."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard, constants

from merge_core.__main__ import main
from merge_core.hub import HubClient
from merge_core.jobs.job import Job
from merge_core.jobs.steps import run_step
from merge_core.preflight import examine
from merge_core.prepare import fetch, open_all, pinned
from merge_core.recipe import Recipe, read_recipe, write_recipe
from tests.checkpoints import read_model, write_model
from tests.core.test_lora import BASE, adapted, assert_equal, factors, write_adapter
from tests.hub.server import LocalHub

LORA = "acme/lora"


@pytest.fixture
def recipe(hub: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """Task arithmetic with one adapter; this machine is signed in as ada."""
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.removeprefix(constants.ENDPOINT)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + template)
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setenv("HF_TOKEN", hub.token)
    base = write_model(tmp_path / "sources" / "base", BASE)
    (base / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    hub.add_model("acme/base", base)
    lora = write_adapter(tmp_path / "sources" / "lora", factors(), base_model_name_or_path="acme/base")
    (lora / "README.md").write_text("---\nlicense: mit\nbase_model: acme/base\n---\n")
    (lora / "tokenizer.json").write_text("{}")
    (lora / "optimizer.pt").write_bytes(b"x" * 1000)
    hub.add_model(LORA, lora)
    document = {
        "merge_method": "task_arithmetic",
        "base_model": "acme/base",
        "models": [{"model": f"acme/base+{LORA}", "parameters": {"weight": 1.0}}],
    }
    (tmp_path / "recipe.yml").write_text(yaml.safe_dump(document))
    return read_recipe(yaml.safe_dump(document))


def test_adapter_is_checked_from_headers_alone(hub: LocalHub, client: HubClient, recipe: Recipe) -> None:
    found = examine(recipe, open_all(recipe, client))
    assert (found.problems, found.notes) == ((), ())
    assert sum(request.sent for request in hub.requests) < 250_000
    assert not Path(constants.HF_HUB_CACHE).exists()


def test_only_what_an_adapter_is_made_of_is_fetched(hub: LocalHub, client: HubClient, recipe: Recipe) -> None:
    fetch(recipe, client)
    folder = Path(constants.HF_HUB_CACHE) / "models--acme--lora" / "snapshots"
    assert {path.name for path in folder.glob("*/*")} == {
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
    }


def test_merge_with_an_adapter_is_published_and_made_again_after_both_moved_on(
    hub: LocalHub, recipe: Recipe, tmp_path: Path
) -> None:
    commits = {name: hub.repo(name).head.sha for name in ("acme/base", LORA)}
    assert main(["merge", str(tmp_path / "recipe.yml"), str(tmp_path / "out")]) == 0
    assert_equal(read_model(tmp_path / "out"), adapted(factors(), 2.0))
    assert main(["push", str(tmp_path / "out"), "ada/merge", "--private"]) == 0
    hub.add_model(LORA, write_adapter(tmp_path / "newer", factors(seed=9)))

    files = hub.files("ada/merge")
    published = read_recipe(files["mergekit_config.yml"].decode())
    model = published.models[0].ref
    assert (model.revision, model.lora) == (commits["acme/base"], f"{LORA}@{commits[LORA]}")
    card = ModelCard(files["README.md"].decode())
    assert card.data.base_model == ["acme/base", LORA]
    assert f"[`{LORA}`](https://huggingface.co/{LORA}/tree/{commits[LORA]})" in card.text

    assert main(["merge", "ada/merge", str(tmp_path / "again")]) == 0
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == files["model.safetensors"]


def test_worker_opens_adapter_and_base_from_the_cache_alone(
    hub: LocalHub, client: HubClient, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = pinned(recipe, fetch(recipe, client))
    monkeypatch.delenv("HF_TOKEN")
    hub.forget()
    job = Job("a1", "merge", "me", write_recipe(exact))
    result = run_step(job, tmp_path / "jobs", lambda progress: None, lambda: False)
    assert not hub.requests
    assert_equal(read_model(tmp_path / "jobs" / str(result["model"])), adapted(factors(), 2.0))


def test_local_base_takes_an_adapter_of_the_hub(hub: LocalHub, recipe: Recipe, tmp_path: Path) -> None:
    local = {
        "merge_method": "linear",
        "models": [{"model": f"{tmp_path}/sources/base+{LORA}", "parameters": {"weight": 1.0}}],
    }
    (tmp_path / "local.yml").write_text(yaml.safe_dump(local))
    assert main(["merge", str(tmp_path / "local.yml"), str(tmp_path / "out")]) == 0
    assert_equal(read_model(tmp_path / "out"), adapted(factors(), 2.0))


def test_adapter_of_another_base_is_noted(
    client: HubClient, hub: LocalHub, recipe: Recipe, tmp_path: Path
) -> None:
    other = write_adapter(tmp_path / "other", factors(), base_model_name_or_path="somebody/else")
    hub.add_model("acme/other", other)
    changed = read_recipe(write_recipe(recipe).replace(LORA, "acme/other"))
    notes = examine(changed, open_all(changed, client)).notes
    assert notes[0].startswith(
        "The card of acme/base+acme/other says that it was made from somebody/else, not from"
    )


def test_adapter_trained_on_other_shapes_is_refused_before_a_download(
    client: HubClient, hub: LocalHub, recipe: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = factors(modules={"model.layers.0.q_proj": (7, 1500)})
    hub.add_model(LORA, write_adapter(tmp_path / "wrong", wrong))
    assert main(["merge", str(tmp_path / "recipe.yml"), str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: acme/lora: lora_A (4, 1500) and lora_B (7, 4) do not make a change of")
    assert not Path(constants.HF_HUB_CACHE).exists()


def test_base_and_adapted_model_share_one_download(hub: LocalHub, client: HubClient, recipe: Recipe) -> None:
    fetch(recipe, client)
    weights = [r for r in hub.asked("GET /storage/") if r.status == 200 and r.sent > 500_000]
    assert len(weights) == 1
