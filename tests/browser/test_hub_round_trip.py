"""From the Hub to the Hub in a real browser: pick, inspect, merge, measure, push, and compare what arrived."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest
import torch
from playwright.sync_api import Page, expect
from safetensors.torch import load, load_file, save_file

from merge_core.recipe import read_recipe
from tests.browser.conftest import ROOT, running_app
from tests.checkpoints import as_float64, reference_ties
from tests.hub.server import LocalHub
from tests.tiny_models import png, vit, write_probe

MINUTE = 60_000  # ms
# The settings that the page opens with stand when its models are replaced.
OPENING = read_recipe((ROOT / "assets/demo/recipe.yml").read_text()).parameters
DENSITY, SCALE = float(OPENING["density"]), float(OPENING["lambda"])
LABELS = ("sandal", "sneaker", "bag")


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A small vision transformer and two fine-tunes of it."""
    folder = tmp_path_factory.mktemp("family")
    made = {name: vit(folder / name, LABELS) for name in ("base", "left", "right")}
    for seed, name in enumerate(("left", "right")):
        generator = torch.Generator().manual_seed(seed)
        tensors = load_file(made["base"] / "model.safetensors")
        tuned = {n: t + 0.05 * torch.randn(t.shape, generator=generator) for n, t in tensors.items()}
        save_file(tuned, made[name] / "model.safetensors", metadata={"format": "pt"})
    for path in made.values():
        (path / "README.md").write_text("---\nlicense: mit\n---\n# A model\n")
    return made


@pytest.fixture(scope="module")
def hub(family: dict[str, Path]) -> Iterator[LocalHub]:
    with LocalHub() as running:
        running.add_model("acme/base-vit", family["base"], downloads=10, licence="mit")
        broken = copytree(family["base"], family["base"].parent / "broken")
        (broken / "model.safetensors").write_bytes(b"damaged")
        running.add_model("acme/broken-vit", broken)
        for name in ("left", "right"):
            running.add_model(f"acme/{name}-vit", family[name], base_model="acme/base-vit", licence="mit")
        yield running
        assert not running.bugs, "\n".join(running.bugs)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def address(home: Path, hub: LocalHub) -> Iterator[str]:
    settings = {"HF_ENDPOINT": hub.url, "HF_HOME": str(home / "hf"), "HF_TOKEN": hub.token}
    with running_app(home, HF_HUB_DISABLE_XET="1", **settings) as served:
        yield served


