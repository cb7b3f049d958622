"""Who is outvoted, on the page: as the draft's own election and weights have it."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.interference import conflict_map, inspecting
from components.runs.runs import new_owner
from components.tuning.editing import Draft, set_parameter, set_weight
from components.visitor import Visitor
from components.workspace import Workspace
from merge_core.hub import HubClient
from merge_core.interference import inspect
from merge_core.jobs import JobStore
from merge_core.jobs.steps import run_step
from merge_core.prepare import prepare
from merge_core.recipe import Recipe, read_recipe
from tests.core.test_interference import SHAPES, make_models, recipe_for

OWNER = new_owner()
WHO = Visitor(HubClient(), account="")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(JobStore(tmp_path / "home"), on_space=False)


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    return read_recipe(recipe_for(make_models(tmp_path / "models", SHAPES, 3, "bfloat16"), [1.0, 0.5, 2.0]))


def answered(workspace: Workspace, asked: Any, recipe: Recipe) -> tuple[inspecting.MapState, bool]:
    """(the map's state once it is counted, whether the worker had to count)."""
    state = inspecting.ask(workspace, Draft.of(recipe), OWNER, asked, WHO)
    assert state is not None
    if state.report is not None:
        return state, False
    job = workspace.store.claim("worker")
    assert job is not None
    workspace.store.finish(
        job.id, "worker", run_step(job, workspace.store.root, lambda _: None, lambda: False)
    )
    done = inspecting.look(workspace, OWNER, state.asked)
    assert done is not None
    return done, True


def lost_shares(state: inspecting.MapState) -> np.ndarray:
    """[cells, steps], as the browser reckons them."""
    payload = json.loads(conflict_map.update(state)["payload"])
    told = payload["by_model"]["elections"]
    masses = (np.frombuffer(base64.b64decode(told[name]), "<f4") for name in ("outvoted", "kept_mass"))
    lost, mass = (values.reshape(3, len(payload["cells"]), told["steps"]).sum(axis=0) for values in masses)
    with np.errstate(invalid="ignore"):  # at the lowest densities nothing survives in the smallest
        return np.asarray(lost / mass)


def expected_shares(recipe: Recipe) -> np.ndarray:
    """[cells, steps]; every tensor of these models is a cell of its own, in another order."""
    weights = np.array([[entry.parameters["weight"]] for entry in recipe.models])
    told = [t.elections for t in inspect(prepare(recipe), elections=True).tensors if t.elections is not None]
    lost, mass = (
        np.array([(np.abs(weights) * np.array(getattr(t, name))).sum(0) for t in told])
        for name in ("outvoted", "kept_mass")
    )
    with np.errstate(invalid="ignore"):
        return np.asarray(lost / mass)


def require_same(found: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(
        found[np.lexsort(found.T)], expected[np.lexsort(expected.T)], rtol=1e-4, atol=1e-6
    )


def test_the_page_shows_the_drafts_own_election_and_weights(workspace: Workspace, recipe: Recipe) -> None:
    first, _ = answered(workspace, {}, recipe)
    require_same(lost_shares(first), expected_shares(recipe))
    heavier = set_weight(recipe, recipe.models[0].ref, 2.5)
    second, counted = answered(workspace, first.asked, heavier)
    assert counted
    require_same(lost_shares(second), expected_shares(heavier))
    assert not np.allclose(lost_shares(first), lost_shares(second))
    by_norm = set_parameter(heavier, "elect", "normfrac")
    third, _ = answered(workspace, second.asked, by_norm)
    require_same(lost_shares(third), expected_shares(by_norm))


def test_where_models_have_one_vote_each_another_weight_needs_no_count(
    workspace: Workspace, recipe: Recipe
) -> None:
    by_count = set_parameter(recipe, "elect", "count")
    first, _ = answered(workspace, {}, by_count)
    heavier = set_weight(by_count, recipe.models[0].ref, 2.5)
    second, counted = answered(workspace, first.asked, heavier)
    assert not counted
    require_same(lost_shares(second), expected_shares(heavier))


def test_without_an_election_nobody_is_outvoted(workspace: Workspace, recipe: Recipe) -> None:
    state, _ = answered(workspace, {}, set_parameter(recipe, "elect", "none"))
    assert np.nanmax(lost_shares(state)) == 0


def test_another_election_leaves_the_drawn_map_in_place_while_it_is_counted(
    workspace: Workspace, recipe: Recipe
) -> None:
    first, _ = answered(workspace, {}, recipe)
    state = inspecting.ask(
        workspace, Draft.of(set_parameter(recipe, "elect", "normmass")), OWNER, first.asked, WHO
    )
    assert state is not None
    assert conflict_map.update(state)["aside"]
    turned = set_weight(recipe, recipe.models[0].ref, -1.0)
    state = inspecting.ask(workspace, Draft.of(turned), OWNER, first.asked, WHO)
    assert state is not None
    assert "aside" not in conflict_map.update(state)


def test_the_settings_of_a_comparison_name_weights_and_election(workspace: Workspace, recipe: Recipe) -> None:
    state, _ = answered(workspace, {}, set_parameter(recipe, "elect", "count"))
    settings = json.loads(conflict_map.update(state)["payload"])["settings"]
    assert settings[0] == "0, 0.5 × 1, 2 × 2"  # what tells tuned-0, tuned-1 and tuned-2 apart
    assert "elected by count" in settings
