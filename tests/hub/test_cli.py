"""The whole way at the command line, in a process of its own, with nothing but HF_ENDPOINT to find the Hub."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import constants

from tests.checkpoints import as_float64, read_model, reference_ties, write_model
from tests.hub.server import LocalHub

ROOT = Path(__file__).parents[2]
RECIPE = """\
merge_method: ties
base_model: acme/base
models:
  - model: acme/code
    parameters: {{weight: 1.0, density: 0.5}}
  - model: acme/maths@{commit}
    parameters: {{weight: 0.5, density: 0.5}}
dtype: float32
"""


@pytest.fixture
def family(hub: LocalHub, tmp_path: Path) -> tuple[Path, list[Path]]:
    """(recipe, folders of base, code and maths), all of it on the Hub."""
    rng = np.random.default_rng(5)
    base = {f"layers.{n}.weight": rng.normal(size=(512, 256)).astype(np.float32) for n in range(4)}
    folders = [write_model(tmp_path / "base", base)]
    for name in ("code", "maths"):
        tuned = {
            key: (value + 0.1 * rng.normal(size=value.shape)).astype(np.float32)
            for key, value in base.items()
        }
        folders.append(write_model(tmp_path / name, tuned, shards=2))
    for folder in folders:
        (folder / "tokenizer.json").write_text("{}")
        commit = hub.add_model(f"acme/{folder.name}", folder)
    recipe = tmp_path / "recipe.yml"
    recipe.write_text(RECIPE.format(commit=commit))
    return recipe, folders


def run(hub: LocalHub, *arguments: object, signed_in: bool = False) -> subprocess.CompletedProcess[str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    environment = {
        **kept,
        "HF_ENDPOINT": hub.url,
        "HF_HUB_CACHE": constants.HF_HUB_CACHE,
        "NUMBA_NUM_THREADS": "2",
    }
    environment["HF_TOKEN_PATH"] = constants.HF_TOKEN_PATH
    if signed_in:
        environment["HF_TOKEN"] = hub.token
    command = [sys.executable, "-m", "merge_core", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)


def test_models_of_the_hub_are_checked_merged_and_published(
    hub: LocalHub, family: tuple[Path, list[Path]], tmp_path: Path
) -> None:
    recipe, folders = family

    checked = run(hub, "check", recipe)
    assert checked.returncode == 0, checked.stderr
    assert sum(request.sent for request in hub.requests) < 600_000
    assert not list(Path(constants.HF_HUB_CACHE).rglob("*.safetensors"))

    out = tmp_path / "merged"
    merged = run(hub, "merge", recipe, out)
    assert merged.returncode == 0, merged.stderr
    base, *tunes = [read_model(folder) for folder in folders]
    found = read_model(out)
    for name, tensor in base.items():
        taus = [as_float64(tune[name]).ravel() - as_float64(tensor).ravel() for tune in tunes]
        expected = as_float64(tensor).ravel() + reference_ties(taus, [0.5, 0.5], [1.0, 0.5])
        np.testing.assert_allclose(as_float64(found[name]).ravel(), expected, atol=1e-6)
    assert (out / "tokenizer.json").read_text() == "{}"

    pushed = run(hub, "push", out, "ada/merged", "--private", signed_in=True)
    assert pushed.returncode == 0, pushed.stderr
    assert pushed.stdout == f"{hub.url}/ada/merged\n"
    assert hub.files("ada/merged")["model.safetensors"] == (out / "model.safetensors").read_bytes()
    assert hub.repo("ada/merged").private

    proposed = run(hub, "push", out, "acme/base", "--pr", signed_in=True)
    assert proposed.stdout == f"{hub.url}/acme/base/discussions/1\n"
    assert hub.token not in pushed.stderr + pushed.stdout + proposed.stderr
    assert not hub.asked("DELETE")


def test_folder_that_no_merge_made_is_refused_before_anything_is_sent(
    hub: LocalHub, family: tuple[Path, list[Path]], tmp_path: Path
) -> None:
    code = tmp_path / "scripts"
    code.mkdir()
    (code / "train.py").write_text("SECRET = 1")
    _, (base, *_) = family

    refused = [run(hub, "push", folder, "ada/oops", signed_in=True) for folder in (code, base)]

    assert [done.returncode for done in refused] == [2, 2]
    assert refused[0].stderr.startswith(f"error: {code} holds no weights: expected model.safetensors")
    assert refused[1].stderr.startswith(f"error: {base} holds no mergekit_config.yml, which every merge has")
    assert "Name the folder that `merge` made" in refused[1].stderr
    assert not hub.requests


def test_card_without_metadata_is_pushed_without_a_word(
    hub: LocalHub, family: tuple[Path, list[Path]]
) -> None:
    recipe, (base, *_) = family
    (base / "mergekit_config.yml").write_text(recipe.read_text())
    (base / "README.md").write_text("# My own words\n")
    pushed = run(hub, "push", base, "ada/plain", signed_in=True)
    assert (pushed.returncode, pushed.stderr) == (0, "")
    assert hub.asked("validate-yaml")


def test_error_of_the_hub_is_one_line(hub: LocalHub, family: tuple[Path, list[Path]], tmp_path: Path) -> None:
    recipe, _ = family
    hub.repo("acme/code").gated = True

    failed = run(hub, "merge", recipe, tmp_path / "merged", signed_in=True)

    assert failed.returncode == 2
    assert failed.stderr.startswith("error: acme/code is gated: its files are open only to accounts")
    assert failed.stderr.count("\n") == 1
    assert not (tmp_path / "merged").exists()
    assert hub.token not in failed.stderr
    assert not hub.asked("resolve/.*/README")
