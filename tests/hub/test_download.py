"""Downloading into the Hugging Face cache: only what is needed, once, whole, and stoppable."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import constants, hf_hub_download, scan_cache_dir

from merge_core.checkpoint import open_folder
from merge_core.errors import UserError
from merge_core.hub import HubClient, download
from merge_core.hub import client as client_module
from merge_core.progress import Cancelled, Progress
from merge_core.recipe import ModelRef
from tests.checkpoints import write_model
from tests.hub.server import LocalHub

ID = "acme/base"
NEEDED = {
    "README.md",
    "config.json",
    "model-00001-of-00002.safetensors",
    "model-00002-of-00002.safetensors",
    "model.safetensors.index.json",
    "tokenizer.json",
}


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A model of 8 MB in one file."""
    values = np.random.default_rng(0).normal(size=(2048, 1024)).astype(np.float32)
    return write_model(tmp_path / "large", {"w": values})


def partials() -> list[Path]:
    return list(Path(constants.HF_HUB_CACHE).rglob("*.incomplete"))


def until(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    """True as soon as the condition holds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        threading.Event().wait(0.01)
    return False


@contextmanager
def another_download(hub: LocalHub, repo_id: str) -> Iterator[None]:
    """Another process is fetching the weights; it is killed in the end if it has not finished."""
    fetch = f"session.Session(None, None).api.hf_hub_download({repo_id!r}, 'model.safetensors')"
    environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HUB_CACHE": constants.HF_HUB_CACHE}
    process = subprocess.Popen(
        [sys.executable, "-c", f"from merge_core.hub import session; {fetch}"], env=environment
    )
    try:
        assert until(lambda: len(partials()) == 1, 30)
        yield
    finally:
        process.kill()
        process.wait()


def test_only_needed_files_are_fetched_into_the_shared_cache(
    hub: LocalHub, client: HubClient, model: Path
) -> None:
    commit = hub.add_model(ID, model)
    told: list[Progress] = []

    here = client.download(client.checkpoint(ModelRef(ID)), told.append)

    assert here.root is not None
    assert {path.name for path in here.root.iterdir()} == NEEDED
    assert all((here.root / name).read_bytes() == (model / name).read_bytes() for name in NEEDED)
    assert here.commit == commit
    assert dict(here.specs) == dict(open_folder(model, "./model").specs)
    (cached,) = scan_cache_dir(constants.HF_HUB_CACHE).repos
    assert (cached.repo_id, [r.commit_hash for r in cached.revisions]) == (ID, [commit])
    assert told[-1].done == told[-1].total == sum((model / name).stat().st_size for name in NEEDED)
    assert told[-1].message == "Downloading acme/base"


def test_what_is_here_is_not_fetched_again(hub: LocalHub, client: HubClient, model: Path) -> None:
    hub.add_model(ID, model)
    first = client.download(client.checkpoint(ModelRef(ID)))
    hub.forget()

    again = HubClient(token=hub.token, endpoint=hub.url).checkpoint(ModelRef(ID))

    assert again == first
    assert [str(request) for request in hub.requests] == ["GET /api/models/acme/base?blobs=true"]


def test_next_process_reads_what_is_here_from_here(
    hub: LocalHub, client: HubClient, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add_model(ID, model)
    first = client.download(client.checkpoint(ModelRef(ID)))
    hub.forget()
    monkeypatch.setattr(client_module, "_remembered", client_module.Remembered())

    assert client.checkpoint(ModelRef(ID)) == first
    assert [str(request) for request in hub.requests] == ["GET /api/models/acme/base?blobs=true"]


def test_content_of_an_earlier_commit_is_not_fetched_again(
    hub: LocalHub, client: HubClient, model: Path
) -> None:
    hub.add_model(ID, model)
    client.download(client.checkpoint(ModelRef(ID)))
    (model / "tokenizer.json").write_text('{"version": "2.0"}')
    commit = hub.add_model(ID, model)
    opened = client.checkpoint(ModelRef(ID))
    hub.forget()
    told: list[Progress] = []

    here = client.download(opened, told.append)

    assert here.commit == commit
    assert not hub.asked("/storage/")
    assert told[-1].done == told[-1].total


def test_files_fetched_by_another_tool_are_used(hub: LocalHub, client: HubClient, model: Path) -> None:
    commit = hub.add_model(ID, model)
    for name in NEEDED - {"tokenizer.json"}:
        hf_hub_download(ID, name, revision=commit, endpoint=hub.url, token=hub.token)
    opened = client.checkpoint(ModelRef(ID))
    assert opened.root is None
    hub.forget()

    client.download(opened)

    assert not hub.asked("/storage/")
    assert len(hub.asked("GET .*/resolve/")) == 1


def test_cached_model_works_without_the_hub(hub: LocalHub, client: HubClient, model: Path) -> None:
    hub.add_model(ID, model)
    first = client.download(client.checkpoint(ModelRef(ID)))
    hub.fail("", status=503)

    assert HubClient(endpoint=hub.url).checkpoint(ModelRef(ID)) == first
    with pytest.raises(UserError, match="has trouble of its own for acme/other"):
        client.checkpoint(ModelRef("acme/other"))


def test_branch_that_moves_meanwhile_changes_nothing(
    hub: LocalHub, client: HubClient, model: Path, tmp_path: Path
) -> None:
    commit = hub.add_model(ID, model)
    opened = client.checkpoint(ModelRef(ID))
    other = write_model(tmp_path / "other", {"x": np.ones(3, np.float32)})
    hub.fail("GET .*model-00001", times=1, then=lambda: hub.add_model(ID, other))

    here = client.download(opened)

    assert here.commit == commit
    assert set(here.specs) == set(opened.specs)


def test_commit_that_is_gone_before_the_download(hub: LocalHub, client: HubClient, model: Path) -> None:
    commit = hub.add_model(ID, model)
    opened = client.checkpoint(ModelRef(ID))
    del hub.repo(ID).commits[commit]

    with pytest.raises(UserError, match=f"acme/base has no revision '{commit}'; it may have been removed"):
        client.download(opened)
    assert not partials()


def test_cancel_stops_within_a_second_and_leaves_nothing_half_written(
    hub: LocalHub, client: HubClient, large: Path
) -> None:
    hub.add_model(ID, large)
    opened = client.checkpoint(ModelRef(ID))
    hub.fail("GET /storage/", pace=0.05)
    begun = threading.Event()
    asked: list[float] = []

    def told(progress: Progress) -> None:
        if progress.done > 300_000:
            begun.set()

    def cancelled() -> bool:
        if begun.is_set():
            asked.append(time.monotonic())
        return begun.is_set()

    with pytest.raises(Cancelled):
        client.download(opened, told, cancelled)
    assert time.monotonic() - asked[0] < 1
    assert not partials()


def test_cancel_stops_within_a_second_while_the_hub_is_silent(
    hub: LocalHub, client: HubClient, model: Path
) -> None:
    hub.add_model(ID, model)
    opened = client.checkpoint(ModelRef(ID))
    hub.fail("HEAD", delay=3)
    started = time.monotonic()

    with pytest.raises(Cancelled):
        client.download(opened, None, lambda: time.monotonic() - started > 0.2)
    assert time.monotonic() - started < 1


def test_silence_is_told_and_ends(
    hub: LocalHub, client: HubClient, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "QUIET", 0.1)
    monkeypatch.setattr(download, "GIVE_UP", 0.5)
    hub.add_model(ID, model)
    opened = client.checkpoint(ModelRef(ID))
    hub.fail("HEAD", delay=2)
    told: list[Progress] = []

    with pytest.raises(UserError, match="acme/base: the Hub has sent nothing for"):
        client.download(opened, told.append)
    assert told[-1].message == "Waiting for the Hub: acme/base"


def test_cut_connection_goes_on_where_it_broke(hub: LocalHub, client: HubClient, large: Path) -> None:
    hub.add_model(ID, large)
    opened = client.checkpoint(ModelRef(ID))
    hub.fail("GET /storage/", cut_after=3_000_000, times=1)

    here = client.download(opened)

    assert here.root is not None
    assert (here.root / "model.safetensors").read_bytes() == (large / "model.safetensors").read_bytes()
    resumed = hub.asked("GET /storage/")[-1]
    assert int(resumed.headers["range"].removeprefix("bytes=").rstrip("-")) > 2_000_000


@pytest.mark.parametrize("status", [429, 500, 503])
def test_busy_hub_is_asked_again(hub: LocalHub, client: HubClient, model: Path, status: int) -> None:
    hub.add_model(ID, model)
    opened = client.checkpoint(ModelRef(ID))
    hub.fail("GET /storage/", status=status, times=2, headers={"retry-after": "0"})
    hub.fail("HEAD", status=status, times=1, headers={"retry-after": "0"})

    assert client.download(opened).root is not None


def test_hub_that_stays_busy_ends_in_one_error(hub: LocalHub, client: HubClient, model: Path) -> None:
    hub.add_model(ID, model)
    opened = client.checkpoint(ModelRef(ID))
    hub.fail("GET /storage/", status=503)

    with pytest.raises(UserError, match=r"The Hub has trouble of its own for acme/base \(status 503\)"):
        client.download(opened)
    assert not partials()
    assert len(hub.asked("GET /storage/")) < 20


def test_damaged_file_is_fetched_once_more(hub: LocalHub, client: HubClient, large: Path) -> None:
    hub.add_model(ID, large)
    opened = client.checkpoint(ModelRef(ID))
    hub.fail("GET /storage/", corrupt=True, times=1)

    here = client.download(opened)

    assert here.root is not None
    assert (here.root / "model.safetensors").read_bytes() == (large / "model.safetensors").read_bytes()


def test_file_that_stays_damaged_is_refused_and_removed(
    hub: LocalHub, client: HubClient, large: Path
) -> None:
    hub.add_model(ID, large)
    opened = client.checkpoint(ModelRef(ID))
    hub.fail("GET /storage/", corrupt=True)

    with pytest.raises(UserError, match=r"acme/base: model\.safetensors arrived twice with another content"):
        client.download(opened)
    assert not list(Path(constants.HF_HUB_CACHE).rglob("model.safetensors"))


def test_small_file_damaged_on_its_way_is_fetched_once_more(
    hub: LocalHub, client: HubClient, model: Path
) -> None:
    hub.add_model(ID, model)
    opened = client.checkpoint(ModelRef(ID))
    hub.fail("GET .*tokenizer.json", corrupt=True, times=1)

    here = client.download(opened)

    assert here.root is not None
    assert (here.root / "tokenizer.json").read_bytes() == (model / "tokenizer.json").read_bytes()


def test_mirror_that_names_small_files_in_its_own_way_is_believed(
    hub: LocalHub, client: HubClient, model: Path
) -> None:
    hub.store.names_as_git = False
    hub.add_model(ID, model)
    assert client.download(client.checkpoint(ModelRef(ID))).root is not None


@pytest.mark.parametrize("damaged", [False, True])
def test_file_of_an_unnamed_content_is_believed_where_it_matches_the_tag_it_came_under(
    hub: LocalHub, client: HubClient, model: Path, damaged: bool
) -> None:
    hub.store.tells_contents = False
    hub.add_model(ID, model)
    opened = client.checkpoint(ModelRef(ID))
    hub.forget()
    hub.store.tells_contents = False
    if damaged:
        hub.fail("GET /storage/", corrupt=True, times=1)
        hub.fail("GET .*tokenizer.json", corrupt=True, times=1)
    here = client.download(opened)
    assert here.root is not None
    weights = sorted({spec.file for spec in here.specs.values()})
    assert len(hub.asked("GET /storage/")) == len(weights) + damaged
    assert len(hub.asked("GET .*tokenizer.json")) == 1 + damaged
    for name in ("config.json", "tokenizer.json", *weights):
        assert (here.root / name).read_bytes() == (model / name).read_bytes()


@pytest.mark.parametrize("damaged", [False, True])
def test_file_of_an_unnamed_content_under_a_tag_that_says_nothing_has_to_come_twice_alike(
    hub: LocalHub, client: HubClient, model: Path, damaged: bool
) -> None:
    hub.store.names_as_git = False
    hub.add_model(ID, model)
    hub.store.tells_contents = False
    opened = client.checkpoint(ModelRef(ID))
    hub.requests.clear()
    if damaged:
        hub.fail("GET .*tokenizer.json", corrupt=True, times=1)
        with pytest.raises(UserError, match="twice with another content"):
            client.download(opened)
    else:
        assert client.download(opened).root is not None
    assert len(hub.asked("GET .*tokenizer.json")) == 2


def test_download_under_way_in_another_process_is_waited_for(
    hub: LocalHub, client: HubClient, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "QUIET", 0.2)
    monkeypatch.setattr(download, "GIVE_UP", 1.0)
    hub.add_model(ID, large)
    opened = client.checkpoint(ModelRef(ID))
    hub.fail("GET /storage/", pace=0.02, times=1)
    with another_download(hub, ID):
        client.download(opened)
    assert len(hub.asked("GET /storage/")) == 2  # the header, and the file once


def test_gate_that_closes_before_the_download(hub: LocalHub, client: HubClient, model: Path) -> None:
    hub.add_model(ID, model)
    opened = client.checkpoint(ModelRef(ID))
    hub.repo(ID).gated = True

    with pytest.raises(UserError, match="acme/base is gated"):
        client.download(opened)


def test_full_disk_is_found_out_before_anything_is_fetched(
    hub: LocalHub, client: HubClient, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add_model(ID, model)
    opened = client.checkpoint(ModelRef(ID))
    hub.forget()
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=64 << 20))

    with pytest.raises(
        UserError, match=r"No space for acme/base: it takes 0\.\d MB in .*67\.1 MB are free\. Free some"
    ):
        client.download(opened)
    assert not hub.requests


def test_partial_file_of_a_killed_process_is_removed_and_one_under_way_is_not(
    hub: LocalHub, client: HubClient, large: Path, model: Path
) -> None:
    hub.add_model("acme/large", large)
    hub.add_model(ID, model)
    hub.fail("GET /storage/", pace=0.05)
    opened = client.checkpoint(ModelRef(ID))
    with another_download(hub, "acme/large"):
        (partial,) = partials()
        download.cache.remove_orphans()
        assert partial.exists()
    assert partial.exists()
    hub.forget()
    client.download(opened)
    assert not partial.exists()


def test_token_is_not_written_to_the_cache(hub: LocalHub, client: HubClient, model: Path) -> None:
    hub.add_model("ada/secret", model, private=True)
    client.download(client.checkpoint(ModelRef("ada/secret")))

    for path in Path(constants.HF_HUB_CACHE).rglob("*"):
        assert not path.is_file() or hub.token.encode() not in path.read_bytes()
    assert all("authorization" not in request.headers for request in hub.asked("/storage/"))
