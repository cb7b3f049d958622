"""Real worker processes: what they finish, how they stop, and what is left when they or the server are killed."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from huggingface_hub import ModelCard
from safetensors.torch import save_file

from merge_core.jobs import Job, JobStore, Supervisor, generation
from tests.checkpoints import read_model, write_model
from tests.tiny_models import bert, write_probe

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PATIENCE = 30.0  # seconds until a test gives up; a passing test never waits so long

Start = Callable[..., "subprocess.Popen[bytes]"]


def until(condition: Callable[[], object], what: str, patience: float = PATIENCE) -> None:
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end, f"waited in vain for: {what}"
        time.sleep(0.02)


def now(store: JobStore, job: Job) -> Job:
    found = store.get(job.id, job.owner)
    assert found is not None
    return found


def ended(store: JobStore, job: Job) -> Job:
    until(lambda: now(store, job).final, "the end of the job")
    return now(store, job)


def workers_of(root: Path) -> set[int]:
    """Process ids of the workers that serve `root`."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"merge_core.jobs.worker" in words and str(root).encode() in words:
                found.add(int(entry.name))
    return found


@pytest.fixture
def store(tmp_path: Path) -> JobStore:
    return JobStore(tmp_path / "root")


@pytest.fixture
def start(store: JobStore) -> Iterator[Start]:
    """start("script.py", …) runs that script, start() the worker itself; all of them end with the test."""
    started: list[subprocess.Popen[bytes]] = []

    def run(*script: object, limit: int | None = None) -> subprocess.Popen[bytes]:
        what = [str(word) for word in script] or ["-m", "merge_core.jobs.worker"]
        with (store.root / "worker.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, *what, "--root", str(store.root), "--linger", "60"],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdout=log,
                stderr=log,
                preexec_fn=lambda: limit and resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
            )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.wait()
    for pid in workers_of(store.root):
        os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """TIES of two fine-tunes, dozens of pieces of `slow_worker`."""
    folder = tmp_path_factory.mktemp("models")
    rng = np.random.default_rng(11)
    base = {f"layers.{i}.weight": rng.standard_normal((512, 1024)).astype(np.float32) for i in range(3)}
    write_model(folder / "base", base)
    for name in ("a", "b"):
        moved = {k: v + rng.standard_normal(v.shape).astype(np.float32) / 100 for k, v in base.items()}
        write_model(folder / name, moved)
    return yaml.safe_dump(
        {
            "merge_method": "ties",
            "base_model": str(folder / "base"),
            "models": [{"model": str(folder / name)} for name in ("a", "b")],
            "parameters": {"weight": 1.0, "density": 0.3},
        }
    )


