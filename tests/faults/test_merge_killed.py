"""A merge killed at any instant goes on where it was, and its output is the same to the byte."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from merge_core.engine import merge
from merge_core.engine import output as output_module
from merge_core.engine.output import OutputFolder
from merge_core.errors import TryAgain, UserError
from merge_core.plan import FLOATS, MergePlan
from merge_core.prepare import prepare
from merge_core.progress import Cancelled
from merge_core.recipe import read_recipe
from merge_core.streaming import pieces as pieces_module
from merge_core.streaming.pieces import Piece
from tests.checkpoints import write_model
from tests.faults.merging_process import merge_here

KILLS = 20


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("models")
    rng = np.random.default_rng(0)
    base = {f"model.layers.{i}.w": rng.normal(0, 1, (400, 500)).astype(np.float32) for i in range(24)}
    paths = [write_model(folder / "base", base)]
    for number in range(2):
        tuned = {n: v + rng.standard_t(3, v.shape).astype(np.float32) for n, v in base.items()}
        paths.append(write_model(folder / f"tuned-{number}", tuned))
    return paths


def recipe_text(models: list[Path], **parameters: Any) -> str:
    entries = [{"model": str(path), "parameters": {"weight": 1.0}} for path in models[1:]]
    document = {"merge_method": "ties", "base_model": str(models[0]), "models": entries}
    return yaml.safe_dump({**document, "parameters": {"density": 0.3, **parameters}})


def contents(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


class Merging:
    """A merge under way in another process."""

    def __init__(self, recipe: str, out: Path) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["tests.faults.merging_process"])
        self._heard, told = context.Pipe(duplex=False)
        self._process = context.Process(target=merge_here, args=(recipe, out, told))
        self._process.start()
        told.close()
        assert self._heard.recv() == "begins"
        self.began = time.perf_counter()

    def kill(self) -> bool:
        """SIGKILL; true where that hit a merge under way."""
        self._process.kill()
        self._process.join()
        return self._process.exitcode == -signal.SIGKILL

    def finish(self) -> float:
        """The share that an earlier run had done."""
        share = self._heard.recv()
        self._process.join()
        assert self._process.exitcode == 0
        return float(share)


def lose_what_was_not_synchronised(partial: Path, plan: MergePlan) -> None:
    """As after a power loss: of the weight files, only bytes of pieces in the journal are what was written."""
    journal = partial.with_suffix(".journal")
    lines = journal.read_bytes().split(b"\n")[1:-1] if journal.exists() else []
    kept = [piece for line in lines for piece in json.loads(line)]
    for number, shard in enumerate(plan.shards):
        if not (partial / shard.file).exists():
            continue
        data = (partial / shard.file).read_bytes()
        lost = bytearray(b"\xa5" * len(data))
        for tensor, start, stop in kept:
            plan_of = plan.tensors[tensor]
            if plan_of.shard == number:
                width = FLOATS[plan_of.dtype]
                part = slice(plan_of.offset + start * width, plan_of.offset + stop * width)
                lost[part] = data[part]
        (partial / shard.file).write_bytes(lost)


@pytest.mark.parametrize("scope", ["tensor", "model"])
def test_killed_merge_resumes_to_identical_bytes(models: list[Path], tmp_path: Path, scope: str) -> None:
    recipe = recipe_text(models, trim_scope=scope)
    plan = prepare(read_recipe(recipe))
    Merging(recipe, tmp_path / "first").finish()
    timed = Merging(recipe, tmp_path / "whole")
    timed.finish()
    seconds = time.perf_counter() - timed.began
    expected = contents(tmp_path / "whole")
    assert contents(tmp_path / "first") == expected
    rng = np.random.default_rng(1)
    out, partial = tmp_path / "out", tmp_path / ".out.partial"
    kills = resumed = 0
    while kills < KILLS // 2 or (
        not resumed and kills < 2 * KILLS
    ):  # on a busy machine the first may come too early
        merging = Merging(recipe, out)
        time.sleep(rng.uniform(0, seconds))
        hit = merging.kill()
        kills += hit
        if out.exists():
            assert contents(out) == expected
            shutil.rmtree(out)
        elif partial.exists() and kills % 2:
            lose_what_was_not_synchronised(partial, plan)
        if partial.exists() and kills % 3 == 0:
            resumed += Merging(recipe, out).finish() > 0
            assert contents(out) == expected
            shutil.rmtree(out)
    Merging(recipe, out).finish()
    assert contents(out) == expected
    assert not partial.exists()
    assert resumed > 0


def killed_halfway(recipe: str, out: Path) -> None:
    """Leave a merge with something in its journal."""
    journal = out.parent / f".{out.name}.journal"
    for wait in range(200):
        merging = Merging(recipe, out)
        while not (journal.exists() and journal.read_bytes().count(b"\n") > 2) and not out.exists():
            time.sleep(0.001)
        if merging.kill() and journal.exists():
            return
        shutil.rmtree(out, ignore_errors=True)
        assert wait < 199


def test_a_changed_recipe_or_input_starts_over(models: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    killed_halfway(recipe_text(models), out)
    other = recipe_text(models, density=0.6)
    assert Merging(other, out).finish() == 0
    merge(prepare(read_recipe(other)), tmp_path / "expected")
    assert contents(out) == contents(tmp_path / "expected")

    copies = [Path(shutil.copytree(path, tmp_path / "copies" / path.name)) for path in models]
    recipe = recipe_text(copies)
    killed_halfway(recipe, tmp_path / "again")
    weights = copies[1] / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-2] ^= 0x3F  # another number, a file of the same size
    weights.write_bytes(data)
    assert Merging(recipe, tmp_path / "again").finish() == 0
    merge(prepare(read_recipe(recipe)), tmp_path / "changed")
    assert contents(tmp_path / "again") == contents(tmp_path / "changed")


@pytest.mark.parametrize("damage", [b"", b"[[0, 0,", b"[[0, 0, 32768]]\n{}\n", b"\xff\xfe\n"])
def test_a_torn_or_damaged_journal_never_spoils_the_output(
    models: list[Path], tmp_path: Path, damage: bytes
) -> None:
    recipe = recipe_text(models)
    out, partial, journal = (tmp_path / name for name in ("out", ".out.partial", ".out.journal"))
    killed_halfway(recipe, out)
    whole = journal.read_bytes()
    kept = damage == b"[[0, 0,"
    journal.write_bytes(
        whole + damage if kept else whole[: whole.index(b"\n") + 1] + damage if damage else b""
    )
    lose_what_was_not_synchronised(partial, prepare(read_recipe(recipe))) if kept else (
        partial / "model.safetensors"
    ).unlink()
    assert (Merging(recipe, out).finish() > 0) == kept
    merge(prepare(read_recipe(recipe)), tmp_path / "expected")
    assert contents(out) == contents(tmp_path / "expected")


def test_no_piece_is_in_the_journal_before_its_bytes_are_on_the_disk(
    models: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every write is followed by a synchronisation of its file before the journal that speaks of it is written."""
    monkeypatch.setattr(pieces_module, "PIECE", 1 << 15)
    monkeypatch.setattr(output_module, "COMMIT_BYTES", 1 << 18)
    recipe = recipe_text(models)
    plan = prepare(read_recipe(recipe))
    written: dict[int, int] = {}  # byte offset → bytes written since the last synchronisation
    synchronised: set[tuple[int, int]] = set()
    journalled = 0
    pwrite, fdatasync, durably = os.pwrite, os.fdatasync, output_module._write_durably

    def record_write(descriptor: int, data: Any, offset: int) -> int:
        count = pwrite(descriptor, data, offset)
        written[offset] = count
        return count

    def record_sync(descriptor: int) -> None:
        before = dict(written)
        fdatasync(descriptor)
        synchronised.update(before.items())

    def check(path: Path, content: bytes, mode: Any = "wb") -> None:
        nonlocal journalled
        if mode == "ab":
            for tensor, start, stop in json.loads(content):
                begin = plan.tensors[tensor].offset + 4 * start
                assert (begin, 4 * (stop - start)) in synchronised
                journalled += 1
        durably(path, content, mode)

    monkeypatch.setattr(os, "pwrite", record_write)
    monkeypatch.setattr(os, "fdatasync", record_sync)
    monkeypatch.setattr(output_module, "_write_durably", check)
    merge(plan, tmp_path / "out", threads=2)
    assert journalled == sum(len(pieces_module.pieces_of(i, t)) for i, t in enumerate(plan.tensors))


