"""Room on the disk: what is kept, what may go, and what is promised to jobs."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import yaml
from huggingface_hub import constants
from huggingface_hub.utils import WeakFileLock

from merge_core.__main__ import main
from merge_core.errors import UserError
from merge_core.jobs import JobStore
from merge_core.prepare.needs import SPARE, Needs
from tests.checkpoints import write_model
from tests.core.command_line import write_recipe_file

MB = 1_000_000
Usage = namedtuple("Usage", "total used free")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TIEBREAK_HOME", str(tmp_path / "home"))


@pytest.fixture
def store(tmp_path: Path) -> JobStore:
    return JobStore(tmp_path / "home")


def cached(tmp_path: Path, repo_id: str, commit: str = "a" * 40, size: int = 4096) -> Path:
    """A model in the cache, laid out as the client does."""
    folder = tmp_path / "cache" / f"models--{repo_id.replace('/', '--')}"
    (folder / "blobs").mkdir(parents=True)
    (folder / "snapshots" / commit).mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(commit)
    (folder / "blobs" / "b1").write_bytes(b"x" * size)
    (folder / "snapshots" / commit / "model.safetensors").symlink_to("../../blobs/b1")
    return folder


def recipe(*models: str, base: str = "acme/base") -> str:
    listed = [{"model": model, "parameters": {"weight": 1.0}} for model in models]
    return yaml.safe_dump({"merge_method": "task_arithmetic", "base_model": base, "models": listed})


def refusal(*words: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(list(words)) == 2
    return capsys.readouterr().err


# What is kept, and may go ---------------------------------------------------------------------------------


def test_models_and_runs_are_listed_with_their_size(
    tmp_path: Path, store: JobStore, capsys: pytest.CaptureFixture[str]
) -> None:
    cached(tmp_path, "acme/base", size=2 * MB)
    job = store.submit("merge", "me", recipe("acme/code"))
    write_model(store.folder(job.id) / "model", {"w": np.ones(100_000, np.float32)})
    store.cancel(job.id, "me")
    write_model(store.folder(job.id) / "model", {"w": np.ones(100_000, np.float32)})

    assert main(["cache", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    (model,), (run,) = found["models"], found["runs"]
    assert (model["name"], model["bytes"], model["commits"]) == ("acme/base", 2 * MB, ["a" * 40])
    assert abs(model["last_used"] - time.time()) < 100
    assert run["id"] == job.id
    assert 400_000 < run["bytes"] < 450_000

    assert main(["cache"]) == 0
    shown = capsys.readouterr().out
    assert "acme/base" in shown
    assert "2.0 MB" in shown
    assert job.id in shown


def add_commit(folder: Path, commit: str, fetched: float, *blobs: str, size: int = MB) -> None:
    """One more commit of a cached model, of these contents; those that are here already are not kept twice."""
    here = folder / "snapshots" / commit
    here.mkdir(exist_ok=True)
    for blob in blobs:
        if not (folder / "blobs" / blob).exists():
            (folder / "blobs" / blob).write_bytes(b"x" * size)
        (here / f"{blob}.safetensors").symlink_to(f"../../blobs/{blob}")
    os.utime(here, (fetched, fetched))


def test_commits_of_a_model_stand_below_it_the_latest_first_and_shared_content_counts_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = cached(tmp_path, "acme/base", "a" * 40, size=2 * MB)
    os.utime(folder / "snapshots" / ("a" * 40), (100, 100))
    add_commit(folder, "c" * 40, 200, "b1", "b2")
    add_commit(folder, "b" * 40, 300, "b2", "b3")
    cached(tmp_path, "acme/code", "d" * 40)

    assert main(["cache", "--json"]) == 0
    models = {model["name"]: model for model in json.loads(capsys.readouterr().out)["models"]}
    assert models["acme/base"]["bytes"] == 4 * MB
    assert models["acme/base"]["commits"] == ["b" * 40, "c" * 40, "a" * 40]

    assert main(["cache"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    at = next(i for i, row in enumerate(rows) if row[:1] == ["acme/base"])
    assert rows[at][1:3] + rows[at][-2:] == ["4.0", "MB", "3", "commits"]
    # The oldest brought nothing that a later one has not.
    assert rows[at + 1 : at + 4] == [
        ["2.0", "MB", "bbbbbbb"],
        ["2.0", "MB", "ccccccc"],
        ["0", "B", "aaaaaaa"],
    ]
    assert next(row for row in rows if row[:1] == ["acme/code"])[-1] == "ddddddd"


def test_of_many_commits_of_a_model_the_older_ones_share_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = cached(tmp_path, "acme/base", "0" * 40)
    for number in range(12):
        add_commit(folder, f"{number + 1:040x}", 1000 + number, f"own{number}")
    os.utime(folder / "snapshots" / ("0" * 40), (100, 100))
    assert main(["cache"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("0000000") == 5
    assert "8 older" in shown
    assert main(["cache", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["models"][0]["commits"]) == 13


def test_where_nothing_is_kept_the_folders_looked_at_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["cache"]) == 0
    no_models, no_runs = capsys.readouterr().out.splitlines()
    assert no_models == f"no models in {tmp_path / 'cache'}; set HF_HOME to look elsewhere"
    assert no_runs == f"no runs in {tmp_path / 'home'}; set TIEBREAK_HOME to look elsewhere"

    cached(tmp_path, "acme/base")
    assert main(["cache"]) == 0
    assert capsys.readouterr().out.endswith(f"\n\n{no_runs}\n")


def test_model_and_run_are_removed_and_others_stay(
    tmp_path: Path, store: JobStore, capsys: pytest.CaptureFixture[str]
) -> None:
    gone, stays = cached(tmp_path, "acme/base", size=MB), cached(tmp_path, "acme/code")  # of equal commits
    job = store.submit("merge", "me", recipe("acme/math"))
    store.cancel(job.id, "me")
    write_model(store.folder(job.id) / "model", {"w": np.ones(100_000, np.float32)})

    assert main(["cache", "--remove", "acme/base", job.id]) == 0

    assert capsys.readouterr().out == "freed 1.4 MB\n"
    assert not gone.exists()
    assert (stays / "snapshots" / ("a" * 40) / "model.safetensors").read_bytes()
    assert store.get(job.id, "me") is None
    assert not store.folder(job.id).exists()


@pytest.mark.parametrize("state", ["queued", "running"])
def test_model_that_a_job_needs_stays(
    tmp_path: Path, store: JobStore, capsys: pytest.CaptureFixture[str], state: str
) -> None:
    folder = cached(tmp_path, "acme/code")
    store.submit("merge", "somebody else", recipe(f"acme/code@{'a' * 40}"))
    if state == "running":
        store.claim("worker")
    said = refusal("cache", "--remove", "acme/code", capsys=capsys)
    assert said == "error: acme/code is needed by a job. Cancel the job, or wait until it is over.\n"
    assert folder.exists()


def test_one_model_that_must_stay_keeps_all(
    tmp_path: Path, store: JobStore, capsys: pytest.CaptureFixture[str]
) -> None:
    first = cached(tmp_path, "acme/free")
    cached(tmp_path, "acme/code")
    store.submit("merge", "me", recipe("acme/code"))
    refusal("cache", "--remove", "acme/free", "acme/code", capsys=capsys)
    assert first.exists()


def test_model_that_is_being_written_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = cached(tmp_path, "acme/code")
    lock = tmp_path / "cache" / ".locks" / folder.name / "b1.lock"
    lock.parent.mkdir(parents=True)
    with WeakFileLock(lock):
        assert "acme/code is being downloaded" in refusal("cache", "--remove", "acme/code", capsys=capsys)
    assert folder.exists()
    assert main(["cache", "--remove", "acme/code"]) == 0
    assert not folder.exists()


def test_unknown_name_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cached(tmp_path, "acme/code")
    said = refusal("cache", "--remove", "acme/cod", capsys=capsys)
    assert said == "error: acme/cod is not in the cache. Known: acme/code.\n"


def test_job_that_is_not_over_is_not_removed(store: JobStore) -> None:
    job = store.submit("merge", "me", recipe("acme/code"))
    with pytest.raises(UserError, match="This job is queued"):
        store.remove(job.id, "me")
    with pytest.raises(UserError, match="no such job of yours"):
        store.remove(job.id, "somebody else")


def test_command_tidies_up_where_no_worker_has_for_a_day(
    tmp_path: Path, store: JobStore, capsys: pytest.CaptureFixture[str]
) -> None:
    models = [
        write_model(tmp_path / name, {"layers.0.weight": np.full((4, 4), n, np.float32)})
        for n, name in enumerate("ab")
    ]
    file = write_recipe_file(tmp_path, models[0], models[1:])
    old = tmp_path / "home" / "inspections" / "old.json"
    orphan = tmp_path / "cache" / "models--acme--a" / "blobs" / f"{'c' * 64}.12345678.incomplete"
    for path in (old, orphan):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"{}")
    os.utime(old, (1e9, 1e9))

    def inspect() -> tuple[bool, bool]:
        assert main(["inspect", str(file)]) == 0
        return old.exists(), orphan.exists()

    assert inspect() == (True, True)  # the first command here does not wait for that
    os.utime(tmp_path / "home" / "tidied", (time.time() - 2 * 24 * 3600,) * 2)
    assert inspect() == (False, False)


# What is promised to jobs ---------------------------------------------------------------------------------


@pytest.fixture
def hundred_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk with room for 100 MB."""
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**12, 0, SPARE + 100 * MB))