def weights(store: JobStore, job: Job) -> bytes:
    assert job.result is not None
    return (store.root / job.result["model"] / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def undisturbed(recipe: str, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The merge's weights as the engine makes them in one go."""
    from merge_core.engine import merge
    from merge_core.prepare import prepare
    from merge_core.recipe import read_recipe

    out = tmp_path_factory.mktemp("undisturbed") / "out"
    merge(prepare(read_recipe(recipe)), out)
    return (out / "model.safetensors").read_bytes()


def test_submitted_merge_is_done_with_model_report_and_card(
    store: JobStore, start: Start, recipe: str, undisturbed: bytes
) -> None:
    start()
    job = ended(store, store.submit("merge", "ada", recipe))
    assert (job.state, job.error, job.progress.fraction) == ("done", None, 1.0)
    assert job.result is not None
    assert weights(store, job) == undisturbed
    assert job.result["bytes"] == len(undisturbed)
    assert job.result["scores"] == []
    assert (store.root / job.result["report"]).is_file()
    card = (store.root / job.result["model"] / "README.md").read_text()
    assert "## Where the parents disagree" in card
    assert "Nothing has been measured" in card
    assert not list((store.root / job.result["model"]).glob(".*"))


def test_inspection_is_made_once_and_found_again(store: JobStore, start: Start, recipe: str) -> None:
    start()
    first = ended(store, store.submit("inspect", "ada", recipe))
    second = ended(store, store.submit("inspect", "eve", recipe))
    assert first.state == second.state == "done"
    assert first.result == second.result


def test_progress_grows_and_says_how_long_it_will_take(store: JobStore, start: Start, recipe: str) -> None:
    start(HERE / "slow_worker.py", store.root / "notes", 0.1)
    job = store.submit("merge", "ada", recipe)
    seen = []
    while not now(store, job).final:
        seen.append(now(store, job).progress)
        time.sleep(0.05)
    fractions = [progress.fraction for progress in seen]
    assert fractions == sorted(fractions)
    assert len({f for f in fractions if 0.1 < f < 0.9}) > 2
    assert any(progress.eta is not None and progress.eta > 0 for progress in seen)
    assert any("layers." in progress.message for progress in seen)


def test_running_merge_stops_within_a_second_and_leaves_nothing(
    store: JobStore, start: Start, recipe: str
) -> None:
    notes = store.root / "notes"
    start(HERE / "slow_worker.py", notes, 0.2)
    job = store.submit("merge", "ada", recipe)
    until(notes.exists, "the first piece")
    asked = time.monotonic()
    assert store.cancel(job.id, "ada").state == "running"
    until(lambda: now(store, job).final, "the end of the job")
    assert time.monotonic() - asked < 1.5  # a second, and some for a machine that is busy with other tests
    assert now(store, job).state == "cancelled"
    until(lambda: not store.folder(job.id).exists(), "the removal of the job's folder")


def test_step_that_does_not_listen_is_ended_by_force(store: JobStore, start: Start, recipe: str) -> None:
    start(HERE / "stray_worker.py", "deaf")
    job = store.submit("inspect", "ada", recipe)
    until(store.folder(job.id).exists, "the deaf step")
    asked = time.monotonic()
    store.cancel(job.id, "ada")
    until(lambda: now(store, job).state == "cancelled", "the end of the job")
    assert time.monotonic() - asked < 2.5
    after = ended(store, store.submit("inspect", "ada", recipe))
    assert after.state == "done", "the worker that began anew takes the next job"
    assert not store.folder(job.id).exists()


def test_killed_worker_is_followed_by_one_that_continues_from_the_finished_pieces(
    store: JobStore, start: Start, recipe: str, undisturbed: bytes
) -> None:
    notes = store.root / "notes"
    first = start(HERE / "slow_worker.py", notes, 0.05)
    job = store.submit("merge", "ada", recipe)
    until(lambda: notes.exists() and len(notes.read_text().splitlines()) > 20, "some finished pieces")
    first.kill()
    first.wait()
    journal = next(store.folder(job.id).glob(".*.journal"))
    listed = [json.loads(line) for line in journal.read_text().split("\n")[1:-1]]
    finished = {(tensor, start) for line in listed for tensor, start, _ in line}
    assert len(finished) >= 10
    second = start(HERE / "slow_worker.py", notes, 0)
    done = ended(store, job)
    assert (done.state, done.attempts) == ("done", 2)
    assert weights(store, done) == undisturbed
    made = [tuple(map(int, line.split())) for line in notes.read_text().splitlines()]
    again = {(tensor, start) for pid, tensor, start in made if pid == second.pid}
    assert again
    assert not again & finished, "a finished piece was made again"
    assert again | finished == {(tensor, start) for _, tensor, start in made}


def test_worker_told_to_end_gives_its_job_back(
    store: JobStore, start: Start, recipe: str, undisturbed: bytes
) -> None:
    notes = store.root / "notes"
    first = start(HERE / "slow_worker.py", notes, 0.05)
    job = store.submit("merge", "ada", recipe)
    until(notes.exists, "the first piece")
    first.terminate()
    assert first.wait(PATIENCE) == 0
    assert (now(store, job).state, now(store, job).attempts) == ("queued", 0)
    start()
    assert weights(store, ended(store, job)) == undisturbed


def test_worker_finishes_although_its_server_was_killed(
    store: JobStore, start: Start, recipe: str, undisturbed: bytes
) -> None:
    serve = "import sys, time; from merge_core.jobs import Supervisor; Supervisor(sys.argv[2]).start(); time.sleep(60)"
    server = start("-c", serve)
    job = store.submit("merge", "ada", recipe)
    until(lambda: now(store, job).state == "running", "the start of the job")
    server.kill()
    server.wait()
    assert weights(store, ended(store, job)) == undisturbed


def test_supervisor_starts_a_new_worker_when_one_is_killed(
    store: JobStore, start: Start, recipe: str
) -> None:
    with Supervisor(store.root):
        until(lambda: workers_of(store.root), "a worker")
        killed = workers_of(store.root)
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        until(lambda: workers_of(store.root) - killed, "another worker")
        assert ended(store, store.submit("inspect", "ada", recipe)).state == "done"


def test_worker_of_an_earlier_program_makes_way_and_its_job_goes_on(
    store: JobStore, start: Start, recipe: str, undisturbed: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(
        HERE / "slow_worker.py", store.root / "notes", 0.05
    )  # its command line names no worker: announced by hand
    job = store.submit("merge", "ada", recipe)
    until(lambda: (store.root / "worker.json").exists(), "the worker's announcement")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    first = json.loads((store.root / "worker.json").read_text())
    monkeypatch.setattr(generation, "_is_worker", lambda pid: True)
    with Supervisor(store.root):
        until(lambda: json.loads((store.root / "worker.json").read_text())[0] != first[0], "another worker")
        assert weights(store, ended(store, job)) == undisturbed
        assert now(store, job).attempts == 1  # giving it back was not the job's fault


def test_two_servers_share_one_worker(store: JobStore, start: Start, recipe: str) -> None:
    with Supervisor(store.root), Supervisor(store.root):
        jobs = [store.submit("inspect", owner, recipe) for owner in ("ada", "eve")]
        assert {ended(store, job).state for job in jobs} == {"done"}
        until(lambda: len(workers_of(store.root)) == 1, "the second worker to leave")
    log = (store.root / "worker.log").read_text()
    assert sorted(log.count(f"job {job.id} (inspect): attempt 1") for job in jobs) == [1, 1]


def test_what_a_person_can_mend_is_told_in_its_own_sentence(
    store: JobStore, start: Start, recipe: str, tmp_path: Path
) -> None:
    start()
    job = ended(store, store.submit("merge", "ada", recipe.replace("/base", "/gone")))
    assert job.state == "failed"
    assert job.error is not None
    assert job.error.startswith("There is no folder ")
    assert "/gone" in job.error


def test_bug_is_one_sentence_with_the_jobs_id_and_its_traceback_only_in_the_log(
    store: JobStore, start: Start, recipe: str
) -> None:
    start(HERE / "stray_worker.py", "broken")
    job = ended(store, store.submit("inspect", "ada", recipe))
    assert job.state == "failed"
    assert job.error is not None
    assert job.id in job.error
    assert "programmer" not in job.error
    assert "Traceback" not in job.error
    assert "what only a programmer should read" in (store.root / "worker.log").read_text()


def test_full_disk_fails_the_job_and_leaves_nothing_of_it(store: JobStore, start: Start, recipe: str) -> None:
    start(limit=4_000_000)  # no file may grow beyond, as on a disk that is full; the merge takes 6.3 MB
    job = ended(store, store.submit("merge", "ada", recipe))
    assert job.state == "failed"
    assert job.error is not None
    assert job.error.startswith("No space for ")
    assert not [path for path in store.folder(job.id).rglob("*") if path.suffix == ".safetensors"]


def probe_of(folder: Path) -> Path:
    items = [
        {"text": text, "label": label} for text in ("a fine film", "a dull one") for label in ("good", "bad")
    ]
    header = {"probe": "films", "kind": "text-classification", "labels": ["good", "bad"]}
    return write_probe(folder / "films.jsonl", header, items * 3)


@pytest.fixture(scope="module")
def classifiers(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A classifier of texts and two that differ from it a little."""
    folder = tmp_path_factory.mktemp("classifiers")
    base = bert(folder / "base")
    rng = np.random.default_rng(7)
    for name in ("a", "b"):
        shutil.copytree(base, folder / name)
        moved = {
            k: v + torch.as_tensor(rng.normal(size=v.shape) / 9).to(v.dtype)
            for k, v in read_model(base).items()
        }
        save_file(moved, folder / name / "model.safetensors", metadata={"format": "pt"})
    return [base, folder / "a", folder / "b"]


def test_merge_is_measured_beside_its_parents_and_the_card_says_how(
    store: JobStore, start: Start, classifiers: list[Path], tmp_path: Path
) -> None:
    base, *tuned = map(str, classifiers)
    recipe = {"merge_method": "task_arithmetic", "base_model": base, "models": [{"model": m} for m in tuned]}
    text = yaml.safe_dump({**recipe, "parameters": {"weight": 0.5}})
    start()
    job = ended(store, store.submit("merge", "ada", text, {"probes": [str(probe_of(tmp_path))]}))
    assert (job.state, job.error) == ("done", None)
    assert job.result is not None
    scores = job.result["scores"]
    assert [(score["role"], score["model"]) for score in scores] == [
        ("base", base),
        *(("parent", model) for model in tuned),
        ("merge", "merge"),
    ]
    assert {(score["probe"], score["metric"], score["n"]) for score in scores} == {("films", "accuracy", 12)}
    assert all(0 <= score["low"] <= score["score"] <= score["high"] <= 1 for score in scores)
    card = ModelCard((store.root / job.result["model"] / "README.md").read_text())
    assert "| **this merge** | " in card.text
    assert card.data.eval_results is not None
    assert card.data.eval_results[0].metric_value == pytest.approx(scores[-1]["score"], abs=1e-6)


def test_any_model_is_measured_on_demand(
    store: JobStore, start: Start, classifiers: list[Path], tmp_path: Path
) -> None:
    start()
    asked = {"model": str(classifiers[0]), "probes": [str(probe_of(tmp_path))]}
    job = ended(store, store.submit("probe", "ada", "", asked))
    assert (job.state, job.error) == ("done", None)
    assert job.result is not None
    (score,) = job.result["scores"]
    assert (score["model"], score["probe"], score["n"]) == (str(classifiers[0]), "films", 12)


def test_probe_that_the_models_cannot_answer_fails_the_run_before_anything_is_merged(
    store: JobStore, start: Start, recipe: str, tmp_path: Path
) -> None:
    job = store.submit("merge", "ada", recipe, {"probes": [str(probe_of(tmp_path))]})
    start()
    failed = ended(store, job)
    assert failed.state == "failed"
    assert "transformers cannot open its configuration" in str(failed.error)
    assert not (store.folder(job.id) / "model").exists()


def test_probe_of_no_model_says_so(store: JobStore, start: Start) -> None:
    start()
    assert (
        ended(store, store.submit("probe", "ada", "", {"probes": []})).error == "No model to probe. Name one."
    )


def test_token_of_this_machine_reaches_neither_the_store_nor_a_log(
    store: JobStore, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = "hf_" + "abcDEF0123" * 4
    monkeypatch.setenv("HF_TOKEN", token)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    start()
    probe = ended(store, store.submit("probe", "ada", "", {"model": "ada/merge", "probes": []}))
    assert probe.state == "failed"
    assert probe.error is not None
    assert token not in probe.error
    store.close()
    for path in store.root.rglob("*"):
        assert not path.is_file() or token.encode() not in path.read_bytes(), path


def test_failed_job_runs_again_once_the_cause_is_gone(
    store: JobStore, start: Start, recipe: str, undisturbed: bytes
) -> None:
    full = start(limit=4_000_000)
    job = ended(store, store.submit("merge", "ada", recipe))
    assert job.state == "failed"
    full.kill()
    full.wait()
    start()
    store.retry(job.id, "ada")
    assert weights(store, ended(store, job)) == undisturbed
