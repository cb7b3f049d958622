"""Running counts of a tensor's elections → what the report tells of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from merge_core.interference.report import COARSE_STEP, TensorElections
from merge_core.kernels.elections import BINS, count_elections
from merge_core.kernels.onset import LEVELS, NEVER

Array = np.ndarray[Any, np.dtype[Any]]

BIAS = 127  # of a float32's exponent


class ElectionTally:
    """Survivors, their mass and energy, and who is outvoted, of one tensor; see `kernels.elections`."""

    def __init__(self, models: int) -> None:
        self._kept = np.zeros((models, NEVER + 1), np.int64)
        self._sums = np.zeros((2, models, NEVER + 1))
        self._outvoted = np.zeros((2, models, NEVER + 1))
        self._magnitudes = np.zeros((models, BINS), np.int64)

    def add(self, level: Array, vectors: Array, sign: Array) -> None:
        """Count a chunk: levels uint8 [models, n], task vectors float32 [models, n], signs of the weights [models]."""
        count_elections(level, vectors, sign, self._kept, self._sums, self._outvoted, self._magnitudes)

    def told(self, listed: Sequence[int]) -> TensorElections:
        """What was counted, of the models `listed`, at every fifth density."""
        order = list(listed)
        occupied = np.flatnonzero(self._magnitudes.any(axis=0))
        first, last = (int(occupied[0]), int(occupied[-1])) if occupied.size else (0, 0)
        return TensorElections(
            kept=_rows(_reached(self._kept[order])),
            kept_mass=_rows(_reached(self._sums[0, order])),
            kept_energy=_rows(_reached(self._sums[1, order])),
            # Differences of sums can leave a trace below zero where nothing is left.
            outvoted_by_mass=_rows(np.maximum(_reached(self._outvoted[0, order]), 0)),
            outvoted_by_count=_rows(np.maximum(_reached(self._outvoted[1, order]), 0)),
            lowest=first - BIAS,
            magnitudes=_rows(self._magnitudes[order, first : last + 1]),
        )


def _reached(changes: Array) -> Array:
    """Changes by level → what holds at every fifth density."""
    return np.cumsum(changes[:, :LEVELS], axis=1)[:, COARSE_STEP - 1 :: COARSE_STEP]


def _rows(values: Array) -> tuple[tuple[Any, ...], ...]:
    """Whole numbers as they are, sums to seven digits: what a report is worth sending with."""
    return tuple(
        tuple(v if isinstance(v, int) else float(f"{v:.7g}") for v in row) for row in values.tolist()
    )
