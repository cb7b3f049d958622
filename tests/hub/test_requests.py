"""What is asked of the Hub, how often, and where the token goes: nothing twice, nothing without need, nobody else."""

from __future__ import annotations

import json
import logging
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import constants, get_session, hf_hub_download

from merge_core.engine import merge
from merge_core.errors import UserError
from merge_core.hub import HubClient, cache
from merge_core.hub.listing import Listing, RemoteFile, git_id_of
from merge_core.hub.session import Session
from merge_core.preflight import examine, examine_each
from merge_core.prepare import open_all, prepare
from merge_core.recipe import ModelRef, Recipe, load_recipe
from tests.checkpoints import write_model
from tests.core.command_line import write_recipe_file
from tests.hub.server import LocalHub, Recorded

NAMES = ("base", "code", "math")


@pytest.fixture
def recipe(hub: LocalHub, tmp_path: Path) -> Recipe:
    """Three models in two shards each, as they lie on the Hub: with tokenizer, settings and card."""
    rng = np.random.default_rng(1)
    for name in NAMES:
        tensors = {f"layers.{n}.weight": rng.normal(size=(64, 64)).astype(np.float32) for n in range(4)}
        folder = write_model(tmp_path / name, tensors, shards=2)
        (folder / "tokenizer.json").write_text(json.dumps({"model": {"vocab": {"a": 0}}}))
        (folder / "tokenizer_config.json").write_text(json.dumps({"bos_token": "a"}))
        (folder / "special_tokens_map.json").write_text("{}")
        (folder / "generation_config.json").write_text("{}")
        (folder / "README.md").write_text(f"---\nlicense: mit\n---\n# {name}\n")
        hub.add_model(f"acme/{name}", folder)
    models = [Path(f"acme/{name}") for name in NAMES[1:]]
    return load_recipe(write_recipe_file(tmp_path, Path("acme/base"), models))


def twice(requests: list[Recorded]) -> dict[str, int]:
    asked = Counter(f"{request} {request.headers.get('range', '')}" for request in requests)
    return {request: times for request, times in asked.items() if times > 1}


def test_three_models_are_picked_checked_merged_and_published_without_asking_twice(
    hub: LocalHub, client: HubClient, recipe: Recipe, tmp_path: Path
) -> None:
    checkpoints = open_all(recipe, client)
    assert examine(recipe, checkpoints).fits
    examine_each(recipe, checkpoints)
    # Each: its description, its index, two headers that a store has, its configuration, its card.
    assert len(hub.requests) == 3 * (1 + 1 + 2 * 2 + 1 + 1)
    for ref, checkpoint in checkpoints.items():  # as the page holds them from then on
        client.checkpoint(ModelRef(ref.path, checkpoint.commit))
    plan = prepare(recipe, client)
    assert len(hub.asked("GET /api/models")) == 3 + 3  # a branch may have moved when the merge begins
    hub.requests[:] = [request for request in hub.requests if not request.path.startswith("/api/models")]
    assert not twice(hub.requests)
    for request in hub.asked("^HEAD"):
        assert request.path.endswith(".safetensors")
    out = merge(plan, tmp_path / "out").folder
    hub.forget()
    client.publish(out, "ada/merged", private=True, pull_request=False)
    assert len(hub.requests) <= 9
    assert not twice(hub.requests)
    assert not hub.asked("^DELETE")


def test_two_who_look_at_the_same_model_at_once_ask_once(hub: LocalHub, recipe: Recipe) -> None:
    hub.fail("GET /api/models", delay=0.2)
    with ThreadPoolExecutor(8) as threads:
        views = [HubClient(hub.token, hub.url, recall=60.0) for _ in range(8)]
        list(threads.map(lambda view: open_all(recipe, view), views))
    assert len(hub.asked("GET /api/models")) == len(NAMES)
    assert not twice(hub.requests)


