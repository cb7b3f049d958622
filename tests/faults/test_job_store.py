"""The job store: who sees what, which changes are possible, what a stranger's row can do."""

from __future__ import annotations

import os
import pickle
import sqlite3
import stat
import threading
import time
import zlib
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from components.runs import probe_sets
from components.workspace import DEMO, ROOT, Workspace
from merge_core.errors import UserError
from merge_core.jobs import JobStore
from merge_core.jobs import lease as lease_module
from merge_core.jobs import places as places_module
from merge_core.jobs import retention as retention_module
from merge_core.jobs import store as store_module
from merge_core.jobs import tidying as tidying_module
from merge_core.jobs.job import Job, JobProgress
from merge_core.jobs.store import LeaseLost


@pytest.fixture
def store(tmp_path: Path) -> JobStore:
    return JobStore(tmp_path / "root")


def plant(
    store: JobStore, key: bytes, raw: int, mode: int, filename: str | None, value: bytes | None
) -> None:
    """Write a row past the store, as someone with access to its database could."""
    columns = "(key, raw, store_time, access_time, mode, filename, value)"
    with closing(sqlite3.connect(store.root / "jobs" / "cache.db")) as db, db:
        db.execute(
            f"INSERT INTO Cache {columns} VALUES (?, ?, 0, 0, ?, ?, ?)", (key, raw, mode, filename, value)
        )


