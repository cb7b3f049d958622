"""The map of models on the Hub: what is too large to fetch unasked is sampled, and fetched once the visitor says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.interference import conflict_map, inspecting
from components.tuning.editing import Draft
from components.visitor import Visitor
from components.workspace import Workspace
from merge_core.hub import HubClient
from merge_core.jobs import JobStore
from merge_core.jobs.job import JobProgress
from merge_core.json_files import write_json
from merge_core.recipe import read_recipe
from tests.browser.map_page import made_up_report
from tests.hub.server import LocalHub

RECIPE = """
merge_method: ties
base_model: acme/base
models:
  - {model: acme/left, parameters: {weight: 1.0}}
  - {model: acme/right, parameters: {weight: 1.0}}
parameters: {density: 0.2}
"""
OWNER = "a" * 32


@pytest.fixture
def workspace(hub: LocalHub, model: Path, tmp_path: Path) -> Workspace:
    for name in ("base", "left", "right"):
        hub.add_model(f"acme/{name}", model)
    return Workspace(JobStore(tmp_path / "home"), on_space=False)


@pytest.fixture
def who(client: HubClient) -> Visitor:
    return Visitor(client, account="")


def test_models_too_large_to_fetch_unasked_are_sampled_until_the_visitor_says_more(
    workspace: Workspace, who: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspecting, "UNASKED", 1000)
    monkeypatch.setattr(inspecting, "SMALL", 1000)
    draft = Draft.of(read_recipe(RECIPE))

    def queued(state: inspecting.MapState | None) -> dict[str, object]:
        assert state is not None
        job = workspace.store.get(state.asked["job"], OWNER)
        assert job is not None
        return dict(job.options)

    state = inspecting.ask(workspace, draft, OWNER, {}, who)
    assert queued(state) == {"sample_mb": 64}
    assert state is not None
    assert state.asked["missing"] == 3 * 4 * 64 * 48 * 4  # three models of four float32 tensors
    assert inspecting.ask(workspace, draft, OWNER, state.asked, who) is None
    more = inspecting.ask(workspace, draft, OWNER, state.asked, who, sample_mb=256)
    assert queued(more) == {"sample_mb": 256}
    assert more is not None
    whole = inspecting.ask(workspace, draft, OWNER, more.asked, who, download=True)
    assert queued(whole) == {}
    assert whole is not None
    elected = inspecting.ask(workspace, draft, OWNER, whole.asked, who, download=True, elections=True)
    assert queued(elected) == {"elections": True}


def test_small_models_are_fetched_for_the_map_without_a_question(workspace: Workspace, who: Visitor) -> None:
    state = inspecting.ask(workspace, Draft.of(read_recipe(RECIPE)), OWNER, {}, who)
    assert state is not None
    job = workspace.store.get(state.asked["job"], OWNER)
    assert job is not None
    assert dict(job.options) == {"elections": True}  # of so little, everything is counted at once


def test_what_a_first_part_of_a_sample_shows_is_drawn_once_while_the_rest_is_read(
    workspace: Workspace, who: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspecting, "UNASKED", 1000)
    monkeypatch.setattr(inspecting, "SMALL", 1000)
    store = workspace.store
    waiting = inspecting.ask(workspace, Draft.of(read_recipe(RECIPE)), OWNER, {}, who)
    assert waiting is not None
    job = store.claim("w")
    assert job is not None
    first = made_up_report(["layers.0.q", "layers.0.k"])
    write_json(store.root / "inspections" / "first.json", first.to_json())
    store.beat(job.id, "w", JobProgress(0.2, "reading", shown="inspections/first.json"))
    drawn = inspecting.look(workspace, OWNER, waiting.asked)
    assert drawn is not None
    assert drawn.report == first
    assert drawn.asked["names"] == ("layers.0.q", "layers.0.k")
    refining = inspecting.look(workspace, OWNER, drawn.asked)
    assert refining is not None
    assert refining.report is None
    assert conflict_map.update(refining)["refining"]
    last = made_up_report(["layers.0.q", "layers.0.k"], entries=900)
    write_json(store.root / "inspections" / "last.json", last.to_json())
    store.finish(job.id, "w", {"report": "inspections/last.json"})
    done = inspecting.look(workspace, OWNER, refining.asked)
    assert done is not None
    assert done.report == last
    assert done.asked["job"] is None
