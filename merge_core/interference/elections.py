"""Running counts of a tensor's elections → what the report tells of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from merge_core.interference.report import COARSE_STEP, TensorElections
from merge_core.kernels.onset import LEVELS
from merge_core.kernels.tally import Tally

Array = np.ndarray[Any, np.dtype[Any]]

BIAS = 127  # of a float32's exponent


def told_elections(tally: Tally, listed: Sequence[int]) -> TensorElections:
    """What was counted of the models `listed`, at every fifth density; see `kernels.elections`."""
    order = list(listed)
    occupied = np.flatnonzero(tally.magnitudes.any(axis=0))
    first, last = (int(occupied[0]), int(occupied[-1])) if occupied.size else (0, 0)
    return TensorElections(
        kept=_rows(_reached(tally.kept[order])),
        kept_mass=_rows(_reached(tally.sums[0, order])),
        kept_energy=_rows(_reached(tally.sums[1, order])),
        # Differences of sums can leave a trace below zero where nothing is left.
        outvoted_by_mass=_rows(np.maximum(_reached(tally.outvoted[0, order]), 0)),
        outvoted_by_count=_rows(np.maximum(_reached(tally.outvoted[1, order]), 0)),
        lowest=first - BIAS,
        magnitudes=_rows(tally.magnitudes[order, first : last + 1]),
    )


def _reached(changes: Array) -> Array:
    """Changes by level → what holds at every fifth density."""
    return np.cumsum(changes[:, :LEVELS], axis=1)[:, COARSE_STEP - 1 :: COARSE_STEP]


def _rows(values: Array) -> tuple[tuple[Any, ...], ...]:
    """Whole numbers as they are, sums to seven digits: what a report is worth sending with."""
    return tuple(
        tuple(v if isinstance(v, int) else float(f"{v:.7g}") for v in row) for row in values.tolist()
    )
