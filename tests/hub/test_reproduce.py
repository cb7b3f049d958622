"""A merge made again from nothing but its name on the Hub, bit for bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import constants

from merge_core.__main__ import main
from merge_core.checkpoint import parse_header
from merge_core.recipe import read_recipe
from tests.checkpoints import write_model
from tests.core.command_line import write_recipe_file
from tests.hub.server import LocalHub

NAMES = ("acme/base", "acme/code", "acme/math")


@pytest.fixture
def commits(hub: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A base and two fine-tunes on the Hub, repository → commit; this machine is signed in as ada."""
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.removeprefix(constants.ENDPOINT)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + template)
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setenv("HF_TOKEN", hub.token)
    rng = np.random.default_rng(2)
    base = {f"layers.{n}.weight": rng.standard_normal((64, 32)).astype(np.float32) for n in range(3)}
    made = {}
    for name in NAMES:
        moved = {k: v + rng.standard_normal(v.shape) / 10 for k, v in base.items()}
        folder = write_model(tmp_path / "sources" / name, base if name == NAMES[0] else moved)
        made[name] = hub.add_model(name, folder)
    return made


@pytest.fixture
def published(commits: dict[str, str], hub: LocalHub, tmp_path: Path) -> bytes:
    """The weights of `ada/merge`, which was merged of branches, which have moved on since."""
    recipe = write_recipe_file(tmp_path, Path(NAMES[0]), [Path(NAMES[1]), Path(f"{NAMES[2]}@main")])
    assert main(["merge", str(recipe), str(tmp_path / "out")]) == 0
    assert main(["push", str(tmp_path / "out"), "ada/merge", "--private"]) == 0
    for name in NAMES:
        newer = {f"layers.{n}.weight": np.ones((64, 32), np.float32) for n in range(3)}
        hub.add_model(name, write_model(tmp_path / "newer" / name, newer))
    return hub.files("ada/merge")["model.safetensors"]


@pytest.mark.parametrize(
    "spelling", ["ada/merge", "ada/merge@main", "{url}/ada/merge", "{url}/ada/merge/tree/main"]
)
def test_merge_is_made_again_from_its_name_alone(
    spelling: str, hub: LocalHub, published: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    again = tmp_path / "again"
    assert main(["merge", spelling.format(url=hub.url), str(again)]) == 0
    assert (again / "model.safetensors").read_bytes() == published
    head = hub.repo("ada/merge").head.sha
    assert capsys.readouterr().out.endswith(f"the same weights as ada/merge@{head}, compared byte for byte\n")


@pytest.mark.usefixtures("published")
def test_weights_of_the_published_merge_are_not_downloaded(hub: LocalHub, tmp_path: Path) -> None:
    hub.forget()
    assert main(["merge", "ada/merge", str(tmp_path / "again")]) == 0
    assert hub.asked("/ada/merge/")
    assert not hub.asked("/ada/merge/.*safetensors")


def test_folder_of_a_merge_is_made_again_from_its_recipe(
    published: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["merge", str(tmp_path / "out"), str(tmp_path / "again")]) == 0
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == published
    assert "the same weights as" in capsys.readouterr().out


def test_weights_themselves_say_how_they_were_merged(commits: dict[str, str], published: bytes) -> None:
    _, metadata = parse_header(published, len(published), "model.safetensors")
    recipe = read_recipe(metadata["merge"])
    assert {ref.path: ref.revision for ref in recipe.refs()} == commits


def test_parents_that_are_named_without_a_commit_are_mentioned_and_the_difference_told(
    hub: LocalHub, published: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = (tmp_path / "out" / "mergekit_config.yml").read_text()
    for commit in {line.partition("@")[2] for line in written.splitlines() if "@" in line}:
        written = written.replace(f"@{commit}", "")
    (tmp_path / "out" / "mergekit_config.yml").write_text(written)
    hub.add_model("ada/loose", tmp_path / "out")
    capsys.readouterr()
    assert main(["merge", "ada/loose", str(tmp_path / "again")]) == 0
    stdout, stderr = capsys.readouterr()
    assert "note: acme/base is not pinned to a commit" in stderr
    assert "other weights than ada/loose@" in stdout


def test_recipe_that_stands_in_the_card_alone_is_found(
    hub: LocalHub, commits: dict[str, str], published: bytes, tmp_path: Path
) -> None:
    recipe = (tmp_path / "out" / "mergekit_config.yml").read_text()
    folder = write_model(tmp_path / "old", {"w": np.ones(2, np.float32)})
    (folder / "README.md").write_text(f"# Old\n\n```sh\npip install x\n```\n\n```yaml\n{recipe}```\n")
    hub.add_model("acme/old", folder)
    assert main(["merge", "acme/old", str(tmp_path / "again")]) == 0
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == published


@pytest.mark.parametrize(
    ("spelling", "said"),
    [
        ("acme/code", "acme/code has no mergekit_config.yml, and its card shows no recipe"),
        ("acme/none", "acme/none is not on the Hub, or your account may not see it."),
        ("https://example.org/acme/code", "is no address on the Hub at"),
        ("{url}/datasets/acme/code", "is no address of a model"),
        ("recipes/missing.yml", "recipes/missing.yml cannot be read"),
    ],
)
@pytest.mark.usefixtures("commits")
def test_what_holds_no_recipe_is_one_clear_line(
    spelling: str, said: str, hub: LocalHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["merge", spelling.format(url=hub.url), str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert said in error
    assert not (tmp_path / "out").exists()
