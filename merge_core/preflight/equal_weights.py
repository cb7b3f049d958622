"""Whether two models hold the same weights, told by the hashes that the Hub lists of their files.

Where both are on this machine, it is told by reading no more of them than it takes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from merge_core.checkpoint import Checkpoint, TensorSpec

GLANCE = (
    1 << 12
)  # bytes of each tensor that are compared first: two models that differ nearly always do so here
CHUNK = 1 << 20


def same_weights(a: Checkpoint, b: Checkpoint) -> bool:
    """True where both models have the same tensors with the same bytes. False where that cannot be known."""
    if a.identity == b.identity:
        return True
    if a.adapted is not None or b.adapted is not None:  # told apart by what they are made of
        return False
    if (files := _file_hashes(a)) and files == _file_hashes(b):
        return True
    if a.root is None or b.root is None or a.specs.keys() != b.specs.keys():
        return False
    pairs = [(a.specs[name], b.specs[name]) for name in a.specs]
    if any((x.dtype, x.shape) != (y.dtype, y.shape) for x, y in pairs):
        return False
    try:
        with ExitStack() as opened:
            mine, theirs = _Files(a, opened), _Files(b, opened)
            glances = ((x, y, 0, min(x.nbytes, GLANCE)) for x, y in pairs)
            rest = ((x, y, start, stop) for x, y in pairs for start, stop in _chunks(x.nbytes))
            return all(
                mine.read(x, start, stop) == theirs.read(y, start, stop)
                for part in (glances, rest)
                for x, y, start, stop in part
            )
    except OSError:  # whoever reads the weights in earnest will say what is wrong with them
        return False


def _file_hashes(checkpoint: Checkpoint) -> list[str]:
    """What the Hub says of the content of each weight file; empty where it does not say it of all."""
    found = [checkpoint.contents.get(file, "") for file in {s.file for s in checkpoint.specs.values()}]
    return sorted(found) if all(found) else []


def _chunks(nbytes: int) -> Iterator[tuple[int, int]]:
    return ((start, min(start + CHUNK, nbytes)) for start in range(0, nbytes, CHUNK))


class _Files:
    """A checkpoint's weight files, opened as they are needed and closed with `opened`."""

    def __init__(self, checkpoint: Checkpoint, opened: ExitStack) -> None:
        self._checkpoint = checkpoint
        self._opened = opened
        self._descriptors: dict[Path, int] = {}

    def read(self, spec: TensorSpec, start: int, stop: int) -> bytes:
        """Bytes `start` to `stop` of a tensor."""
        path = self._checkpoint.path(spec)
        if path not in self._descriptors:
            self._descriptors[path] = self._opened.enter_context(path.open("rb")).fileno()
        return os.pread(self._descriptors[path], stop - start, spec.offset + start)