def test_branch_is_asked_for_again_after_a_while_and_at_once_elsewhere_than_on_the_page(
    hub: LocalHub, recipe: Recipe, tmp_path: Path
) -> None:
    page, others = HubClient(hub.token, hub.url, recall=60.0), HubClient(hub.token, hub.url)
    earlier = page.checkpoint(ModelRef("acme/code")).commit
    later = hub.add_model("acme/code", tmp_path / "math")
    assert page.checkpoint(ModelRef("acme/code")).commit == earlier
    assert HubClient(hub.token, hub.url, recall=1e-9).checkpoint(ModelRef("acme/code")).commit == later
    assert others.checkpoint(ModelRef("acme/code")).commit == later


def test_one_account_is_not_told_what_another_was(hub: LocalHub, recipe: Recipe) -> None:
    hub.repo("acme/base").private, hub.repo("acme/base").owner = True, "ada"
    hub.store.repos["ada/base"] = hub.repo("acme/base")
    hub.repo("ada/base").id = "ada/base"
    assert HubClient(hub.token, hub.url, recall=60.0).checkpoint(ModelRef("ada/base"))
    with pytest.raises(UserError, match="is private"):
        HubClient(endpoint=hub.url, recall=60.0).checkpoint(ModelRef("ada/base"))


def test_small_files_lie_in_the_cache_as_the_client_puts_them(
    hub: LocalHub, client: HubClient, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    (checkpoint, *_) = open_all(recipe, client).values()
    client.download(checkpoint)
    mine = _laid_out("acme/base")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", constants.HF_HUB_CACHE + "-of-the-client")
    for name in hub.files("acme/base"):
        if name != ".gitattributes":
            hf_hub_download("acme/base", name, revision=checkpoint.commit, endpoint=hub.url, token=hub.token)
    assert mine == _laid_out("acme/base")


def _laid_out(repo_id: str) -> dict[str, str | bytes]:
    folder = cache.snapshot(repo_id, "").parent
    found: dict[str, str | bytes] = {}
    for path in folder.rglob("*"):
        if "tiebreak" not in path.parts and "refs" not in path.parts and not path.is_dir():
            content = str(path.readlink()) if path.is_symlink() else path.read_bytes()
            found[path.relative_to(folder).as_posix()] = content
    return found


@pytest.mark.parametrize(
    "name", ["../x.json", "a/../../x.json", "/etc/x.json", "a//x.json", "..\\x.json", ""]
)
def test_file_whose_name_leads_elsewhere_is_not_kept(hub: LocalHub, name: str) -> None:
    listing = Listing("acme/base", "a" * 40, {name: RemoteFile(1, None, git_id_of(b"x"))}, False)
    with pytest.raises(UserError, match="no file may have"):
        cache.keep(listing, name, b"x")
    assert not Path(constants.HF_HUB_CACHE).exists()


# Where the token goes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_token_does_not_follow_a_redirect_to_another_host(
    hub: LocalHub, client: HubClient, recipe: Recipe, status: int
) -> None:
    """`localhost` is another host than the Hub's 127.0.0.1."""
    elsewhere = hub.url.replace("127.0.0.1", "localhost") + "/gone"
    hub.fail("GET /api/models/acme|GET /acme/base/resolve", status=status, headers={"location": elsewhere})
    with pytest.raises(UserError):
        client.checkpoint(ModelRef("acme/base"))
    asked = hub.asked("/gone")
    assert asked
    assert not any("authorization" in request.headers for request in asked)


def test_token_is_sent_to_no_address_that_is_not_the_hubs_whoever_asks_for_it(hub: LocalHub) -> None:
    """As where a Hub names another host for the check of an upload."""
    session = Session(hub.token, hub.url)
    get_session().get(hub.url.replace("127.0.0.1", "localhost") + "/elsewhere", headers=session.headers())
    get_session().get(f"{hub.url}/api/whoami-v2", headers=session.headers())
    sent = {request.path: "authorization" in request.headers for request in hub.requests}
    assert sent == {"/elsewhere": False, "/api/whoami-v2": True}


def test_addresses_that_open_a_store_are_not_logged(
    hub: LocalHub, client: HubClient, recipe: Recipe, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        client.download(client.checkpoint(ModelRef("acme/base")))
    assert hub.asked("signature=")
    assert "signature" not in caplog.text
    assert hub.token not in caplog.text
