"""On a Space, where nobody else looks after the disk: what makes way for a job, in which order, and what never does."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import threading
import time
from collections import namedtuple
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from huggingface_hub import constants

from merge_core.errors import UserError
from merge_core.hub import HubClient
from merge_core.hub.cached_models import cached_models
from merge_core.jobs import Job, JobStore, making_room, retention
from merge_core.jobs.housekeeping import tidy_up
from merge_core.jobs.job import JobProgress
from merge_core.jobs.retention import AT_LEAST, KEPT_ON_SPACE, in_use, kept_until
from merge_core.jobs.space import written
from merge_core.prepare import fetch, open_all
from merge_core.prepare.needs import SPARE, Needs, needs_of
from merge_core.recipe import Recipe, read_recipe
from merge_core.removal import Removal, removing
from tests.checkpoints import write_model
from tests.hub.server import LocalHub

Usage = namedtuple("Usage", "total used free")
MB = 1_000_000
WEIGHTS = 256 * 1024 * 4  # bytes of each model


@pytest.fixture(autouse=True)
def models(hub: LocalHub, tmp_path: Path) -> None:
    for number, name in enumerate("abcd"):
        folder = write_model(
            tmp_path / "there" / name, {"layers.0.weight": np.full((256, 1024), number, np.float32)}
        )
        hub.add_model(f"acme/{name}", folder)


@pytest.fixture(autouse=True)
def space(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPACE_ID", "acme/tiebreak")


@pytest.fixture
def store(tmp_path: Path) -> JobStore:
    return JobStore(tmp_path / "home")


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Makes the disk as large as what lies in the cache and the home takes, and so many bytes more."""

    def taken() -> int:
        return written(tmp_path / "cache") + written(tmp_path / "home")

    def leave(free: int) -> None:
        size = taken() + free
        monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**12, 0, SPARE + size - taken()))

    return leave


def recipe(*names: str) -> Recipe:
    listed = [{"model": f"acme/{name}", "parameters": {"weight": 1.0}} for name in names]
    return read_recipe(yaml.safe_dump({"merge_method": "linear", "models": listed}))


def ask(store: JobStore, client: HubClient, *names: str, output: int = 0, owner: str = "me") -> Job:
    """What the page does when somebody starts a merge."""
    wanted = recipe(*names)
    needs = needs_of(open_all(wanted, client), client, output)
    text = yaml.safe_dump({"merge_method": "linear", "models": [{"model": f"acme/{n}"} for n in names]})
    return store.submit("merge", owner, text, needs=needs)


def use(client: HubClient, *names: str) -> None:
    """Fetch models one after the other: the first was used longest ago."""
    for age, name in enumerate(names):
        fetch(recipe(name), client)
        then = time.time() - 3600 * (len(names) - age)
        folder = Path(constants.HF_HUB_CACHE) / f"models--acme--{name}"
        for path in folder.rglob("*"):
            os.utime(path, (then, then))


def here() -> set[str]:
    return {model.repo_id.removeprefix("acme/") for model in cached_models()}


def finished(store: JobStore, owner: str, size: int, ago: float) -> Job:
    """A merge of that many bytes, over since `ago` seconds."""
    job = store.submit("merge", owner, f"made by {owner}")
    store.claim("w")
    model = store.folder(job.id) / "model"
    model.mkdir(parents=True)
    (model / "model.safetensors").write_bytes(b"x" * size)
    store.finish(job.id, "w", {"model": f"runs/{job.id}/model", "scores": []})
    age(store, job, ago)
    return job


def age(store: JobStore, job: Job, ago: float) -> None:
    record = store._cache.get(job.id)
    store._cache.set(job.id, {**record, "finished": time.time() - ago})


