"""How a method says that task vectors are trimmed before it sees them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from merge_core.methods.voting import Voting

Array = np.ndarray[Any, np.dtype[Any]]
Scope = Literal["tensor", "model"]


@dataclass(frozen=True)
class Trimmed:
    """What is known about the trimmed task vectors of one scope, per model.

    Args:
        threshold: uint32 [models]; an entry survives if the bits of |τ| are at least this.
        mass: float64 [models], Σ|τ| over the scope before the trim. Only where the rule asks for moments; else 0.
        kept_mass: float64 [models], Σ|τ̂|, likewise.
        kept_energy: float64 [models], Σ τ̂², likewise.
        majority: sign of the sum of all elected signs of the scope: +1, 0 or −1. 0 unless the rule asks for votes.
    """

    threshold: Array
    mass: Array
    kept_mass: Array
    kept_energy: Array
    majority: int = 0


@dataclass(frozen=True)
class TrimRule:
    """Keep the largest magnitudes of each task vector.

    Args:
        scope: within what the magnitudes are ranked.
        density: float64 [models], share that is kept.
        kept: (entries in the scope, density) → how many are kept.
        keep_equal: keep all that equal the smallest kept magnitude; else exactly `kept`, those of lowest flat index.
        voting: how the signs of what is kept are elected.
        moments: whether the method reads `mass`, `kept_mass` or `kept_energy`.
        votes: (tau [models, n], Trimmed) → sum of elected signs, where the method reads `majority`.
    """

    scope: Scope
    density: Array
    kept: Callable[[int, float], int]
    keep_equal: bool
    voting: Voting = field(compare=False)
    moments: bool = False
    votes: Callable[[Array, Trimmed], int] | None = field(default=None, compare=False)
