"""How the signs of trimmed task vectors are elected: what a method declares, merges and inspections reckon with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from merge_core.kernels import disjoint

Array = np.ndarray[Any, np.dtype[Any]]

MAJORITY = (
    2  # elected where a vote is zero: the majority of all signs elected in the scope, until that is known
)


@dataclass(frozen=True)
class Voting:
    """One election per entry.

    Args:
        vote: one of `kernels.disjoint.VOTE_…`.
        tie: the sign elected where the vote is zero; 0 drops the entry, `MAJORITY` is of the whole scope.
        weight: float64 [models], what a model's entries are multiplied by in the election.
        rescale: whether a task vector's L1 norm is restored after the trim and before the vote.
    """

    vote: int
    tie: int
    weight: Array
    rescale: bool

    @property
    def sign(self) -> Array:
        """float32 [models]: −1 for a model that votes against its own changes, 0 for one that does not vote."""
        return np.sign(self.weight).astype(np.float32)

    @property
    def asks_moments(self) -> bool:
        """Whether what a model's vote counts depends on what the trim leaves of it."""
        return self.rescale or self.vote in (disjoint.VOTE_LARGEST, disjoint.VOTE_SHARE)

    def ballot(self, mass: Array, kept_mass: Array, kept_energy: Array) -> Array:
        """float64 [models]: what a model's entry is multiplied by in the election.

        Args:
            mass, kept_mass, kept_energy: float64 [models], Σ|τ|, Σ|τ̂| and Σ τ̂² over the scope.
        """
        if self.vote in (disjoint.VOTE_LARGEST, disjoint.VOTE_SHARE):
            # A stretch multiplies an entry and its vector's norm alike, so it changes no share of that norm.
            return self.weight / np.sqrt(np.where(kept_energy > 0, kept_energy, 1.0))
        value: Array = self.weight * self.stretch(mass, kept_mass)
        return value

    def stretch(self, mass: Array, kept_mass: Array) -> Array:
        """float64 [models]: restores each task vector's L1 norm after the trim, if asked; arguments as for `ballot`."""
        if not self.rescale:
            return np.ones_like(kept_mass)
        return np.where(kept_mass > 0, mass / np.where(kept_mass > 0, kept_mass, 1.0), 1.0)
