"""Models on the Hub are previewed within a budget of bytes, and not downloaded."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import yaml
from huggingface_hub import constants

from merge_core.errors import UserError
from merge_core.hub import HubClient
from merge_core.hub.lines import Line
from merge_core.interference import InterferenceReport, inspect
from merge_core.interference.sampling import inspect_sample, plan_without_download
from merge_core.jobs import JobStore
from merge_core.jobs.job import JobProgress
from merge_core.jobs.steps import run_step
from merge_core.prepare import prepare
from merge_core.progress import Cancelled, Progress
from merge_core.recipe import Recipe, read_recipe
from tests.checkpoints import write_model
from tests.core.test_lora import write_adapter
from tests.hub.server import LocalHub

LAYERS = 3


@pytest.fixture
def recipe(hub: LocalHub, tmp_path: Path) -> Recipe:
    """A base and three fine-tunes of 5M parameters each, in two shards."""
    rng = np.random.default_rng(7)
    shapes = {"model.embed_tokens.weight": (1000, 512), "model.norm.weight": (512,)}
    for layer in range(LAYERS):
        shapes |= {f"model.layers.{layer}.{n}.weight": (512, 512) for n in ("q_proj", "k_proj", "v_proj")}
        shapes |= {
            f"model.layers.{layer}.mlp.up_proj.weight": (1400, 512),
            f"model.layers.{layer}.norm.weight": (512,),
        }
    base = {name: rng.normal(0, 0.02, shape) for name, shape in shapes.items()}
    hub.add_model("ada/base", write_model(tmp_path / "base", base, "bfloat16", shards=2))
    for number in range(3):
        tuned = {name: value + rng.normal(0, 1e-3, value.shape) for name, value in base.items()}
        hub.add_model(
            f"ada/tuned-{number}", write_model(tmp_path / f"tuned-{number}", tuned, "bfloat16", shards=2)
        )
    models = [{"model": f"ada/tuned-{n}", "parameters": {"weight": 1.0}} for n in range(3)]
    document = {
        "merge_method": "ties",
        "base_model": "ada/base",
        "models": models,
        "parameters": {"density": 0.2},
    }
    return read_recipe(yaml.safe_dump(document))


@pytest.mark.parametrize("megabytes", [3, 8])
def test_no_more_is_read_than_the_budget_and_nothing_is_downloaded(
    hub: LocalHub, client: HubClient, recipe: Recipe, megabytes: int
) -> None:
    hub.forget()
    told = []
    plan = plan_without_download(recipe, client)
    report = inspect_sample(plan, megabytes * 10**6, hub=client, progress=told.append)
    assert 0.5 * megabytes * 10**6 < sum(request.sent for request in hub.requests) <= megabytes * 10**6
    assert not list(Path(constants.HF_HUB_CACHE).rglob("*.safetensors"))
    assert told[-1].total
    large = [t for t in report.tensors if t.numel > 4096]
    assert all(0 < t.sampled < t.numel for t in large)
    assert all(t.sampled == t.numel for t in report.tensors if t.numel <= 4096)
    parts = [r for r in hub.requests if "range" in r.headers and r.headers["range"] != "bytes=0-99999"]
    assert len(parts) <= 4 * len(plan.tensors) * 17


def ranges(hub: LocalHub) -> list[tuple[str, int, int]]:
    """What was asked for of the store: address, first and last byte."""
    found = []
    for request in hub.asked("GET /storage"):
        first, last = request.headers["range"].removeprefix("bytes=").split("-")
        found.append((request.path, int(first), int(last)))
    return sorted(found)


def test_a_first_map_comes_before_the_rest_is_read_and_nothing_is_read_twice(
    hub: LocalHub, client: HubClient, recipe: Recipe
) -> None:
    plan = plan_without_download(recipe, client)
    hub.forget()
    looks = []

    def shown(report: InterferenceReport, budget: int) -> None:
        looks.append((report, budget, sum(request.sent for request in hub.requests)))

    last = inspect_sample(plan, 20 * 10**6, hub=client, shown=shown)
    asked = ranges(hub)
    [(first, budget, read)] = looks
    assert read <= budget == 8 * 10**6
    assert sum(request.sent for request in hub.requests) <= 20 * 10**6
    assert all(a[0] != b[0] or a[2] < b[1] for a, b in pairwise(asked))
    assert first == inspect_sample(plan, budget, hub=client)
    assert last == inspect_sample(plan, 20 * 10**6, hub=client)
    assert all(a.sampled <= b.sampled for a, b in zip(first.tensors, last.tensors, strict=True))


def test_where_there_is_a_proxy_nothing_goes_past_it(
    hub: LocalHub, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"{hub.url}/ada/base/resolve/main/model.safetensors.index.json"
    line = Line()
    found = line.part(address, {}, 0, 1)
    assert found is not None
    assert found.data == b"{"
    line.close()
    hub.forget()
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    assert Line().part(address, {}, 0, 1) is None
    assert not hub.requests


def test_its_intervals_hold_what_a_download_would_count(
    hub: LocalHub, client: HubClient, recipe: Recipe
) -> None:
    plan = plan_without_download(recipe, client)
    reports = [inspect_sample(plan, 3 * 10**6, seed=seed, hub=client) for seed in range(2)]
    everything = inspect_sample(plan, 10**9, hub=client)
    exact = inspect(prepare(recipe, client))
    inside = [
        np.less_equal(s.conflicted_low, t.conflicted) & np.less_equal(t.conflicted, s.conflicted_high)
        for report in reports
        for s, t in zip(report.tensors, exact.tensors, strict=True)
    ]
    assert np.mean(inside) >= 0.95
    assert [t.conflicted for t in everything.tensors] == [t.conflicted for t in exact.tensors]


def test_the_token_goes_to_the_hub_and_not_to_its_store(
    hub: LocalHub, client: HubClient, recipe: Recipe
) -> None:
    plan = plan_without_download(recipe, client)
    hub.forget()
    inspect_sample(plan, 3 * 10**6, hub=client)
    stored = [r for r in hub.requests if r.headers["host"].startswith("localhost")]
    asked = [r for r in hub.requests if not r.headers["host"].startswith("localhost")]
    assert len(stored) > 4 * len(asked)  # the Hub is not asked for each part
    assert all("authorization" not in request.headers for request in stored)
    assert all(hub.token in request.headers["authorization"] for request in asked)


def test_an_address_that_has_expired_is_asked_for_anew(
    hub: LocalHub, client: HubClient, recipe: Recipe
) -> None:
    plan = plan_without_download(recipe, client)
    expected = inspect_sample(plan, 3 * 10**6, hub=client)
    hub.forget()

    def expire(progress: Progress) -> None:
        if progress.fraction > 0.3 and "Hub" in progress.message and not expired:
            expired.append(True)
            hub.fail(r"GET /storage", status=403, times=1)

    expired: list[bool] = []
    assert inspect_sample(plan, 3 * 10**6, hub=client, progress=expire) == expected
    assert len([r for r in hub.requests if r.status == 403]) == 1


def test_a_hub_that_sends_only_whole_files_is_refused(
    hub: LocalHub, client: HubClient, recipe: Recipe
) -> None:
    plan = plan_without_download(recipe, client)
    hub.ignore_range = True
    with pytest.raises(UserError, match="only whole"):
        inspect_sample(plan, 3 * 10**6, hub=client)


def test_a_cancelled_preview_stops_reading(hub: LocalHub, client: HubClient, recipe: Recipe) -> None:
    plan = plan_without_download(recipe, client)
    hub.forget()
    with pytest.raises(Cancelled):
        inspect_sample(plan, 8 * 10**6, hub=client, cancelled=lambda: len(hub.requests) > 20)
    assert len(hub.requests) < 300  # of more than a thousand


def test_the_worker_previews_without_a_download(
    hub: LocalHub, client: HubClient, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from merge_core.recipe import write_recipe

    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.removeprefix(constants.ENDPOINT)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + template)
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    store = JobStore(tmp_path / "store")
    job = store.submit("inspect", "ada", write_recipe(recipe), {"sample_mb": 3, "seed": 1})
    result = run_step(job, store.root, lambda progress: None, lambda: False)
    report = json.loads((store.root / result["report"]).read_text())
    assert report["tensors"][0]["sampled"] < report["tensors"][0]["numel"]
    larger = store.submit("inspect", "ada", write_recipe(recipe), {"sample_mb": 20, "seed": 1})
    told: list[JobProgress] = []
    result = run_step(larger, store.root, told.append, lambda: False)
    early = json.loads((store.root / told[-1].shown).read_text())
    late = json.loads((store.root / result["report"]).read_text())
    assert early["tensors"][0]["sampled"] < late["tensors"][0]["sampled"]
    assert not list(Path(constants.HF_HUB_CACHE).rglob("*.safetensors"))


def test_adapters_on_the_hub_are_sampled_within_the_budget(
    hub: LocalHub, client: HubClient, recipe: Recipe, tmp_path: Path
) -> None:
    rng = np.random.default_rng(9)
    names = [f"model.layers.{layer}.{module}_proj" for layer in range(LAYERS) for module in ("q", "k", "v")]
    for number in range(3):
        pairs = {name: (rng.normal(size=(8, 512)) / 100, rng.normal(size=(512, 8)) / 100) for name in names}
        adapter = write_adapter(tmp_path / f"adapter-{number}", pairs, "bfloat16", r=8)
        hub.add_model(f"ada/adapter-{number}", adapter)
    models = [{"model": f"ada/base+ada/adapter-{n}", "parameters": {"weight": 1.0}} for n in range(3)]
    document = {"merge_method": "ties", "base_model": "ada/base", "models": models}
    adapters = read_recipe(yaml.safe_dump({**document, "parameters": {"density": 0.2}}))
    plan = plan_without_download(adapters, client)
    hub.forget()
    report = inspect_sample(plan, 2 * 10**6, hub=client)
    assert 10**6 < sum(request.sent for request in hub.requests) <= 2 * 10**6
    assert not list(Path(constants.HF_HUB_CACHE).rglob("*.safetensors"))
    everything = inspect_sample(plan, 10**9, hub=client)
    exact = inspect(prepare(adapters, client))
    assert [t.conflicted for t in everything.tensors] == [t.conflicted for t in exact.tensors]
    inside = [
        np.less_equal(s.conflicted_low, t.conflicted) & np.less_equal(t.conflicted, s.conflicted_high)
        for s, t in zip(report.tensors, exact.tensors, strict=True)
    ]
    assert np.mean(inside) >= 0.95
