"""A merge in one sweep by guessed thresholds has the bytes of one that ranks first, however it guesses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import merge_core.engine.merging as engine_module
import merge_core.trimming.guess as guess_module
import merge_core.trimming.thresholds as thresholds_module
from merge_core.engine import merge
from merge_core.prepare import prepare
from merge_core.recipe import read_recipe
from merge_core.streaming import pieces as pieces_module
from merge_core.trimming.guess import Guess
from tests.core.test_engine import family, recipe_text, weight_bytes, write_model

SHAPES = {"a.weight": (150, 200), "b.weight": (200, 99), "c.bias": (7,), "none": (0, 3)}


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Small chunks and pieces, guesses even for small tensors, and a list that gets what each guess came to."""
    monkeypatch.setattr(pieces_module, "CHUNK", 64)
    monkeypatch.setattr(pieces_module, "PIECE", 5000)
    monkeypatch.setattr(thresholds_module, "SMALL_SCOPE", 1024)
    outcomes: list[Any] = []
    settle = engine_module.settle

    def spy(*arguments: Any) -> Any:
        outcomes.append(settle(*arguments))
        return outcomes[-1]

    monkeypatch.setattr(engine_module, "settle", spy)
    return outcomes


def merged(text: str, out: Path, threads: int = 2) -> dict[str, bytes]:
    merge(prepare(read_recipe(text)), out, threads=threads)
    return weight_bytes(out)


def ranked_first(text: str, out: Path) -> dict[str, bytes]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine_module, "guess_thresholds", lambda _: None)
        return merged(text, out)


@pytest.mark.parametrize("scope", ["tensor", "model"])
@pytest.mark.parametrize("dialect", ["mergekit", "peft", "sd-mecha"])
@pytest.mark.parametrize("density", [0.1, 0.33, 0.8])
def test_a_guess_merges_what_ranking_first_does(
    tmp_path: Path, settled: list[Any], scope: str, dialect: str, density: float
) -> None:
    paths = family(tmp_path, "bfloat16", shapes=SHAPES)
    text = recipe_text(paths, dialect=dialect, trim_scope=scope, density=density)
    expected = ranked_first(text, tmp_path / "expected")
    assert not settled
    assert merged(text, tmp_path / "one", threads=1) == expected
    assert merged(text, tmp_path / "two", threads=2) == expected


def test_most_guesses_are_right_where_magnitudes_repeat(tmp_path: Path, settled: list[Any]) -> None:
    paths = family(tmp_path, "bfloat16", shapes={"w": (200, 200)})
    for percent in range(10, 90, 5):
        merged(recipe_text(paths, density=percent / 100), tmp_path / f"out-{percent}")
    right = [outcome for outcome in settled if outcome is not None]
    assert len(right) > len(settled) / 2 > 1
    assert any(again for _, again in right)


@pytest.mark.parametrize("end", [0, 7000, 1 << 30])
@pytest.mark.parametrize("scope", ["tensor", "model"])
def test_equals_that_were_guessed_to_end_elsewhere_are_merged_again(
    tmp_path: Path, settled: list[Any], monkeypatch: pytest.MonkeyPatch, end: int, scope: str
) -> None:
    paths = family(tmp_path, "bfloat16", shapes=SHAPES)
    text = recipe_text(paths, trim_scope=scope, density=0.28)
    expected = ranked_first(text, tmp_path / "expected")
    guess = engine_module.guess_thresholds

    def elsewhere(ranking: Any) -> Guess | None:
        found = guess(ranking)
        return found and replace(found, ends=np.full_like(found.ends, end))

    monkeypatch.setattr(engine_module, "guess_thresholds", elsewhere)
    assert merged(text, tmp_path / "out") == expected
    assert any(outcome is not None and outcome[1] for outcome in settled)


@pytest.mark.parametrize("off", [-1, 1])
@pytest.mark.parametrize("scope", ["tensor", "model"])
def test_a_magnitude_that_was_guessed_wrong_costs_a_sweep_and_changes_nothing(
    tmp_path: Path, settled: list[Any], monkeypatch: pytest.MonkeyPatch, off: int, scope: str
) -> None:
    paths = family(tmp_path, "bfloat16", shapes=SHAPES)
    text = recipe_text(paths, trim_scope=scope, density=0.28)
    expected = ranked_first(text, tmp_path / "expected")
    guess = engine_module.guess_thresholds

    def wrong(ranking: Any) -> Guess | None:
        found = guess(ranking)
        return found and replace(found, patterns=(found.patterns.astype(np.int64) + off).astype(np.uint32))

    monkeypatch.setattr(engine_module, "guess_thresholds", wrong)
    told: list[float] = []
    merge(prepare(read_recipe(text)), tmp_path / "out", progress=lambda p: told.append(p.done / p.total))
    assert weight_bytes(tmp_path / "out") == expected
    assert settled
    assert all(outcome is None for outcome in settled)
    assert told[-1] == 1
    assert max(told) <= 1


def test_no_guess_is_made_where_magnitudes_are_all_different(tmp_path: Path, settled: list[Any]) -> None:
    rng = np.random.default_rng(1)
    base = rng.normal(size=(60, 60)).astype(np.float32)
    paths = [write_model(tmp_path / "base", {"w": base})]
    paths += [
        write_model(tmp_path / f"{i}", {"w": base + rng.normal(size=base.shape).astype(np.float32) / 100})
        for i in range(2)
    ]
    merged(recipe_text(paths, density=0.3), tmp_path / "out")
    assert not settled


@pytest.fixture
def votes_settled(settled: list[Any], monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """As `settled`, for guesses under which a majority is counted."""
    outcomes: list[Any] = []
    settle = guess_module.settle

    def spy(*arguments: Any) -> Any:
        outcomes.append(settle(*arguments))
        return outcomes[-1]

    monkeypatch.setattr(guess_module, "settle", spy)
    return outcomes


@pytest.mark.parametrize("off", [0, -1, 1])
@pytest.mark.parametrize("scope", ["tensor", "model"])
@pytest.mark.parametrize("dialect", ["paper", "fusionbench"])
def test_a_majority_counted_by_a_guess_is_the_one_counted_after_ranking(
    tmp_path: Path,
    votes_settled: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    dialect: str,
    scope: str,
    off: int,
) -> None:
    paths = family(tmp_path, "bfloat16", shapes=SHAPES)
    text = recipe_text(paths, dialect=dialect, trim_scope=scope, density=0.28)
    guess = guess_module.guess_thresholds

    def perhaps_wrong(ranking: Any) -> Guess | None:
        found = guess(ranking)
        return found and replace(found, patterns=(found.patterns.astype(np.int64) + off).astype(np.uint32))

    monkeypatch.setattr(guess_module, "guess_thresholds", lambda _: None)
    expected = merged(text, tmp_path / "expected")
    assert not votes_settled
    monkeypatch.setattr(guess_module, "guess_thresholds", perhaps_wrong)
    assert merged(text, tmp_path / "one", threads=1) == expected
    assert merged(text, tmp_path / "two", threads=2) == expected
    assert votes_settled
    assert all((outcome is None) == (off != 0) for outcome in votes_settled)