class Bomb:
    """Unpickling one makes a file: proof that something unpickled it."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> object:
        return (os.mkdir, (str(self.mark),))


def test_submitted_job_is_queued_and_readable_by_its_owner(store: JobStore) -> None:
    job = store.submit("merge", "ada", "merge_method: ties", {"probes": ["a.jsonl"]})
    assert job.state == "queued"
    assert store.get(job.id, "ada") == job
    assert store.list("ada") == (job,)


def test_record_reads_back_as_it_was_written(store: JobStore) -> None:
    job = store.submit("merge", "ada", "é: ☂", {"n": 1, "deep": {"x": [1, None]}})
    assert Job.from_dict(job.to_dict()) == job


def test_someone_elses_job_does_not_exist_for_anyone_but_its_owner(store: JobStore) -> None:
    job = store.submit("merge", "ada", "r")
    assert store.get(job.id, "eve") is None
    assert store.list("eve") == ()
    for act in (store.cancel, store.retry):
        with pytest.raises(UserError, match="no such job"):
            act(job.id, "eve")
    assert store.get(job.id, "ada") == job


def test_same_request_twice_is_one_job_until_it_is_over(store: JobStore) -> None:
    first = store.submit("inspect", "ada", "r")
    assert store.submit("inspect", "ada", "r").id == first.id
    assert store.submit("inspect", "eve", "r").id != first.id
    store.cancel(first.id, "ada")
    assert store.submit("inspect", "ada", "r").id != first.id


def test_one_owner_cannot_fill_the_queue(store: JobStore) -> None:
    for number in range(places_module.MOST_WAITING):
        store.submit("inspect", "ada", f"r{number}")
    with pytest.raises(UserError, match="waiting already"):
        store.submit("inspect", "ada", "one more")
    assert store.submit("inspect", "eve", "r").state == "queued"


def test_one_visitor_cannot_fill_the_queue_under_many_names(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places_module, "MOST_WAITING_IN_ALL", 5)
    jobs = [store.submit("inspect", f"name{number}", "r") for number in range(5)]
    with pytest.raises(UserError, match="5 jobs of all visitors are waiting already"):
        store.submit("inspect", "ada", "r")
    assert store.submit("inspect", "name0", "r") == jobs[0]
    store.cancel(jobs[1].id, "name1")
    assert store.submit("inspect", "ada", "r").state == "queued"


def test_owners_take_turns_and_each_is_told_its_place(store: JobStore) -> None:
    names = ["ada"] * 4 + ["eve"] * 2 + ["bob"]
    jobs = [store.submit("inspect", owner, f"{number}") for number, owner in enumerate(names)]
    places = {job.id: store.ahead(job.id, job.owner) for job in jobs}
    order: list[str] = []
    while (job := store.claim("w")) is not None:
        store.finish(job.id, "w", {})
        order.append(job.id)
        waiting = [each for each in jobs if each.id not in order]
        assert all(store.ahead(each.id, each.owner) == places[each.id] - len(order) for each in waiting)
    assert [next(j.owner for j in jobs if j.id == key) for key in order] == [
        "ada", "eve", "bob", "ada", "eve", "ada", "ada",
    ]  # fmt: skip
    assert [places[key] for key in order] == list(range(7))


def test_visitors_who_sign_in_share_no_turn_with_names_that_somebody_makes_up(store: JobStore) -> None:
    made_up = [store.submit("inspect", f"name{number}", "r") for number in range(4)]
    ada = [store.submit("inspect", "browser", f"r{number}", account="ada") for number in range(2)]
    eve = store.submit("inspect", "another", "r", account="eve")
    jobs = [*made_up, *ada, eve]
    assert [store.ahead(job.id, job.owner) for job in jobs] == [2, 4, 5, 6, 0, 3, 1]
    order = []
    while (job := store.claim("w")) is not None:
        store.finish(job.id, "w", {})
        order.append(job.id)
    assert order == [job.id for job in (ada[0], eve, made_up[0], ada[1], *made_up[1:])]


def test_account_has_one_turn_whatever_its_browsers_are_called(store: JobStore) -> None:
    mine = [store.submit("inspect", f"browser{number}", "r", account="ada") for number in range(3)]
    other = store.submit("inspect", "b", "r", account="eve")
    assert [store.ahead(job.id, job.owner) for job in (*mine, other)] == [0, 2, 3, 1]


def test_account_cannot_fill_the_queue_with_many_browsers(store: JobStore) -> None:
    for number in range(places_module.MOST_WAITING):
        store.submit("inspect", f"browser{number}", "r", account="ada")
    with pytest.raises(UserError, match="waiting already"):
        store.submit("inspect", "one more", "r", account="ada")
    assert store.submit("inspect", "one more", "r", account="eve").state == "queued"


def test_on_a_space_names_that_somebody_makes_up_leave_room_for_who_signs_in(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPACE_ID", "acme/tiebreak")
    monkeypatch.setattr(places_module, "MOST_WAITING_SIGNED_OUT", 3)
    for number in range(3):
        store.submit("inspect", f"name{number}", "r")
    with pytest.raises(UserError, match="3 jobs of visitors who have not signed in") as caught:
        store.submit("inspect", "name3", "r")
    assert "Sign in" in str(caught.value)
    assert store.submit("inspect", "browser", "r", account="ada").state == "queued"


def test_run_again_is_bound_by_what_binds_a_new_run(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = store.submit("merge", "ada", "ended")
    store.cancel(ended.id, "ada")
    for number in range(places_module.MOST_WAITING):
        store.submit("merge", "ada", f"r{number}")
    with pytest.raises(UserError, match="waiting already"):
        store.retry(ended.id, "ada")
    found = store.get(ended.id, "ada")
    assert found is not None
    assert found.state == "cancelled"


def test_run_again_where_the_same_run_waits_already_is_that_run(store: JobStore) -> None:
    ended = store.submit("merge", "ada", "r")
    store.cancel(ended.id, "ada")
    waiting = store.submit("merge", "ada", "r")
    assert store.retry(ended.id, "ada") == waiting


def test_newcomer_comes_before_the_rest_of_a_long_queue(store: JobStore) -> None:
    for number in range(3):
        store.submit("inspect", "ada", f"r{number}")
    store.claim("w")
    late = store.submit("inspect", "eve", "r")
    assert store.ahead(late.id, "eve") == 1
    claimed = store.claim("w")
    assert claimed is not None
    assert claimed.id == late.id


def test_endless_recipe_is_refused(store: JobStore) -> None:
    with pytest.raises(UserError, match="longer than"):
        store.submit("inspect", "ada", "x" * (store_module.LARGEST_REQUEST + 1))


def test_jobs_are_claimed_in_the_order_they_came(store: JobStore) -> None:
    first, second = store.submit("inspect", "ada", "1"), store.submit("merge", "eve", "2")
    assert (store.ahead(first.id, "ada"), store.ahead(second.id, "eve")) == (0, 1)
    claimed = [store.claim("w"), store.claim("w"), store.claim("w")]
    assert [job and job.id for job in claimed] == [first.id, second.id, None]
    assert claimed[0] is not None
    assert (claimed[0].state, claimed[0].attempts) == ("running", 1)


def test_two_claimers_never_get_the_same_job(store: JobStore) -> None:
    for number in range(12):
        store.submit("inspect", f"owner{number}", "r")
    got: list[str] = []

    def take(name: str) -> None:
        while job := store.claim(name):
            got.append(job.id)

    threads = [threading.Thread(target=take, args=(f"w{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == len(set(got)) == 12


def test_cancelling_a_waiting_job_ends_it_at_once(store: JobStore) -> None:
    job = store.submit("merge", "ada", "r")
    assert store.cancel(job.id, "ada").state == "cancelled"
    assert store.claim("w") is None


def test_cancelling_a_running_job_reaches_its_worker_with_the_next_beat(store: JobStore) -> None:
    job = store.submit("merge", "ada", "r")
    store.claim("w")
    assert store.beat(job.id, "w", JobProgress(0.5, "half")) is False
    assert store.cancel(job.id, "ada").state == "running"
    assert store.beat(job.id, "w", JobProgress(0.6, "more")) is True
    store.cancelled(job.id, "w")
    ended = store.get(job.id, "ada")
    assert ended is not None
    assert (ended.state, ended.cancelling) == ("cancelled", False)


def test_cancelling_what_is_over_changes_nothing(store: JobStore) -> None:
    job = store.submit("merge", "ada", "r")
    store.claim("w")
    store.finish(job.id, "w", {"model": "x"})
    assert store.cancel(job.id, "ada").state == "done"


def test_worker_that_lost_its_lease_can_record_nothing(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease_module, "LEASE", 0.05)
    job = store.submit("merge", "ada", "r")
    store.claim("slow")
    time.sleep(0.1)
    again = store.claim("next")
    assert again is not None
    assert (again.id, again.attempts) == (job.id, 2)
    for act in (
        lambda: store.beat(job.id, "slow", JobProgress()),
        lambda: store.finish(job.id, "slow", {}),
        lambda: store.fail(job.id, "slow", "x"),
    ):
        with pytest.raises(LeaseLost):
            act()


@pytest.mark.parametrize("jump", [3600.0, -3600.0])
def test_clock_that_is_set_anew_takes_no_job_from_who_works_on_it(
    store: JobStore, monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    job = store.submit("merge", "ada", "r", holder="download")
    clock = time.time
    monkeypatch.setattr(time, "time", lambda: clock() + jump)
    assert store.claim("worker") is None
    assert store.beat(job.id, "download", JobProgress(0.5)) is False
    monkeypatch.setattr(time, "time", clock)
    assert store.claim("worker") is None


@pytest.mark.parametrize("started", [1e6, -1e6])
def test_job_of_before_a_restart_of_the_machine_is_taken_back(
    store: JobStore, monkeypatch: pytest.MonkeyPatch, started: float
) -> None:
    clock = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: clock() + started)
    job = store.submit("merge", "ada", "r", holder="gone")
    monkeypatch.setattr(time, "monotonic", clock)
    claimed = store.claim("worker")
    assert claimed is not None
    assert claimed.id == job.id


def test_job_that_ends_its_worker_three_times_fails_and_says_so(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease_module, "LEASE", 0.02)
    job = store.submit("merge", "ada", "r")
    for _ in range(3):
        assert store.claim("w") is not None
        time.sleep(0.04)
    assert store.claim("w") is None
    failed = store.get(job.id, "ada")
    assert failed is not None
    assert failed.state == "failed"
    assert "3 times" in str(failed.error)


def test_giving_a_job_back_is_not_held_against_it(store: JobStore) -> None:
    job = store.submit("merge", "ada", "r")
    for _ in range(5):
        assert store.claim("w") is not None
        store.release(job.id, "w")
    again = store.get(job.id, "ada")
    assert again is not None
    assert (again.state, again.attempts) == ("queued", 0)


def test_failed_job_can_be_run_again(store: JobStore) -> None:
    job = store.submit("merge", "ada", "r")
    store.claim("w")
    store.fail(job.id, "w", "no such folder")
    assert store.retry(job.id, "ada").state == "queued"
    with pytest.raises(UserError, match="queued"):
        store.retry(job.id, "ada")


def test_pickled_row_is_never_unpickled_and_hides_no_other_row(store: JobStore, tmp_path: Path) -> None:
    job = store.submit("merge", "ada", "r")
    value_mark, key_mark, file_mark = (tmp_path / name for name in ("value", "key", "file"))
    (store.root / "jobs" / "evil.val").write_bytes(pickle.dumps(Bomb(file_mark)))
    json_key = zlib.compress(b'"00ff"')
    plant(store, json_key, 1, 4, None, pickle.dumps(Bomb(value_mark)))
    plant(store, zlib.compress(b'"00fe"'), 1, 4, "evil.val", None)
    plant(store, pickle.dumps(Bomb(key_mark)), 0, 1, None, zlib.compress(b"{}"))
    again = JobStore(store.root)
    assert again.get("00ff", "ada") is None
    assert again.get("00fe", "ada") is None
    assert again.list("ada") == (job,)
    claimed = again.claim("w")
    assert claimed is not None
    assert claimed.id == job.id
    again.tidy()
    assert not any(mark.exists() for mark in (value_mark, key_mark, file_mark))


@pytest.mark.parametrize(
    ("mode", "filename", "value"),
    [
        (3, "../../secret", None),
        (2, "/etc/hostname", None),
        (1, None, zlib.compress(b" " * (32 << 20))),
        (1, None, zlib.compress(b"[" * 200_000)),
        (1, None, b"not zlib"),
        (1, None, zlib.compress(b'{"id": "00ff", "kind": "shell", "owner": "ada", "recipe": ""}')),
        (1, None, zlib.compress(b'{"id": "../..", "kind": "merge", "owner": "ada", "recipe": ""}')),
    ],
    ids=["path", "absolute", "bomb", "nesting", "noise", "kind", "folder"],
)
def test_row_that_this_program_did_not_write_counts_as_absent(
    store: JobStore, mode: int, filename: str | None, value: bytes | None
) -> None:
    job = store.submit("merge", "ada", "r")
    plant(store, zlib.compress(b'"00ff"'), 1, mode, filename, value)
    assert store.get("00ff", "ada") is None
    assert store.list("ada") == (job,)


def test_store_is_nobody_elses_to_read(store: JobStore) -> None:
    store.submit("merge", "ada", "r")
    for path in [store.root, *store.root.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_closed_store_opens_again_when_used(store: JobStore) -> None:
    job = store.submit("merge", "ada", "r")
    store.close()
    assert store.get(job.id, "ada") == job


def test_damaged_database_is_named_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "cache.db").write_bytes(b"not a database at all" * 100)
    with pytest.raises(UserError, match="jobs cannot be used"):
        JobStore(tmp_path)


def test_root_that_is_a_file_is_named_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "root").write_text("")
    with pytest.raises(UserError, match="cannot be used"):
        JobStore(tmp_path / "root")


def test_old_jobs_and_unneeded_folders_are_removed(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    old, fresh, waiting = (store.submit("merge", "ada", name) for name in ("old", "fresh", "waiting"))
    for job in (old, fresh, waiting):
        store.folder(job.id).mkdir(parents=True)
    (store.root / "runs" / "stray").mkdir()
    store.claim("w")
    store.finish(old.id, "w", {})
    monkeypatch.setattr(retention_module, "KEPT", 0.05)
    time.sleep(0.1)
    store.claim("w")
    store.finish(fresh.id, "w", {})
    store.tidy()
    assert {job.id for job in store.list("ada")} == {fresh.id, waiting.id}
    assert {run.name for run in (store.root / "runs").iterdir()} == {fresh.id, waiting.id}


def keep_file(store: JobStore, name: str, age: float, size: int = 10) -> Path:
    """A file under the root, last used `age` seconds ago."""
    path = store.root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))
    os.utime(path, (time.time() - age,) * 2)
    return path


KEPT_FOLDERS = ("inspections", "scores", "probes/0123", "thresholds")


@pytest.mark.parametrize("folder", KEPT_FOLDERS)
def test_files_unused_for_long_are_removed(store: JobStore, folder: str) -> None:
    old = keep_file(store, f"{folder}/old", retention_module.KEPT + 60)
    fresh = keep_file(store, f"{folder}/fresh", retention_module.KEPT - 60)
    store.tidy()
    assert (old.exists(), fresh.exists()) == (False, True)


def test_kept_files_are_bounded_in_size_and_those_used_longest_ago_go_first(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("inspections/a.json", "scores/b.json", "probes/0123/c.jsonl", "scores/d.json")
    files = [keep_file(store, name, 400 - 100 * number, 100) for number, name in enumerate(names)]
    monkeypatch.setattr(tidying_module, "MOST_BYTES", 250)
    store.tidy()
    assert [file.exists() for file in files] == [False, False, True, True]


def test_probe_file_of_a_waiting_job_is_never_tidied_away(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe = keep_file(store, "probes/0123/c.jsonl", retention_module.KEPT + 60, 100)
    monkeypatch.setattr(tidying_module, "MOST_BYTES", 50)
    job = store.submit("merge", "ada", "r", {"probes": [str(probe)]})
    store.tidy()
    assert probe.exists()
    store.cancel(job.id, "ada")
    store.tidy()
    assert not probe.exists()


def test_use_of_a_brought_probe_file_keeps_it(store: JobStore) -> None:
    workspace = cast(Workspace, SimpleNamespace(store=store))
    upload = next((ROOT / DEMO / "probes").glob("*.jsonl"))
    key = probe_sets.take_in(workspace, "ada", upload)
    (kept,) = (Path(path) for path in probe_sets.chosen_paths(workspace, "ada", [key]))
    for use in (
        lambda: probe_sets.take_in(workspace, "ada", upload),
        lambda: probe_sets.chosen_paths(workspace, "ada", [key]),
    ):
        os.utime(kept, (1, 1))
        use()
        store.tidy()
        assert kept.exists()
