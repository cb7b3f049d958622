"""Parts of files, where what answers for the Hub gives others than were asked for."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from merge_core.errors import UserError
from merge_core.hub import HubClient
from merge_core.hub.ranges import RangeReader
from merge_core.recipe import ModelRef
from tests.checkpoints import write_model
from tests.hub.server import LocalHub

FILE = "model.safetensors"


@pytest.fixture
def content(hub: LocalHub, tmp_path: Path) -> bytes:
    """Of the weights of acme/base."""
    weights = np.random.default_rng(1).normal(size=(64, 64)).astype(np.float32)
    hub.add_model("acme/base", write_model(tmp_path / "base", {"w": weights}))
    return hub.files("acme/base")[FILE]


@pytest.fixture
def reader(client: HubClient, content: bytes) -> RangeReader:
    return client.part_reader(client.checkpoint(ModelRef("acme/base")))


def test_another_part_than_was_asked_for_is_refused(
    hub: LocalHub, reader: RangeReader, content: bytes
) -> None:
    hub.slices = 4096
    with pytest.raises(UserError, match=f"another part of {FILE}"):
        reader.read(FILE, 5000, 5010)
    assert reader.read(FILE, 4096, 4106) == content[4096:4106]


def test_another_part_is_refused_once_the_store_is_known(
    hub: LocalHub, reader: RangeReader, content: bytes
) -> None:
    assert reader.read(FILE, 5000, 5010) == content[5000:5010]
    hub.slices = 4096
    with pytest.raises(UserError, match=f"another part of {FILE}"):
        reader.read(FILE, 5000, 5010)


@pytest.mark.parametrize("known", [False, True], ids=["at first", "later"])
def test_part_that_does_not_say_which_it_is_is_refused(
    hub: LocalHub, reader: RangeReader, content: bytes, known: bool
) -> None:
    if known:
        reader.read(FILE, 0, 10)
    tag = f'"{hashlib.sha256(content).hexdigest()}"'
    hub.fail("GET .*(resolve|storage)", status=206, headers={"etag": tag}, message="which part?")
    with pytest.raises(UserError, match=f"another part of {FILE}"):
        reader.read(FILE, 5000, 5000 + len('{"error": "which part?"}'))


def test_whole_file_of_another_size_is_not_the_file(
    hub: LocalHub, reader: RangeReader, content: bytes
) -> None:
    hub.fail("GET .*(resolve|storage)", status=200, message="Sign in to the network first")
    with pytest.raises(UserError, match="changed on the Hub"):
        reader.read(FILE, 0, 10)


def test_header_that_comes_from_elsewhere_in_the_file_is_refused(
    hub: LocalHub, client: HubClient, tmp_path: Path
) -> None:
    tensors = {f"layers.{n}.{'x' * 60}.weight": np.ones((2, 2), np.float32) for n in range(1500)}
    hub.add_model("acme/deep", write_model(tmp_path / "deep", tensors))
    hub.slices = 4096
    with pytest.raises(UserError, match=f"another part of {FILE}"):
        client.checkpoint(ModelRef("acme/deep"))
