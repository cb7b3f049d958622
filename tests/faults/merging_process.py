"""A merge in a process of its own, ready to be killed: pieces and commits are small, so that there are many of them."""

from __future__ import annotations

from multiprocessing.connection import Connection
from pathlib import Path

from merge_core.engine import merge, output
from merge_core.kernels.warming import warm
from merge_core.prepare import prepare
from merge_core.recipe import read_recipe
from merge_core.streaming import pieces

pieces.PIECE = pieces.CHUNK = 1 << 15
output.COMMIT_BYTES = 1 << 18
warm()


def merge_here(recipe: str, out: Path, ready: Connection) -> None:
    """Say that the merge begins, merge, and say which share of it an earlier run had done."""
    ready.send("begins")
    made = merge(prepare(read_recipe(recipe)), out, threads=2)
    ready.send(made.resumed)