def submit(store: JobStore, name: str, output: int = 0, **downloads: int) -> None:
    needs = Needs({f"acme/{repo}@{'a' * 40}": size for repo, size in downloads.items()}, output)
    store.submit("merge", "me", recipe(f"acme/{name}"), needs=needs)


@pytest.mark.usefixtures("hundred_free")
def test_two_queued_jobs_do_not_count_on_the_same_bytes(store: JobStore) -> None:
    submit(store, "a", output=60 * MB)
    with pytest.raises(UserError, match="this and the jobs before it take 120"):
        submit(store, "b", output=60 * MB)
    submit(store, "b", output=40 * MB)
    assert [len(job.recipe) > 0 for job in store.list("me")] == [True, True]


@pytest.mark.usefixtures("hundred_free")
def test_downloads_and_results_on_one_disk_count_together(store: JobStore) -> None:
    with pytest.raises(UserError, match=r"60\.0 MB in .*runs and 50\.0 MB in .*cache"):
        submit(store, "a", output=60 * MB, base=30 * MB, a=20 * MB)
    submit(store, "a", output=50 * MB, base=30 * MB, a=20 * MB)


@pytest.mark.usefixtures("hundred_free")
def test_model_that_two_jobs_wait_for_counts_once(store: JobStore) -> None:
    submit(store, "a", base=70 * MB)
    submit(store, "b", base=70 * MB, b=30 * MB)