def test_model_used_longest_ago_makes_way_and_no_more_than_needed(
    store: JobStore, client: HubClient, disk: Callable[[int], None], caplog: pytest.LogCaptureFixture
) -> None:
    use(client, "b", "a", "c")
    disk(WEIGHTS // 2)
    with caplog.at_level(logging.INFO):
        ask(store, client, "d")
    assert here() == {"a", "c"}
    assert "acme/b" in caplog.text
    assert "1.0 MB" in caplog.text


def test_what_a_job_needs_that_waits_or_runs_stays_and_so_does_what_the_new_one_needs(
    store: JobStore, client: HubClient, disk: Callable[[int], None]
) -> None:
    use(client, "a", "b", "c")
    ask(store, client, "a", owner="somebody else")
    disk(WEIGHTS // 2)
    ask(store, client, "b", "d")
    assert here() == {"a", "b"}


def test_nothing_is_removed_where_that_would_not_be_enough(
    store: JobStore, client: HubClient, disk: Callable[[int], None]
) -> None:
    use(client, "a", "b")
    disk(MB)
    with pytest.raises(UserError, match="No space on the disk") as caught:
        ask(store, client, "d", output=10 * MB)
    assert here() == {"a", "b"}
    assert "makes way" in str(caught.value)


def test_what_tiebreak_did_not_fetch_is_never_removed(
    store: JobStore, client: HubClient, stranger: HubClient, hub: LocalHub, disk: Callable[[int], None]
) -> None:
    from huggingface_hub import snapshot_download

    snapshot_download("acme/a", endpoint=hub.url, token=False)
    use(client, "a")  # found whole, and used
    disk(WEIGHTS // 2)
    with pytest.raises(UserError, match="No space"):
        ask(store, client, "d")
    assert here() == {"a"}


def test_on_a_machine_of_ones_own_only_its_user_removes_and_is_told_so(
    store: JobStore, client: HubClient, disk: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SPACE_ID")
    use(client, "a")
    disk(WEIGHTS // 2)
    with pytest.raises(UserError, match="only you remove") as caught:
        ask(store, client, "d")
    assert "merge_core cache" in str(caught.value)
    assert here() == {"a"}


def test_after_the_models_the_oldest_runs_make_way_and_say_so(
    store: JobStore, client: HubClient, disk: Callable[[int], None]
) -> None:
    use(client, "a")
    old = finished(store, "ann", 3 * MB, AT_LEAST + 7200)
    newer = finished(store, "bob", 3 * MB, AT_LEAST + 60)
    disk(MB)
    ask(store, client, "d", output=4 * MB)
    assert here() == set()
    assert not store.folder(old.id).exists()
    assert store.folder(newer.id).exists()
    left = store.get(old.id, "ann")
    assert left is not None
    assert left.state == "done"
    assert left.files_removed


def test_fresh_run_and_one_that_is_being_sent_stay(
    store: JobStore, client: HubClient, disk: Callable[[int], None]
) -> None:
    fresh = finished(store, "ann", 3 * MB, AT_LEAST - 60)
    sent = finished(store, "bob", 3 * MB, AT_LEAST + 60)
    disk(MB)
    with in_use(store.folder(sent.id) / "model"), pytest.raises(UserError, match="No space"):
        ask(store, client, "d", output=2 * MB)
    assert store.folder(fresh.id).exists()
    assert store.folder(sent.id).exists()
    ask(store, client, "d", output=2 * MB)
    assert store.folder(fresh.id).exists()
    assert not store.folder(sent.id).exists()


def test_run_is_kept_until_it_was_said(store: JobStore) -> None:
    job = finished(store, "ann", MB, KEPT_ON_SPACE - 60)
    told = kept_until(store.get(job.id, "ann"))
    assert told is not None
    assert abs(told - time.time() - 60) < 5
    store.tidy()
    assert store.folder(job.id).exists()
    age(store, job, KEPT_ON_SPACE + 1)
    store.tidy()
    assert not store.folder(job.id).exists()
    assert store.get(job.id, "ann") is None


def beats(store: JobStore, job: Job, worker: str) -> bool:
    """True where who works on a job can say so now, in another thread as it does."""
    beat = threading.Thread(
        target=lambda: JobStore(store.root).beat(job.id, worker, JobProgress()), daemon=True
    )
    beat.start()
    beat.join(5)
    return not beat.is_alive()


def test_who_works_on_a_job_can_say_so_while_room_is_found_and_made_for_another(
    store: JobStore, client: HubClient, disk: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    use(client, "a")
    old = finished(store, "ann", 3 * MB, AT_LEAST + 60)
    job = store.submit("merge", "bob", "r", holder="download")
    disk(2 * MB)
    heard = []

    def slow(work: Callable[..., object]) -> Callable[..., object]:
        def working(*given: object, **named: object) -> object:
            heard.append(beats(store, job, "download"))
            return work(*given, **named)

        return working

    monkeypatch.setattr(making_room, "cached_models", slow(cached_models))
    monkeypatch.setattr(shutil, "rmtree", slow(shutil.rmtree))
    ask(store, client, "d", output=4 * MB)
    assert not store.folder(old.id).exists()
    assert len(heard) >= 3
    assert all(heard)


@pytest.mark.parametrize("removing", ["tidy", "cancel"])
def test_who_works_on_a_job_can_say_so_while_the_folder_of_another_is_deleted(
    store: JobStore, monkeypatch: pytest.MonkeyPatch, removing: str
) -> None:
    job = store.submit("merge", "bob", "r", holder="download")
    other = store.submit("merge", "ann", "r")
    stray = store.folder(other.id if removing == "cancel" else "00ff")
    stray.mkdir(parents=True)
    heard, delete = [], shutil.rmtree

    def deleting(*given: Any, **named: Any) -> None:
        heard.append(beats(store, job, "download"))
        delete(*given, **named)

    monkeypatch.setattr(shutil, "rmtree", deleting)
    if removing == "cancel":
        store.cancel(other.id, "ann")
    else:
        store.tidy()
    assert heard == [True]
    assert not list((store.root / "runs").iterdir())


def test_run_that_begins_to_be_sent_while_room_is_looked_for_stays(
    store: JobStore, client: HubClient, disk: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = finished(store, "ann", 3 * MB, AT_LEAST + 7200)
    other = finished(store, "bob", 3 * MB, AT_LEAST + 60)
    disk(MB)
    with ExitStack() as sending:

        def measured(folder: Path) -> int:
            if folder == store.folder(other.id):
                sending.enter_context(in_use(store.folder(sent.id) / "model"))
            return written(folder)

        monkeypatch.setattr(making_room, "written", measured)
        ask(store, client, "d", output=2 * MB)
        assert (store.folder(sent.id) / "model" / "model.safetensors").exists()
        assert not store.folder(other.id).exists()
    left = store.get(sent.id, "ann")
    assert left is not None
    assert not left.files_removed


def test_run_whose_files_cannot_all_be_deleted_is_no_longer_offered(
    store: JobStore, client: HubClient, disk: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = finished(store, "ann", 3 * MB, AT_LEAST + 60)
    disk(MB)

    (store.folder(run.id) / "model" / "config.json").write_text("{}")

    def failing(folder: Path, ignore_errors: bool = False) -> None:
        (folder / "model" / "config.json").unlink()
        if not ignore_errors:
            raise OSError("the disk has trouble")

    with monkeypatch.context() as trouble:
        trouble.setattr(shutil, "rmtree", failing)
        with pytest.raises(UserError, match="No space"):
            ask(store, client, "d", output=2 * MB)
    left = store.get(run.id, "ann")
    assert left is not None
    assert left.files_removed
    assert not store.folder(run.id).exists()
    store.tidy()
    assert not list((store.root / "runs").iterdir())


def test_run_that_makes_way_before_it_is_sent_says_so(store: JobStore) -> None:
    run = finished(store, "ann", MB, AT_LEAST + 60)
    model = store.folder(run.id) / "model"
    waits = threading.Event()
    told: list[str] = []

    def send() -> None:
        try:
            with in_use(model):
                told.append("sent")
        except UserError as error:
            told.append(str(error))

    def lock(handle: int, how: int) -> None:
        if how == fcntl.LOCK_SH:
            waits.set()
        flock(handle, how)

    flock = fcntl.flock
    sender = threading.Thread(target=send)
    with pytest.MonkeyPatch.context() as patch, removing() as removal, retention._unsent(model) as unsent:
        assert unsent
        patch.setattr(fcntl, "flock", lock)
        sender.start()
        assert waits.wait(10)
        assert removal.take(store.folder(run.id))
    sender.join()
    assert told == ["The files of this run made way for others. Run it again."]


def test_what_a_killed_process_left_of_a_model_is_deleted_by_the_next(
    store: JobStore, client: HubClient
) -> None:
    use(client, "a", "b")
    (model,) = [model for model in cached_models() if model.repo_id == "acme/a"]
    assert Removal().take(model.folder)
    assert here() == {"b"}
    tidy_up(store)
    assert here() == {"b"}
    assert not list(model.folder.parent.glob(".removed*"))


def test_room_that_is_being_made_for_one_job_is_waited_for_by_the_next(
    store: JobStore, client: HubClient, disk: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    use(client, "a")
    kept = finished(store, "ann", 3 * MB, AT_LEAST + 60)
    disk(600_000)
    needs, delete = Needs(output=650_000), shutil.rmtree
    other = threading.Thread(target=lambda: JobStore(store.root).submit("merge", "eve", "r", needs=needs))

    def deleting(*given: Any, **named: Any) -> None:
        other.start()
        other.join(1)  # time to remove what it need not
        monkeypatch.setattr(shutil, "rmtree", delete)
        delete(*given, **named)

    monkeypatch.setattr(shutil, "rmtree", deleting)
    store.submit("merge", "me", "r", needs=needs)
    other.join()
    assert here() == set()
    assert store.folder(kept.id).exists()
    assert {job.owner for job in store.unfinished()} == {"me", "eve"}
