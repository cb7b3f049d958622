"""What a method that draws at random is told, so that its draws depend on the recipe and on nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Draw:
    """Where a run of entries lies.

    Args:
        tensor: the tensor's name.
        models: the models' names, in the order of the vectors.
        start: place of the run's first entry in the tensor.
    """

    tensor: str
    models: tuple[str, ...]
    start: int

    def keys(self, seed: int) -> Array:
        """uint64 [models]: a number for this seed and tensor and each model, whatever the order of the models."""
        return _keys(int(seed), self.tensor, self.models)


def _keys(seed: int, tensor: str, models: Sequence[str]) -> Array:
    digests = [hashlib.blake2b(f"{seed}\n{tensor}\n{name}".encode(), digest_size=8) for name in models]
    return np.array([int.from_bytes(d.digest(), "little") for d in digests], np.uint64)
