"""Finding models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from merge_core.errors import UserError
from merge_core.hub import HubClient
from tests.checkpoints import write_model
from tests.hub.server import LocalHub


@pytest.fixture
def shelves(hub: LocalHub, model: Path, tmp_path: Path) -> LocalHub:
    """A base, two fine-tunes, an adapter, a repository of pickles, and somebody's private model."""
    hub.add_model("acme/base", model, downloads=900, likes=7, licence="apache-2.0")
    hub.add_model("acme/base-code", model, downloads=40, base_model="acme/base", licence="mit")
    hub.add_model("guild/base-maths", model, downloads=50, base_model="acme/base", gated=True)
    adapter = write_model(tmp_path / "adapter", {"a": np.ones(4, np.float16)}, dtype="float16")
    (adapter / "adapter_config.json").write_text("{}")
    hub.add_model("acme/base-lora", adapter, tags=["base_model:adapter:acme/base"], downloads=30)
    pickles = tmp_path / "pickles"
    pickles.mkdir()
    (pickles / "pytorch_model.bin").write_bytes(b"\x80")
    hub.add_model("old/pickled", pickles)
    hub.add_model("ada/base-secret", model, private=True)
    hub.add_model("bob/base-secret", model, private=True)
    return hub


def test_models_are_found_by_name_the_most_used_first(shelves: LocalHub, client: HubClient) -> None:
    found = client.search("base", 10)

    assert [model.id for model in found] == [
        "acme/base",
        "guild/base-maths",
        "acme/base-code",
        "acme/base-lora",
        "ada/base-secret",
    ]
    assert len(shelves.requests) == 1


def test_what_the_list_tells_of_a_model(shelves: LocalHub, client: HubClient) -> None:
    found = {model.id: model for model in client.search("base", 10)}

    base = found["acme/base"]
    assert (base.author, base.downloads, base.likes, base.licence) == ("acme", 900, 7, "apache-2.0")
    assert base.size == 4 * 64 * 48 * 4
    assert base.commit == shelves.repo("acme/base").head.sha
    assert base.last_modified is not None
    assert (base.has_safetensors, base.is_adapter, base.gated, base.bases) == (True, False, False, ())
    assert found["guild/base-maths"].gated
    assert found["acme/base-code"].bases == ("acme/base",)
    assert found["acme/base-lora"].is_adapter
    assert found["acme/base-lora"].size == 8
    assert found["ada/base-secret"].private


def test_limit_holds_and_no_further_page_is_asked_for(shelves: LocalHub, client: HubClient) -> None:
    assert [model.id for model in client.search("base", 2)] == ["acme/base", "guild/base-maths"]
    assert len(shelves.requests) == 1


def test_models_without_safetensors_are_found_last_and_marked(shelves: LocalHub, client: HubClient) -> None:
    (found,) = client.search("pickled", 10)
    assert (found.id, found.has_safetensors, found.size) == ("old/pickled", False, None)


def test_models_of_a_hub_that_sets_no_tags_are_known_by_their_files(
    hub: LocalHub, client: HubClient, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub.store, "tags_of", lambda repo: [])
    monkeypatch.setattr(hub.store, "parameters", lambda repo: {})
    hub.add_model("acme/base", model)
    (found,) = client.search("base", 10)
    assert found.has_safetensors


@pytest.mark.parametrize(
    "text",
    [
        "https://huggingface.co/acme/base-code",
        "https://huggingface.co/acme/base-code/tree/main",
        "acme/base-code@main",
        "acme/base-code",
    ],
)
def test_address_or_full_name_finds_that_model(shelves: LocalHub, client: HubClient, text: str) -> None:
    assert [model.id for model in client.search(text, 10)] == ["acme/base-code"]
    assert len(shelves.requests) == 1


def test_exact_name_comes_first(shelves: LocalHub, client: HubClient) -> None:
    shelves.repo("acme/base").downloads = 1
    assert client.search("acme/base", 10)[0].id == "acme/base"


def test_collection_lists_its_models(shelves: LocalHub, client: HubClient) -> None:
    shelves.store.collections["acme/our-best-0123"] = ["acme/base-code", "bob/base-secret", "acme/base"]
    found = client.search("https://huggingface.co/collections/acme/our-best-0123", 10)
    assert [model.id for model in found] == ["acme/base-code", "acme/base"]


def test_address_of_nothing_finds_nothing(shelves: LocalHub, client: HubClient) -> None:
    assert client.search("https://huggingface.co/acme/nothing", 10) == []
    assert client.search("https://huggingface.co/", 10) == []
    assert client.search("acme/nothing", 10) == []


def test_fine_tunes_of_a_base(shelves: LocalHub, client: HubClient) -> None:
    assert [model.id for model in client.fine_tunes_of("acme/base", 10)] == [
        "guild/base-maths",
        "acme/base-code",
    ]
    assert client.fine_tunes_of("acme/base-code", 10) == []


def test_bases_of_a_fine_tune(shelves: LocalHub, client: HubClient) -> None:
    assert [model.id for model in client.bases_of("acme/base-code")] == ["acme/base"]
    assert client.bases_of("acme/base") == []
    with pytest.raises(UserError, match="acme/nothing is not on the Hub"):
        client.bases_of("acme/nothing")


def test_hub_that_cannot_be_asked(shelves: LocalHub, client: HubClient) -> None:
    shelves.fail("GET /api/models", status=503)
    with pytest.raises(UserError, match="The Hub has trouble of its own"):
        client.search("base", 10)
    shelves.forget()
    shelves.fail("GET /api/models", status=200)
    with pytest.raises(UserError, match="gave an answer that no Hub gives"):
        client.search("base", 10)
