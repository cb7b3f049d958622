"""What can go wrong while weights are read from the Hub, and what becomes of the merge."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from merge_core.checkpoint.remote import FIRST_READ
from merge_core.engine import merge, merging
from merge_core.errors import TryAgain, UserError
from merge_core.hub import HubClient, ranges
from merge_core.hub.session import Patience
from merge_core.plan import MergePlan, TensorPlan
from merge_core.prepare import prepare
from merge_core.progress import Cancelled
from merge_core.streaming.inputs import rows_of
from merge_core.streaming.pieces import Piece, pieces_of
from tests.hub.family import NAMES, contents, cut_small, put_on, recipe, recipe_text, weights_of
from tests.hub.server import LocalHub

WEIGHTS = "GET /storage"
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    cut_small(monkeypatch)


@pytest.fixture
def expected(hub: LocalHub, client: HubClient, tmp_path: Path) -> dict[str, bytes]:
    """What the merge of `recipe(density=0.3)` is, without faults."""
    put_on(hub, tmp_path / "models")
    merge(prepare(recipe(density=0.3), client, stream=True), tmp_path / "expected")
    return contents(tmp_path / "expected")


def expire(hub: LocalHub) -> None:
    """Every address of a store holds for a while, and then no longer."""
    for repo in hub.store.repos.values():
        for path, blob in repo.head.files.items():
            if path.endswith(".safetensors"):
                hub.fail(f"storage/{blob.sha256}", times=2)
                hub.fail(f"storage/{blob.sha256}", status=403, times=1)


FAULTS: dict[str, Callable[[LocalHub], None]] = {
    "cut connections": lambda hub: hub.fail(WEIGHTS, cut_after=3000, times=6),
    "slow bodies": lambda hub: hub.fail(WEIGHTS, pace=0.05, times=10),
    "too many requests": lambda hub: hub.fail(WEIGHTS, status=429, headers={"retry-after": "0"}, times=9),
    "a Hub with too many requests": lambda hub: hub.fail(
        "resolve/.*safetensors", status=429, headers={"ratelimit": '"resolvers";r=0;t=1'}, times=3
    ),
    "a store in trouble": lambda hub: hub.fail(WEIGHTS, status=503, times=8),
    "expired addresses": lambda hub: expire(hub),
    "silence": lambda hub: hub.fail(WEIGHTS, delay=1.0, times=3),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_passing_trouble_changes_no_byte(
    hub: LocalHub,
    client: HubClient,
    tmp_path: Path,
    expected: dict[str, bytes],
    fault: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ranges, "ANSWER_WITHIN", 0.5)
    FAULTS[fault](hub)
    made = merge(prepare(recipe(density=0.3), client, stream=True), tmp_path / "out")
    assert contents(tmp_path / "out") == expected
    files = len(weights_of(hub, *NAMES))
    assert made.checked == (files, files)


def refusal(client: HubClient, folder: Path) -> UserError:
    """The error that ends a merge; nothing of it is left."""
    plan = prepare(recipe(density=0.3), client, stream=True)
    before = sorted(path.name for path in folder.iterdir())
    with pytest.raises(UserError) as caught:
        merge(plan, folder / "out")
    assert sorted(path.name for path in folder.iterdir()) == before
    return caught.value


def test_garbled_weights_are_found_by_their_hash_and_nothing_is_left(
    hub: LocalHub, client: HubClient, tmp_path: Path, expected: dict[str, bytes]
) -> None:
    hub.fail(WEIGHTS, corrupt=True, times=1)
    assert "arrived with another content than the Hub lists" in refusal(client, tmp_path).message


def test_file_that_changes_at_its_commit_ends_the_merge(
    hub: LocalHub, client: HubClient, tmp_path: Path, expected: dict[str, bytes]
) -> None:
    """No Hub does that, unless somebody removed the repository and made another of its name and commit."""
    commit = hub.repo("acme/math").head
    name = next(path for path in commit.files if path.endswith(".safetensors"))
    old = commit.files[name]

    def change() -> None:
        content = bytearray(old.path.read_bytes())
        content[-1] ^= 1
        commit.files[name] = hub.store.put(bytes(content), True)

    hub.fail(f"storage/{old.sha256}", times=1)
    hub.fail(f"storage/{old.sha256}", times=1, then=change)
    assert f"acme/math: {name} changed on the Hub while it was read" in refusal(client, tmp_path).message


def test_hub_that_sends_only_whole_files_is_told_apart(
    hub: LocalHub, client: HubClient, tmp_path: Path, expected: dict[str, bytes]
) -> None:
    hub.ignore_range = True
    assert "only whole, so no part of it can be read" in refusal(client, tmp_path).message


def test_access_withdrawn_meanwhile_ends_the_merge(
    hub: LocalHub, client: HubClient, tmp_path: Path, expected: dict[str, bytes]
) -> None:
    hub.fail("acme/chat/resolve/.*safetensors", status=403)
    assert "Your account may not read acme/chat" in refusal(client, tmp_path).message


def test_merge_goes_on_where_a_hub_out_of_reach_stopped_it(
    hub: LocalHub,
    client: HubClient,
    tmp_path: Path,
    expected: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ranges, "PATIENT", Patience(2, 0.01, 1.0))
    plan = prepare(recipe(density=0.3), client, stream=True)
    last = hub.repo("acme/base").head.files["model-00002-of-00002.safetensors"].sha256
    hub.fail(f"storage/{last}", status=503)
    with pytest.raises(TryAgain, match="then goes on where it stopped"):
        merge(plan, tmp_path / "out")
    hub.forget()
    made = merge(prepare(recipe(density=0.3), client, stream=True), tmp_path / "out")
    assert 0 < made.resumed < 1
    assert made.streamed < sum(weights_of(hub, *NAMES).values())
    assert contents(tmp_path / "out") == expected
    assert not list(tmp_path.glob(".out*"))


def test_hub_out_of_reach_from_the_start_leaves_nothing(
    hub: LocalHub,
    client: HubClient,
    tmp_path: Path,
    expected: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ranges, "PATIENT", Patience(2, 0.01, 1.0))
    hub.fail("safetensors|storage", status=503, times=float("inf"))
    assert "goes on" not in str(refusal(client, tmp_path))


def test_progress_says_that_the_hub_keeps_the_merge_waiting(
    hub: LocalHub,
    client: HubClient,
    tmp_path: Path,
    expected: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(merging, "QUIET", 0.3)
    hub.fail(WEIGHTS, delay=1.5, times=8)
    said: list[str] = []
    plan = prepare(recipe(density=0.3), client, stream=True)
    merge(plan, tmp_path / "out", progress=lambda told: said.append(told.message))
    assert "waiting for the Hub" in said
    assert said[-1] != "waiting for the Hub"


@pytest.mark.parametrize("trouble", ["silence", "a request to wait", "a body without end"])
def test_cancelled_merge_stops_while_the_hub_keeps_it_waiting_and_leaves_nothing(
    hub: LocalHub, client: HubClient, tmp_path: Path, expected: dict[str, bytes], trouble: str
) -> None:
    asked = threading.Event()
    if trouble == "silence":
        hub.fail(WEIGHTS, delay=15, then=asked.set)
    elif trouble == "a request to wait":
        hub.fail(WEIGHTS, status=429, headers={"retry-after": "60"}, then=asked.set)
    else:
        hub.fail(WEIGHTS, pace=15, then=asked.set)
    plan = prepare(recipe(density=0.3), client, cancelled=asked.is_set, stream=True)
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(Cancelled):
        merge(plan, tmp_path / "out", cancelled=asked.is_set)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_token_goes_to_the_hub_and_to_no_store(
    hub: LocalHub, client: HubClient, expected: dict[str, bytes]
) -> None:
    assert hub.asked(WEIGHTS)
    for request in hub.asked(WEIGHTS):
        assert "authorization" not in request.headers
    assert all(hub.token in r.headers["authorization"] for r in hub.asked("GET /acme/.*safetensors"))


def test_store_is_asked_once_for_each_part_over_few_connections(
    hub: LocalHub, client: HubClient, expected: dict[str, bytes]
) -> None:
    ranges_asked = [(r.path, r.headers["range"]) for r in hub.asked(WEIGHTS)]
    assert len(ranges_asked) == len(set(ranges_asked))
    assert len(hub.asked("resolve/.*safetensors")) < 4 * len(weights_of(hub, *NAMES))


IN_SMALL_PIECES = """
import sys
from merge_core.engine import output
from merge_core.streaming import inputs, pieces
from merge_core.__main__ import main
pieces.PIECE, pieces.CHUNK, inputs.LONGEST, output.COMMIT_BYTES = 1 << 14, 1 << 12, 1 << 13, 1
sys.exit(main())
"""


def journalled(journal: Path) -> set[Piece]:
    """The pieces that a journal names, as a merge that was killed finds them."""
    try:
        text = journal.read_bytes()
    except FileNotFoundError:
        return set()
    whole = text[: text.rfind(b"\n") + 1].splitlines()
    return {Piece(*numbers) for line in whole[1:] for numbers in json.loads(line)}


def tensors_merged(plan: MergePlan, done: set[Piece]) -> list[TensorPlan]:
    """The tensors of which all pieces are done; of any other, all has to be read again for its thresholds."""
    return [t for number, t in enumerate(plan.tensors) if done.issuperset(pieces_of(number, t))]


def weights_asked(hub: LocalHub) -> list[tuple[str, int, int]]:
    """(content, first byte, byte after the last) of what was asked of weight files, their headers not counted."""
    asked = [(r.path.rsplit("/", 1)[-1], r.headers["range"]) for r in hub.asked(WEIGHTS)]
    header = f"bytes=0-{FIRST_READ - 1}"
    parts = [
        (file, *map(int, span.removeprefix("bytes=").split("-"))) for file, span in asked if span != header
    ]
    return [(file, start, last + 1) for file, start, last in parts]


def test_killed_merge_goes_on_without_reading_again_what_it_had_merged(
    hub: LocalHub, client: HubClient, tmp_path: Path, expected: dict[str, bytes]
) -> None:
    (tmp_path / "recipe.yml").write_text(recipe_text(density=0.3))
    plan = prepare(recipe(density=0.3), client, stream=True)
    out, journal = tmp_path / "killed" / "out", tmp_path / "killed" / ".out.journal"
    command = [
        sys.executable,
        "-c",
        IN_SMALL_PIECES,
        "merge",
        str(tmp_path / "recipe.yml"),
        str(out),
        "--stream",
    ]
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(tmp_path / "hf"),
    }
    environment |= {"HF_TOKEN": hub.token, "TIEBREAK_HOME": str(tmp_path / "home")}
    kills = 0
    while not out.exists():
        done = journalled(journal)
        hub.forget()
        to_kill = kills < 3 or not tensors_merged(plan, done)
        if to_kill:
            hub.fail(WEIGHTS, delay=0.2)
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
            while to_kill and process.poll() is None:
                if journalled(journal) > done:
                    process.send_signal(signal.SIGKILL)
                    kills += 1
                    break
                time.sleep(0.005)  # the Hub answers in this process, too
            process.wait()
        assert process.returncode in (0, -signal.SIGKILL)
    assert kills >= 3
    merged = {
        (owner.contents[spec.file], spec.offset, spec.offset + spec.nbytes)
        for tensor in tensors_merged(plan, done)
        for owner, spec in rows_of(plan, tensor)
    }
    assert merged
    again = [
        (asked, known)
        for asked in weights_asked(hub)
        for known in merged
        if asked[0] == known[0] and asked[1] < known[2] and known[1] < asked[2]
    ]
    assert not again
    made = contents(out)
    card = "README.md"
    assert {k: v for k, v in made.items() if k != card} == {k: v for k, v in expected.items() if k != card}


def test_memory_stays_within_its_bound_whatever_the_models_size(hub: LocalHub, tmp_path: Path) -> None:
    from tests.checkpoints import write_model
    from tests.core.test_engine_memory import LAUNCHER

    rng = np.random.default_rng(2)
    peaks = []
    for name, shape in (("small", (3, 5)), ("large", (6000, 2500))):  # 60 MB in each of three models
        base = rng.standard_normal(shape, dtype=np.float32)
        for number in range(3):
            tuned = base if not number else base + rng.standard_normal(shape, dtype=np.float32) / 100
            made = write_model(tmp_path / name / str(number), {"a.weight": tuned, "b.weight": tuned[:2]})
            hub.add_model(f"{name}/{number}", made)
        models = "".join(f"  - {{model: {name}/{n}, parameters: {{weight: 1.0}}}}\n" for n in (1, 2))
        text = f"merge_method: ties\nbase_model: {name}/0\nparameters: {{density: 0.2}}\nmodels:\n{models}"
        (tmp_path / f"{name}.yml").write_text(text)
        command = ["-m", "merge_core", "merge", str(tmp_path / f"{name}.yml"), str(tmp_path / f"{name}-out")]
        environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf")}
        told = subprocess.run(
            [sys.executable, "-c", LAUNCHER, sys.executable, *command, "--memory", "100MB", "--stream"],
            check=True,
            capture_output=True,
            env={**environment, "TIEBREAK_HOME": str(tmp_path / "home")},
        )
        peaks.append(int(told.stdout))
    assert not list((tmp_path / "hf").rglob("*.safetensors"))
    assert peaks[1] - peaks[0] <= 100 * 10**6
