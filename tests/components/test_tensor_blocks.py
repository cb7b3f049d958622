"""Asking for one tensor by heads or rows: only of the map's own tensors, only in one's own name, once."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.interference import tensor_blocks
from components.interference.wanted_inspection import question
from components.runs.runs import new_owner
from components.visitor import Visitor
from components.workspace import Workspace
from merge_core.hub import HubClient
from merge_core.interference.block_counts import inspect_blocks
from merge_core.jobs import JobStore
from merge_core.jobs.steps import run_step
from merge_core.prepare import prepare
from merge_core.recipe import read_recipe
from tests.core.test_interference import SHAPES, make_models, recipe_for

OWNER = new_owner()
TENSOR = "model.layers.0.self_attn.q_proj.weight"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(JobStore(tmp_path / "home"), on_space=False)


@pytest.fixture
def asked(tmp_path: Path) -> dict[str, Any]:
    """What the page knows once it shows a map of some models."""
    recipe = read_recipe(recipe_for(make_models(tmp_path / "models", SHAPES, 2, "bfloat16")))
    return {"question": question(recipe), "names": tuple(SHAPES)}


WHO = Visitor(HubClient(), account="")


def test_a_tensor_is_counted_once_and_then_known(workspace: Workspace, asked: dict[str, Any]) -> None:
    state = tensor_blocks.ask(workspace, OWNER, asked, {}, TENSOR, WHO)
    job = workspace.store.get(state.closer["job"], OWNER)
    assert job is not None
    assert dict(job.options) == {"tensor": TENSOR}
    waiting = tensor_blocks.look(workspace, OWNER, state.closer)
    assert waiting is not None
    assert tensor_blocks.update(waiting)["state"] == "loading"
    claimed = workspace.store.claim("worker")
    assert claimed is not None
    result = run_step(claimed, workspace.store.root, lambda _: None, lambda: False)
    workspace.store.finish(claimed.id, "worker", result)
    done = tensor_blocks.look(workspace, OWNER, state.closer)
    expected = inspect_blocks(prepare(read_recipe(asked["question"])), TENSOR)
    assert done is not None
    assert done.counts == expected
    assert tensor_blocks.look(workspace, OWNER, done.closer) is None
    again = tensor_blocks.ask(workspace, OWNER, asked, {}, TENSOR, WHO)
    assert again.counts == expected
    assert "job" not in again.closer


def test_only_tensors_of_the_map_are_counted(workspace: Workspace, asked: dict[str, Any]) -> None:
    for name in ("../../etc/passwd", "<img src=x>", ""):
        state = tensor_blocks.ask(workspace, OWNER, asked, {}, name, WHO)
        assert "not on the map" in tensor_blocks.update(state)["message"]
    assert (
        tensor_blocks.update(tensor_blocks.ask(workspace, OWNER, {}, {}, TENSOR, WHO))["state"] == "problem"
    )
    assert workspace.store.list(OWNER) == ()


def test_choosing_another_stops_the_count_nobody_waits_for(
    workspace: Workspace, asked: dict[str, Any]
) -> None:
    first = tensor_blocks.ask(workspace, OWNER, asked, {}, TENSOR, WHO)
    tensor_blocks.ask(workspace, OWNER, asked, first.closer, "model.norm.weight", WHO)
    stopped = workspace.store.get(first.closer["job"], OWNER)
    assert stopped is not None
    assert stopped.state == "cancelled"


def test_nobody_sees_the_count_of_somebody_else(workspace: Workspace, asked: dict[str, Any]) -> None:
    state = tensor_blocks.ask(workspace, OWNER, asked, {}, TENSOR, WHO)
    seen = tensor_blocks.look(workspace, new_owner(), state.closer)
    assert seen is not None
    assert seen.counts is None
    assert tensor_blocks.update(seen)["state"] == "problem"


def test_the_payload_holds_every_count(asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("merge_core.interference.blocks.LEAST", 1)  # weights of a block
    counts = inspect_blocks(prepare(read_recipe(asked["question"])), "model.embed_tokens.weight")
    payload = tensor_blocks.blocks_payload(counts)
    curves = np.frombuffer(base64.b64decode(payload["curves"]), "<f4").reshape(4, 37, 100)
    assert payload["kind"] == "tokens"
    assert curves[:3].tolist() == [
        [list(row) for row in kind] for kind in (counts.touched, counts.contested, counts.conflicted)
    ]
    assert curves[3].tolist() == np.array(counts.kept).sum(axis=1).tolist()
    assert [block["numel"] for block in payload["blocks"]] == [16] * 37