@pytest.mark.usefixtures("hundred_free")
def test_room_of_a_job_that_is_over_is_free_again(store: JobStore) -> None:
    submit(store, "a", output=100 * MB)
    (job,) = store.list("me")
    store.cancel(job.id, "me")
    submit(store, "b", output=100 * MB)


@pytest.mark.usefixtures("hundred_free")
def test_run_again_needs_its_room_again(store: JobStore) -> None:
    submit(store, "a", output=60 * MB)
    (job,) = store.list("me")
    store.cancel(job.id, "me")
    submit(store, "b", output=60 * MB)
    with pytest.raises(UserError, match="No space on the disk"):
        store.retry(job.id, "me")


@pytest.mark.usefixtures("hundred_free")
def test_what_a_job_has_written_already_is_not_promised_once_more(store: JobStore) -> None:
    submit(store, "a", output=100 * MB)
    job = store.claim("worker")
    assert job is not None
    folder = store.folder(job.id) / ".model.partial"
    folder.mkdir(parents=True)
    with (folder / "model.safetensors").open("wb") as file:
        file.write(b"x" * 40 * MB)  # the disk's own count of what is free has shrunk by this
    submit(store, "b", output=40 * MB)
    with pytest.raises(UserError):
        submit(store, "c", output=1 * MB)