@pytest.mark.parametrize("moment", ["before", "after"])
def test_nobody_takes_the_folder_from_a_merge_that_gives_it_its_name(
    models: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    plan = prepare(read_recipe(recipe_text(models)))
    rename = os.rename
    refused: list[str] = []

    def second_merge() -> None:
        with pytest.raises(UserError) as caught:
            merge(plan, tmp_path / "out")
        refused.append(caught.value.message)

    def rename_beside_a_second_merge(source: Path, target: Path) -> None:
        if moment == "before":
            second_merge()
        rename(source, target)
        if moment == "after":
            second_merge()

    merge(plan, tmp_path / "expected")
    monkeypatch.setattr(os, "rename", rename_beside_a_second_merge)
    merge(plan, tmp_path / "out")
    assert len(refused) == 1
    assert contents(tmp_path / "out") == contents(tmp_path / "expected")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["expected", "out"]


def test_nobody_takes_the_folder_from_a_failed_merge_that_removes_it(
    models: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = prepare(read_recipe(recipe_text(models)))
    rmtree = shutil.rmtree

    def remove_beside_a_second_merge(path: Path, **options: Any) -> None:
        rmtree(path, **options)
        monkeypatch.setattr(shutil, "rmtree", rmtree)
        with pytest.raises(UserError, match="Another merge"):
            merge(plan, tmp_path / "out")

    monkeypatch.setattr(shutil, "rmtree", remove_beside_a_second_merge)
    with pytest.raises(Cancelled):
        merge(plan, tmp_path / "out", cancelled=lambda: True)
    assert shutil.rmtree is rmtree
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("named", [False, True])
def test_merge_killed_as_it_names_its_folder_loses_nothing(
    models: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    plan = prepare(read_recipe(recipe_text(models)))
    merge(plan, tmp_path / "expected")
    out, expected = tmp_path / "out", contents(tmp_path / "expected")
    rename = os.rename

    def die(source: Path, target: Path) -> None:
        if named:
            rename(source, target)
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", die)
        with pytest.raises(SystemExit):
            merge(plan, out)
    assert out.exists() == named
    if named:
        assert contents(out) == expected
        shutil.rmtree(out)
    assert merge(plan, out).resumed == (not named)
    assert contents(out) == expected
    assert sorted(path.name for path in tmp_path.iterdir()) == ["expected", "out"]


def test_merge_that_may_be_tried_again_is_forgotten_where_the_disk_has_no_room_for_its_journal(
    models: list[Path], tmp_path: Path
) -> None:
    output = OutputFolder(tmp_path / "out", prepare(read_recipe(recipe_text(models))))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def merge_in_vain() -> None:
        with output.open():
            output.finish(Piece(0, 0, 1000), 4000)
            resource.setrlimit(resource.RLIMIT_FSIZE, (1, before[1]))  # as on a disk that is full
            raise TryAgain("The Hub is out of reach.", "Try again later.")

    try:
        with pytest.raises(TryAgain) as caught:
            merge_in_vain()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert str(caught.value) == "The Hub is out of reach. Try again later."
    assert not list(tmp_path.iterdir())
