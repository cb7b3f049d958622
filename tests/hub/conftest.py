"""A running local Hub, and clients of it. No test reaches another Hub."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import constants

from merge_core.hub import HubClient, session
from merge_core.hub import client as client_module
from merge_core.hub.remembered import Remembered
from tests.checkpoints import write_model
from tests.hub.server import LocalHub

_sleep = time.sleep


@pytest.fixture(scope="session")
def _running_hub() -> Iterator[LocalHub]:
    with LocalHub() as hub:
        yield hub


@pytest.fixture
def hub(_running_hub: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHub]:
    """An empty local Hub; this machine is not signed in, its cache is empty, and pauses are short."""
    _running_hub.reset()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(client_module, "_remembered", Remembered())
    monkeypatch.setattr(session, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(time, "sleep", lambda seconds: _sleep(min(seconds, 0.02)))  # the client's own pauses
    yield _running_hub
    assert not _running_hub.bugs, "\n".join(_running_hub.bugs)


@pytest.fixture
def client(hub: LocalHub) -> HubClient:
    """The Hub as the user "ada" sees it."""
    return HubClient(token=hub.token, endpoint=hub.url)


@pytest.fixture
def stranger(hub: LocalHub) -> HubClient:
    """The Hub as nobody in particular sees it."""
    return HubClient(endpoint=hub.url)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A small model folder in two shards, with what a complete one has, and what nobody should take over."""
    rng = np.random.default_rng(3)
    tensors = {f"layers.{n}.weight": rng.normal(size=(64, 48)).astype(np.float32) for n in range(4)}
    folder = write_model(tmp_path / "model", tensors, shards=2)
    (folder / "tokenizer.json").write_text('{"version": "1.0"}')
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n# A model\n")
    (folder / "modeling_toy.py").write_text("raise SystemExit('nobody runs this')\n")
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04not to be read")
    return folder
