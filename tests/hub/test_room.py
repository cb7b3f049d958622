"""Nothing is fetched for a merge that has no room, and nothing half-fetched stays."""

from __future__ import annotations

import shutil
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import constants

from merge_core.errors import UserError
from merge_core.hub import HubClient
from merge_core.hub.cached_models import cached_models, remove_models
from merge_core.jobs import Job, JobStore, worker
from merge_core.jobs.worker import work
from merge_core.prepare import fetch, open_all
from merge_core.prepare.needs import SPARE, needs_of
from merge_core.recipe import read_recipe
from tests.checkpoints import write_model
from tests.hub.server import LocalHub

Usage = namedtuple("Usage", "total used free")
RECIPE = """\
merge_method: linear
models:
  - {model: acme/a, parameters: {weight: 1}}
  - {model: acme/b, parameters: {weight: 1}}
"""
WEIGHTS = 256 * 1024 * 4  # bytes


@pytest.fixture(autouse=True)
def models(hub: LocalHub, tmp_path: Path) -> None:
    for number, name in enumerate(("a", "b")):
        folder = write_model(tmp_path / name, {"layers.0.weight": np.full((256, 1024), number, np.float32)})
        hub.add_model(f"acme/{name}", folder)


def test_what_is_still_to_be_fetched_is_known_without_another_request(
    hub: LocalHub, client: HubClient
) -> None:
    recipe = read_recipe(RECIPE)
    checkpoints = open_all(recipe, client)
    hub.forget()
    needs = needs_of(checkpoints, client)
    assert not hub.requests
    assert 2 * WEIGHTS < needs.download < 2 * WEIGHTS + 10_000
    assert set(needs.downloads) == {f"{ref.path}@{c.commit}" for ref, c in checkpoints.items()}
    fetch(recipe, client)
    assert needs_of(open_all(recipe, client), client).download == 0


def test_nothing_is_fetched_where_the_merge_would_have_no_room(
    hub: LocalHub, client: HubClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = SPARE + WEIGHTS // 2  # for a model's small files, and not for what is made
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**12, 0, room))
    with pytest.raises(UserError, match="No space on the disk"):
        fetch(read_recipe(RECIPE), client, out=tmp_path / "out", stream=None)
    assert not cached_models()


def test_models_stay_on_the_hub_where_the_disk_has_room_for_the_merge_alone(
    hub: LocalHub, client: HubClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = SPARE + 2 * WEIGHTS + WEIGHTS // 2  # for the models or for what they make, and not for both
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**12, 0, room))
    said: list[str] = []
    found = fetch(read_recipe(RECIPE), client, out=tmp_path / "out", note=said.append, stream=None)
    assert all(checkpoint.root is None and checkpoint.streamed for checkpoint in found.values())
    assert not list(Path(constants.HF_HUB_CACHE).rglob("*.safetensors"))
    assert "2 models are read from the Hub where they lie" in said[-1]
    assert all(checkpoint.root for checkpoint in fetch(read_recipe(RECIPE), client).values())


def test_removed_model_is_fetched_again(hub: LocalHub, client: HubClient) -> None:
    recipe = read_recipe(RECIPE)
    fetch(recipe, client)
    assert {model.repo_id for model in cached_models()} == {"acme/a", "acme/b"}
    assert remove_models(["acme/a"], in_use=()) > WEIGHTS
    assert [model.repo_id for model in cached_models()] == ["acme/b"]
    assert all(c.root is not None for c in fetch(recipe, client).values())


def test_worker_that_is_never_idle_tidies_up_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = JobStore(tmp_path / "jobs")
    for number in range(2):
        store.submit("merge", "ada", f"no recipe {number}")
    stray = tmp_path / "jobs" / "runs" / "stray"
    seen = []
    attend = worker.attend

    def leave_something(store: JobStore, job: Job, name: str) -> None:
        seen.append(stray.exists())
        stray.mkdir(parents=True)
        attend(store, job, name)

    monkeypatch.setattr(worker, "attend", leave_something)
    monkeypatch.setattr(worker, "TIDY_EVERY", 0.0)
    work(tmp_path / "jobs", linger=0.5)
    assert seen == [False, False]


def test_worker_removes_what_killed_downloads_left_as_it_starts(tmp_path: Path) -> None:
    orphan = Path(constants.HF_HUB_CACHE) / "models--acme--a" / "blobs" / f"{'c' * 64}.12345678.incomplete"
    orphan.parent.mkdir(parents=True)
    orphan.write_bytes(b"half")
    work(tmp_path / "jobs", linger=-1e9)
    assert not orphan.exists()
