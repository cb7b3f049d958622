"""A folder that other libraries can open, for what has none of its own: a model with an adapter applied."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from merge_core.checkpoint import Checkpoint
from merge_core.engine import merge
from merge_core.plan import make_plan
from merge_core.progress import CancelCheck
from merge_core.recipe import ModelRef, build_recipe


@contextmanager
def whole_folder(
    checkpoint: Checkpoint, beside: Path, cancelled: CancelCheck | None = None
) -> Iterator[Path]:
    """The checkpoint's folder; for an adapted model one that lives as long as the block.

    Args:
        checkpoint: on this machine.
        beside: the folder in which a temporary one is made.
        cancelled: asked while it is made.
    """
    if checkpoint.adapted is None:
        assert checkpoint.root is not None, f"{checkpoint.ref} has not been downloaded"
        yield checkpoint.root
        return
    ref = ModelRef.parse(checkpoint.ref)
    plan = make_plan(build_recipe("linear", None, [(ref, {"weight": 1.0})]), {ref: checkpoint})
    beside.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".adapted-", dir=beside) as folder:
        yield merge(plan, Path(folder) / "model", cancelled=cancelled).folder