def test_models_of_the_hub_are_merged_measured_and_pushed(
    page: Page, address: str, hub: LocalHub, home: Path, family: dict[str, Path], tmp_path: Path
) -> None:
    page.goto(address)
    expect(page.locator("#tb-start")).to_be_enabled(timeout=MINUTE)
    assert not hub.requests, "the Hub was asked before anybody wanted it"

    # pick
    page.click("#tb-clear")
    expect(page.locator(".tb-model")).to_have_count(0)
    page.click("#tb-add")
    page.get_by_role("radio", name="Hub").check()
    search = page.locator(".tb-hub-input")
    search.fill("base-vit")
    row = page.locator(".tb-hub-row", has_text="acme/base-vit").first
    expect(row).to_contain_text("mit")
    row.get_by_role("button", name=re.compile("as base$")).click()
    expect(page.locator(".tb-model")).to_have_count(1)
    page.get_by_role("button", name="Fine-tunes of acme/base-vit").click()
    for number, name in enumerate(("left", "right"), 2):
        found = page.locator(".tb-hub-row", has_text=f"acme/{name}-vit")
        if not found.count():
            search.fill(f"{name}-vit")
        found.get_by_role("button", name=re.compile("as fine-tune$")).click()
        expect(page.locator(".tb-model")).to_have_count(number)
    expect(page.locator(".tb-model .tb-chip", has_text="ready")).to_have_count(2)
    search.fill("broken-vit")
    broken = page.locator(".tb-hub-row", has_text="acme/broken-vit")
    broken.get_by_role("button", name=re.compile("as fine-tune$")).click()
    expect(page.locator(".tb-hub-said")).to_contain_text("damaged")
    expect(page.locator(".tb-model")).to_have_count(3)
    expect(page.locator("#tb-notice")).to_be_hidden()

    # inspect
    expect(page.locator(".tb-middle")).to_contain_text("two or more models touch", timeout=MINUTE)

    # merge and measure, on a probe of one's own
    rng = np.random.default_rng(0)
    items = [
        {"image": png(rng.integers(0, 255, (16, 16), dtype=np.uint8)), "label": LABELS[n % 3]}
        for n in range(12)
    ]
    header = {"probe": "noise", "kind": "image-classification", "labels": list(LABELS)}
    probe = write_probe(tmp_path / "noise.jsonl", header, items)
    page.locator("#tb-measuring").get_by_role("button").first.click()
    with page.expect_file_chooser() as chooser:
        page.click("#tb-bring-probe")
    chooser.value.set_files(probe)
    expect(page.locator("#tb-probes")).to_contain_text("noise · 12 items")
    expect(page.locator("#tb-beneath")).to_contain_text("4 models on 1 probe set")
    page.click("#tb-start")
    expect(page.locator("#tb-runs .tb-chip").first).to_have_text(re.compile("done"), timeout=2 * MINUTE)
    expect(page.locator("#tb-scores tbody tr")).to_have_count(4)

    # push, change one's mind, and push after all
    page.locator("#tb-push-fold").get_by_role("button").first.click()
    owner = page.get_by_label("Owner")
    expect(owner).to_have_value("ada")
    owner.select_option("guild")
    expect(owner.locator("option")).to_have_text(["ada", "guild"])
    owner.select_option("ada")
    page.locator("#tb-repository input, #tb-repository textarea").fill("merged-vit")
    hub.fail("PUT /storage/", times=1, delay=3)
    page.click("#tb-push")
    page.click("#tb-push-stop")
    expect(page.locator("#tb-push-status")).to_contain_text(
        "Nothing was published. ada/merged-vit was made, and is empty"
    )
    expect(page.locator("#tb-push-stop")).to_be_hidden()
    assert hub.files("ada/merged-vit").keys() == {".gitattributes"}
    page.click("#tb-push")
    expect(page.locator("#tb-push-status")).to_contain_text("Pushed", timeout=MINUTE)

    # what arrived
    repo = hub.repo("ada/merged-vit")
    assert repo.private
    files = hub.files("ada/merged-vit")
    assert {"config.json", "model.safetensors", "mergekit_config.yml", "README.md"} <= files.keys()
    merged = load(files["model.safetensors"])
    base, left, right = (load_file(family[name] / "model.safetensors") for name in ("base", "left", "right"))
    for name, tensor in merged.items():
        origin = as_float64(base[name])
        taus = [
            (as_float64(m[name]).astype(np.float32) - origin.astype(np.float32)).ravel()
            for m in (left, right)
        ]
        merged_task = reference_ties([t.astype(np.float64) for t in taus], [DENSITY] * 2, [1.0, 1.0])
        expected = origin.ravel() + SCALE * merged_task
        np.testing.assert_allclose(as_float64(tensor).ravel(), expected, rtol=1e-5, atol=1e-7, err_msg=name)
    card = files["README.md"].decode()
    for name in ("base", "left", "right"):
        assert f"acme/{name}-vit" in card
        assert hub.repo(f"acme/{name}-vit").head.sha[:7] in card
    assert "noise" in card
    assert str(home) not in card + files["mergekit_config.yml"].decode()

    # nothing was deleted, and the token is nowhere on the disk or in a log
    assert not hub.asked("^DELETE|deletedFile")
    for path in home.rglob("*"):
        if path.is_file() and path.stat().st_size < 50_000_000:
            assert hub.token.encode() not in path.read_bytes(), path
