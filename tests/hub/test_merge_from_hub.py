"""Models of the Hub through the command line: merged, published with a card, merged again from what was published."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import ModelCard, constants

from merge_core.__main__ import main
from merge_core.recipe import read_recipe
from tests.checkpoints import write_model
from tests.core.command_line import write_recipe_file
from tests.hub.server import LocalHub

CONFIG = {"architectures": ["ToyForCausalLM"], "model_type": "toy"}


@pytest.fixture
def commits(hub: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A base and two fine-tunes on the Hub, repository → commit; this machine is signed in as ada."""
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.removeprefix(constants.ENDPOINT)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + template
    )  # what HF_ENDPOINT would do
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setenv("HF_TOKEN", hub.token)
    rng = np.random.default_rng(2)
    base = {f"model.layers.{n}.weight": rng.standard_normal((16, 8)).astype(np.float32) for n in range(2)}
    made = {}
    for name in ("base", "code", "math"):
        moved = {k: v + rng.standard_normal(v.shape) / 10 for k, v in base.items()}
        folder = write_model(tmp_path / "sources" / name, base if name == "base" else moved, config=CONFIG)
        (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n# A model\n")
        made[f"acme/{name}"] = hub.add_model(f"acme/{name}", folder)
    return made


@pytest.fixture
def merged(commits: dict[str, str], tmp_path: Path) -> Path:
    """A merge of them."""
    recipe = write_recipe_file(tmp_path, Path("acme/base"), [Path("acme/code"), Path("acme/math@main")])
    assert main(["merge", str(recipe), str(tmp_path / "out")]) == 0
    return tmp_path / "out"


def test_card_names_the_parents_of_the_hub_their_commits_and_their_licence(
    commits: dict[str, str], merged: Path
) -> None:
    card = ModelCard((merged / "README.md").read_text())
    assert card.data["base_model"] == list(commits)
    assert card.data["license"] == "apache-2.0"
    for name, commit in commits.items():
        assert f"[`{name}`](https://huggingface.co/{name}/tree/{commit})" in card.text


def test_published_folder_merges_to_the_same_bytes_after_the_parents_moved_on(
    hub: LocalHub, commits: dict[str, str], merged: Path, tmp_path: Path
) -> None:
    assert main(["push", str(merged), "ada/merge", "--private"]) == 0
    for name in commits:
        hub.add_model(
            name, write_model(tmp_path / "newer", {"model.layers.0.weight": np.ones((16, 8), np.float32)})
        )
    files = hub.files("ada/merge")
    (tmp_path / "fetched.yml").write_bytes(files["mergekit_config.yml"])
    recipe = read_recipe(files["mergekit_config.yml"].decode())
    assert {ref.path: ref.revision for ref in recipe.refs()} == commits
    assert main(["merge", str(tmp_path / "fetched.yml"), str(tmp_path / "again")]) == 0
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == files["model.safetensors"]


def test_nothing_that_is_published_names_this_machine(hub: LocalHub, merged: Path, tmp_path: Path) -> None:
    assert main(["push", str(merged), "ada/merge", "--private"]) == 0
    for name, content in hub.files("ada/merge").items():
        assert str(tmp_path).encode() not in content, name
        assert hub.token.encode() not in content, name


def test_push_prints_where_it_is_and_nothing_else(
    hub: LocalHub, merged: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main(["push", str(merged), "ada/merge", "--private"]) == 0
    assert capsys.readouterr().out == f"{hub.url}/ada/merge\n"
    assert hub.repo("ada/merge").private


def test_name_that_is_neither_on_the_hub_nor_a_folder_says_both(
    hub: LocalHub, commits: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = write_recipe_file(tmp_path, Path("acme/base"), [Path("models/cod")])
    assert main(["check", str(recipe)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: models/cod is not on the Hub, or your account may not see it.")
    assert said.endswith("No folder here is called models/cod either.\n")


def test_models_that_do_not_fit_are_refused_before_a_byte_of_weights_is_fetched(
    hub: LocalHub, commits: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = {f"model.layers.{n}.weight": np.ones((16, 9), np.float32) for n in range(2)}
    hub.add_model("acme/other", write_model(tmp_path / "other", other, config=CONFIG))
    recipe = write_recipe_file(tmp_path, Path("acme/base"), [Path("acme/other")])
    assert main(["merge", str(recipe), str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert "acme/base has shape (16, 8), acme/other has (16, 9)" in said
    assert not list((tmp_path / "cache").rglob("*.safetensors"))
