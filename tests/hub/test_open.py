"""Opening models on the Hub from their headers alone."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest

from merge_core.checkpoint import open_folder
from merge_core.errors import UserError
from merge_core.hub import HubClient
from merge_core.recipe import ModelRef
from tests.checkpoints import write_model
from tests.hub.server import LocalHub

ID = "acme/base"


def test_checkpoint_is_the_folder_that_was_uploaded(hub: LocalHub, client: HubClient, model: Path) -> None:
    commit = hub.add_model(ID, model)

    opened = client.checkpoint(ModelRef(ID))

    local = open_folder(model, "./model")
    assert opened.commit == commit
    assert dict(opened.specs) == dict(local.specs)
    assert opened.config == local.config
    assert opened.files == local.files
    assert opened.root is None


def test_only_headers_index_and_configuration_are_read(
    hub: LocalHub, client: HubClient, tmp_path: Path
) -> None:
    folder = write_model(
        tmp_path / "large", {f"w{n}": np.ones((512, 512), np.float32) for n in range(4)}, shards=2
    )
    hub.add_model(ID, folder)

    client.checkpoint(ModelRef(ID))

    assert len(hub.asked("GET /api/models")) == 1
    read = [request for request in hub.requests if "/storage/" in request.path]
    assert len(read) == 2
    assert all(request.headers["range"] == "bytes=0-99999" and request.status == 206 for request in read)
    assert sum(request.sent for request in hub.requests) < 300_000
    assert not hub.asked("pytorch_model|README|HEAD")


def test_header_longer_than_the_first_read_is_read_in_two(
    hub: LocalHub, client: HubClient, tmp_path: Path
) -> None:
    names = {f"layers.{n}.{'x' * 60}": np.zeros(2, np.float32) for n in range(1500)}
    hub.add_model(ID, write_model(tmp_path / "many", names))

    opened = client.checkpoint(ModelRef(ID))

    assert len(opened.specs) == 1500
    assert len(hub.asked("GET /storage/")) == 2


def test_server_that_ignores_range_is_hung_up_on(hub: LocalHub, client: HubClient, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "large", {"w": np.ones((2048, 2048), np.float32)})
    hub.add_model(ID, folder)
    hub.ignore_range = True

    opened = client.checkpoint(ModelRef(ID))

    assert opened.specs["w"].shape == (2048, 2048)
    assert sum(request.sent for request in hub.requests) < 12_000_000


def test_hub_without_sizes_is_asked_for_its_tree(hub: LocalHub, client: HubClient, model: Path) -> None:
    hub.add_model(ID, model)
    hub.tells_sizes = False

    assert len(client.checkpoint(ModelRef(ID)).specs) == 4
    assert len(hub.asked("GET /api/models/acme/base/tree/")) == 1


def test_branch_moved_after_opening_leaves_the_checkpoint_at_its_commit(
    hub: LocalHub, client: HubClient, model: Path, tmp_path: Path
) -> None:
    first = hub.add_model(ID, model)
    pinned = client.checkpoint(ModelRef(ID))
    second = hub.add_model(ID, write_model(tmp_path / "next", {"other": np.ones(3, np.float32)}))

    assert pinned.commit == first
    assert client.checkpoint(ModelRef(ID)).commit == second
    assert set(client.checkpoint(ModelRef(ID, first)).specs) == set(pinned.specs)


def test_pinned_model_is_asked_for_once(hub: LocalHub, client: HubClient, model: Path) -> None:
    commit = hub.add_model(ID, model)
    first = client.checkpoint(ModelRef(ID, commit))
    hub.forget()

    again = HubClient(token=hub.token, endpoint=hub.url).checkpoint(ModelRef(ID, commit))

    assert again == first
    assert not hub.requests


def test_what_one_account_may_read_is_not_kept_for_another(
    hub: LocalHub, client: HubClient, stranger: HubClient, model: Path
) -> None:
    commit = hub.add_model("ada/secret", model, private=True)
    client.checkpoint(ModelRef("ada/secret", commit))

    with pytest.raises(UserError, match="ada/secret is not on the Hub, or is private"):
        stranger.checkpoint(ModelRef("ada/secret", commit))


def test_token_goes_to_the_hub_and_not_to_its_storage(hub: LocalHub, client: HubClient, model: Path) -> None:
    hub.add_model("ada/secret", model, private=True)
    client.checkpoint(ModelRef("ada/secret"))

    for request in hub.requests:
        assert ("authorization" in request.headers) == ("/storage/" not in request.path)
        assert hub.token not in str(request)


def test_nobody_is_told_what_else_is_installed(hub: LocalHub, client: HubClient, model: Path) -> None:
    hub.add_model(ID, model)
    client.checkpoint(ModelRef(ID))

    assert all("torch" not in request.headers["user-agent"] for request in hub.requests)
    assert all("tiebreak/" in request.headers["user-agent"] for request in hub.requests)


# What can be wrong with a repository -----------------------------------------------------------------------


def test_repository_of_pickles_is_refused_unread(hub: LocalHub, client: HubClient, model: Path) -> None:
    for file in model.glob("*.safetensors*"):
        file.unlink()
    hub.add_model(ID, model)

    with pytest.raises(
        UserError, match=r"acme/base has its weights in 'pytorch_model\.bin' only.*Convert it"
    ):
        client.checkpoint(ModelRef(ID))
    assert not hub.asked("resolve")


def test_adapter_is_refused(hub: LocalHub, client: HubClient, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "lora", {"a": np.ones(2, np.float32)})
    (folder / "model.safetensors").rename(folder / "adapter_model.safetensors")
    hub.add_model(ID, folder)

    with pytest.raises(UserError, match="acme/base is an adapter"):
        client.checkpoint(ModelRef(ID))


def test_missing_shard_is_named(hub: LocalHub, client: HubClient, model: Path) -> None:
    (model / "model-00002-of-00002.safetensors").unlink()
    hub.add_model(ID, model)

    with pytest.raises(
        UserError, match=r"acme/base lacks its weight file 'model-00002-of-00002\.safetensors'"
    ):
        client.checkpoint(ModelRef(ID))


def test_lying_header_is_refused(hub: LocalHub, client: HubClient, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "liar", {"a": np.ones(2, np.float32)})
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", 1 << 60) + b"{}")
    hub.add_model(ID, folder)

    with pytest.raises(UserError, match=r"acme/base: model\.safetensors: expected a header of at most"):
        client.checkpoint(ModelRef(ID))
    assert sum(request.sent for request in hub.requests) < 10_000


def test_index_that_points_outside_is_refused(hub: LocalHub, client: HubClient, model: Path) -> None:
    index = {"weight_map": {"a": "../../etc/model.safetensors"}}
    (model / "model.safetensors.index.json").write_text(json.dumps(index))
    hub.add_model(ID, model)

    with pytest.raises(UserError, match="expected the name of a safetensors file in the same folder"):
        client.checkpoint(ModelRef(ID))
