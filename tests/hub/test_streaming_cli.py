"""Models that a disk has no room for, through the command line: what is said, and what fits on a real small disk."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import constants

from merge_core.__main__ import main
from merge_core.prepare.needs import SPARE
from tests.checkpoints import read_model, write_model
from tests.hub.family import NAMES, contents, put_on, recipe_text, weights_of
from tests.hub.server import LocalHub
from tests.tiny_models import bert, write_probe

ROOT = Path(__file__).parents[2]
Usage = namedtuple("Usage", "total used free")


@pytest.fixture(autouse=True)
def machine(hub: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of ada's that uses the local Hub."""
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.removeprefix(constants.ENDPOINT)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + template)
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setenv("HF_TOKEN", hub.token)
    monkeypatch.setenv("TIEBREAK_HOME", str(tmp_path / "home"))


@pytest.fixture
def recipe(hub: LocalHub, tmp_path: Path) -> Path:
    put_on(hub, tmp_path / "models")
    (tmp_path / "recipe.yml").write_text(recipe_text(density=0.3))
    return tmp_path / "recipe.yml"


def leave(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**12, 0, SPARE + free))


def test_check_says_that_a_merge_will_stream_and_how_much(
    recipe: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    leave(monkeypatch, 1_000_000)
    assert main(["check", str(recipe)]) == 0
    said = capsys.readouterr().out
    assert (
        "streams: about 1.9 MB from the Hub while it merges; the disk has no room to download 1.9 MB" in said
    )
    assert "downloads: " in said.split("streams: ")[1]  # the small files


def test_check_says_that_a_merge_will_download_where_there_is_room(
    recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", str(recipe)]) == 0
    said = capsys.readouterr().out
    assert "downloads: 1.9 MB" in said
    assert "streams" not in said


def test_merge_streams_by_itself_where_its_models_have_no_room_and_says_so(
    hub: LocalHub,
    recipe: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["merge", str(recipe), str(tmp_path / "whole")]) == 0
    shutil.rmtree(constants.HF_HUB_CACHE)
    leave(monkeypatch, 1_000_000)
    capsys.readouterr()
    assert main(["merge", str(recipe), str(tmp_path / "streamed")]) == 0
    said = capsys.readouterr()
    assert "note: 1.9 MB of weights of 4 models are read from the Hub where they lie" in said.err
    assert said.out.endswith("read 1.9 MB from the Hub: 8 of 8 files match the hashes it lists\n")
    monkeypatch.undo()
    assert contents(tmp_path / "streamed") == contents(tmp_path / "whole")


def test_inspection_streams_by_itself_and_shows_the_same(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    leave(monkeypatch, 1_000_000)
    monkeypatch.setenv("TIEBREAK_HOME", str(tmp_path / "first"))
    assert main(["inspect", str(recipe)]) == 0
    streamed = capsys.readouterr()
    assert "note: 1.9 MB of weights of 4 models are read from the Hub where they lie" in streamed.err
    assert not list(Path(constants.HF_HUB_CACHE).rglob("*.safetensors"))
    leave(monkeypatch, 10**12)
    monkeypatch.setenv("TIEBREAK_HOME", str(tmp_path / "second"))
    assert main(["inspect", str(recipe)]) == 0
    assert capsys.readouterr().out == streamed.out


def test_merge_has_no_room_itself(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    leave(monkeypatch, 100_000)
    assert main(["merge", str(recipe), str(tmp_path / "out")]) == 2
    assert "error: No space" in capsys.readouterr().err
    assert not list(tmp_path.glob("*out*"))


def test_merge_that_streams_measures_itself_and_not_its_parents(
    hub: LocalHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in NAMES:
        hub.add_model(f"acme/{name}", bert(tmp_path / name))
    (tmp_path / "recipe.yml").write_text(recipe_text("task_arithmetic"))
    header = {"probe": "films", "kind": "text-classification", "labels": ["good", "bad"]}
    probe = write_probe(tmp_path / "films.jsonl", header, [{"text": "a fine film", "label": "good"}] * 4)
    command = [
        "merge",
        str(tmp_path / "recipe.yml"),
        str(tmp_path / "out"),
        "--probe",
        str(probe),
        "--stream",
    ]
    capsys.readouterr()
    assert main(command) == 0
    said = capsys.readouterr()
    rows = [line for line in said.out.splitlines() if "films" in line]
    assert [row.split()[0] for row in rows] == ["merge"]
    named = "acme/base, acme/code, acme/math and acme/chat"
    assert f"note: {named} stay on the Hub and are not measured, only the merge is.\n" in said.err


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 150 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=150m", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("this account cannot make a file system")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_disk_that_is_too_small_for_the_models_is_large_enough_for_their_merge(
    hub: LocalHub, tmp_path: Path, small_disk: Path
) -> None:
    rng = np.random.default_rng(1)
    base = rng.standard_normal((4, 1500, 1500), dtype=np.float32)
    tensors = {}
    for number in range(4):  # 36 MB each: two of them and what is left free would fill the disk
        tuned = base if not number else base + rng.standard_normal(base.shape, dtype=np.float32) / 100
        tensors[number] = {f"layers.{n}.weight": tuned[n] for n in range(4)}
        hub.add_model(f"acme/{number}", write_model(tmp_path / str(number), tensors[number]))
    models = "".join(f"  - {{model: acme/{n}, parameters: {{weight: 0.5}}}}\n" for n in (1, 2, 3))
    recipe = tmp_path / "recipe.yml"
    recipe.write_text(f"merge_method: task_arithmetic\nbase_model: acme/0\nmodels:\n{models}")
    environment = {**os.environ, "HF_ENDPOINT": hub.url, "PYTHONPATH": str(ROOT)}
    environment |= {"HF_HOME": str(small_disk / "hf"), "TIEBREAK_HOME": str(small_disk / "home")}
    done = subprocess.run(
        [sys.executable, "-m", "merge_core", "merge", str(recipe), str(small_disk / "out")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, "4 of 4 files match" in done.stdout) == (0, True), done.stderr
    merged = read_model(small_disk / "out")
    for name in tensors[0]:
        moved = sum(tensors[n][name].astype(np.float64) - tensors[0][name] for n in (1, 2, 3))
        np.testing.assert_allclose(merged[name].numpy(), tensors[0][name] + 0.5 * moved, atol=1e-5)
    assert sum(weights_of(hub, "0", "1", "2", "3").values()) > shutil.disk_usage(small_disk).total - SPARE
