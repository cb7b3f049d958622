"""Whose eyes look at the Hub: on a Space many visitors share one process, one cache and one worker."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from huggingface_hub import constants

from components.visitor import Visitor
from components.workspace import Workspace
from merge_core.errors import UserError
from merge_core.hub import HubClient
from merge_core.hub.cached_models import cached_models, remove_models
from merge_core.jobs import JobStore
from merge_core.jobs.inspections import find_report
from merge_core.jobs.job import Job
from merge_core.jobs.steps import run_step
from merge_core.prepare import fetch, pinned
from merge_core.recipe import ModelRef, Recipe, read_recipe, write_recipe
from tests.checkpoints import read_model, write_model
from tests.hub.server import LocalHub

BOB = "hf_bobKnowsNothing000000000"


@pytest.fixture
def recipe(hub: LocalHub, tmp_path: Path) -> Recipe:
    """A private base and a private fine-tune of ada's."""
    base = {"layers.0.weight": np.ones((32, 16), np.float32)}
    tuned = {"layers.0.weight": np.full((32, 16), 3, np.float32)}
    for name, tensors in (("base", base), ("tuned", tuned)):
        folder = write_model(tmp_path / name, tensors)
        (folder / "tokenizer.json").write_text("{}")
        hub.add_model(f"ada/{name}", folder, private=True)
    document = {
        "merge_method": "task_arithmetic",
        "base_model": "ada/base",
        "models": [{"model": "ada/tuned", "parameters": {"weight": 0.5}}],
    }
    return read_recipe(yaml.safe_dump(document))


@pytest.fixture
def bob(hub: LocalHub) -> HubClient:
    """Another visitor, signed in."""
    hub.add_user("bob", BOB)
    return HubClient(BOB, hub.url)


@pytest.fixture
def space(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Space of ada's, whose own token is the machine's; the worker has its environment."""
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.removeprefix(constants.ENDPOINT)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + template)
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setenv("SPACE_ID", "ada/tiebreak")
    monkeypatch.setenv("HF_TOKEN", hub.token)


def work(recipe: Recipe, root: Path, kind: str = "merge") -> dict[str, object]:
    """What the worker does with a job."""
    job = Job("a1", kind, "session", write_recipe(recipe))  # type: ignore[arg-type]
    return run_step(job, root, lambda progress: None, lambda: False)


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(UserError) as caught:
        call()
    return str(caught.value)


@pytest.mark.usefixtures("space")
def test_worker_merges_what_the_visitor_has_fetched_and_asks_the_hub_nothing(
    hub: LocalHub, client: HubClient, recipe: Recipe, tmp_path: Path
) -> None:
    exact = pinned(recipe, fetch(recipe, client))
    hub.forget()

    result = work(exact, tmp_path / "jobs")

    assert not hub.requests
    folder = tmp_path / "jobs" / str(result["model"])
    assert read_model(folder)["layers.0.weight"].unique().tolist() == [2.0]
    assert (folder / "tokenizer.json").exists()


@pytest.mark.usefixtures("space")
def test_private_run_is_fetched_in_its_owners_name_when_it_is_run_again(
    client: HubClient, recipe: Recipe, tmp_path: Path
) -> None:
    workspace = Workspace(JobStore(tmp_path / "home"), on_space=True)
    ada = Visitor(client, account="ada")

    def until_queued(job: Job) -> None:
        for _ in range(500):
            if (found := workspace.store.get(job.id, "browser")) is not None and found.state == "queued":
                return
            threading.Event().wait(0.02)
        raise AssertionError("the download did not end")

    job = ada.submit(workspace, "merge", "browser", recipe, {})
    until_queued(job)
    workspace.store.cancel(job.id, "browser")
    remove_models([model.repo_id for model in cached_models()], in_use=())
    until_queued(ada.again(workspace, job))
    assert {model.repo_id for model in cached_models()} == {"ada/base", "ada/tuned"}


@pytest.mark.usefixtures("space")
def test_worker_on_a_space_sees_nothing_private_that_nobody_fetched(
    hub: LocalHub, recipe: Recipe, tmp_path: Path
) -> None:
    said = refusal(lambda: work(recipe, tmp_path / "jobs"))
    assert said.startswith("ada/base is not on the Hub, or is private.")
    assert not any("authorization" in request.headers for request in hub.requests)


@pytest.mark.usefixtures("space")
def test_worker_does_not_take_a_branch_for_the_commit_that_is_cached(
    client: HubClient, recipe: Recipe, tmp_path: Path
) -> None:
    fetch(recipe, client)
    assert "is private" in refusal(lambda: work(recipe, tmp_path / "jobs"))


@pytest.mark.usefixtures("space")
@pytest.mark.parametrize("who", ["bob", "stranger"])
def test_another_visitor_is_refused_a_private_model_that_lies_in_the_cache(
    client: HubClient, who: str, recipe: Recipe, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    visitor = request.getfixturevalue(who)
    exact = pinned(recipe, fetch(recipe, client))
    work(exact, tmp_path / "jobs", "inspect")
    assert find_report(tmp_path / "jobs", exact, client) is not None
    assert "ada/base is not on the Hub" in refusal(lambda: visitor.checkpoint(exact.refs()[0]))
    assert "ada/base is not on the Hub" in refusal(lambda: find_report(tmp_path / "jobs", exact, visitor))


@pytest.mark.usefixtures("space")
def test_visitor_who_was_not_let_in_is_refused_a_gated_model_that_lies_in_the_cache(
    hub: LocalHub, client: HubClient, bob: HubClient, model: Path
) -> None:
    hub.add_model("acme/gated", model, gated=True)
    hub.repo("acme/gated").granted.add("ada")
    here = client.download(client.checkpoint(ModelRef("acme/gated")))
    assert client.checkpoint(ModelRef("acme/gated")).root == here.root
    said = refusal(lambda: bob.checkpoint(ModelRef("acme/gated", here.commit)))
    assert said.startswith("acme/gated is gated")


def test_cache_answers_for_a_hub_that_is_down_but_not_on_a_space(
    hub: LocalHub, client: HubClient, bob: HubClient, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch(recipe, client)
    hub.fail("GET /api/models", status=503)
    assert client.checkpoint(ModelRef("ada/base")).root is not None
    monkeypatch.setenv("SPACE_ID", "ada/tiebreak")
    assert "The Hub has trouble of its own" in refusal(lambda: bob.checkpoint(ModelRef("ada/base")))


def test_half_a_download_is_not_taken_for_a_whole_model(
    client: HubClient, recipe: Recipe, tmp_path: Path
) -> None:
    """Weights that another program fetched lie there without the tokenizer."""
    exact = pinned(recipe, {ref: client.checkpoint(ref) for ref in recipe.refs()})
    ref = exact.refs()[0]
    for name in ("model.safetensors", "config.json"):
        client._session.api.hf_hub_download(ref.path, name, revision=ref.revision)
    worker = HubClient(client._session._token, client._session.endpoint, cache_first=True)
    assert worker.checkpoint(ref).root is None
    assert (worker.download(worker.checkpoint(ref)).root / "tokenizer.json").exists()  # type: ignore[operator]
