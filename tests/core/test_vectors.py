"""Chunks of task vectors are those of the piece that was asked for, whatever was read before."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from merge_core.prepare import prepare
from merge_core.recipe import read_recipe
from merge_core.streaming import pieces as pieces_module
from merge_core.streaming.budget import Budget
from merge_core.streaming.pieces import Piece
from merge_core.streaming.vectors import VectorReader
from tests.checkpoints import write_model
from tests.core.test_engine import recipe_text


def test_a_piece_of_one_chunk_is_read_again_after_another_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces_module, "CHUNK", 10)
    base = {"large": np.zeros(30, np.float32), "small": np.zeros(10, np.float32)}
    tuned = {"large": np.arange(30, dtype=np.float32), "small": -np.arange(10, dtype=np.float32)}
    paths = [write_model(tmp_path / "base", base), write_model(tmp_path / "tuned", tuned)]
    reader = VectorReader(prepare(read_recipe(recipe_text(paths, density=0.5))), Budget())
    large, small = Piece(0, 0, 30), Piece(1, 0, 10)

    def read(piece: Piece) -> list[float]:
        return [value for chunk in reader.chunks(piece) for value in chunk.vectors[0].tolist()]

    under_way = reader.chunks(large)
    assert next(under_way).vectors[0].tolist() == tuned["large"][:10].tolist()
    assert read(small) == tuned["small"].tolist()
    assert next(under_way).vectors[0].tolist() == tuned["large"][10:20].tolist()
    assert read(small) == tuned["small"].tolist()
    assert read(small) == tuned["small"].tolist()
    assert read(large) == tuned["large"].tolist()
