"""Running counts of a tensor's elections → what the report tells of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from merge_core.interference.report import TensorElections
from merge_core.kernels import disjoint
from merge_core.kernels.elections import EVERY, LOST, NO_ELECTION, STEPS, TIED_MINUS, TIED_PLUS, Ballots
from merge_core.kernels.onset import LEVELS
from merge_core.kernels.tally import Tally
from merge_core.methods.voting import MAJORITY, Voting

Array = np.ndarray[Any, np.dtype[Any]]

BIAS = 127  # of a float32's exponent


def moments_of(tallies: Sequence[Tally]) -> Array:
    """Σ|τ|, and by step Σ|τ̂| and Σ τ̂², over the tensors of a trim scope: float64 [3, models, STEPS]."""
    mass, energy = np.sum([tally.sums for tally in tallies], axis=0)
    whole = np.repeat(mass.sum(axis=1)[:, None], STEPS, axis=1)
    return np.stack([whole, _reached(mass), _reached(energy)])


def elected_of(tallies: Sequence[Tally]) -> Array:
    """Sum of the signs elected in a trim scope, by step: int64 [STEPS]."""
    return np.asarray(np.cumsum(np.sum([tally.elected for tally in tallies], axis=0)))


def ballots_of(voting: Voting, moments: Array) -> Ballots:
    """How elections are held; `moments` of the trim scope, which do not matter unless the voting asks for them."""
    if voting.vote == disjoint.VOTE_NONE:
        return NO_ELECTION
    each = np.stack([voting.ballot(*moments[:, :, step]) for step in range(STEPS)], axis=1)
    return Ballots(np.ascontiguousarray(each), voting.vote, voting.asks_moments)


def told_elections(
    tally: Tally, voting: Voting, listed: Sequence[int], elected: Array, moments: Array
) -> TensorElections:
    """What was counted of one tensor at every fifth density.

    Args:
        tally: the tensor's; see `kernels.elections`.
        voting: how its elections were held.
        listed: which models are told of.
        elected, moments: of the trim scope, see `elected_of` and `moments_of`.
    """
    order = list(listed)
    occupied = np.flatnonzero(tally.magnitudes.any(axis=0))
    first, last = (int(occupied[0]), int(occupied[-1])) if occupied.size else (0, 0)
    stretch = voting.stretch(moments[0], moments[1])
    return TensorElections(
        election=disjoint.VOTES[voting.vote],
        kept=_rows(_reached(tally.kept[order])),
        kept_mass=_rows((_reached(tally.sums[0]) * stretch)[order]),
        kept_energy=_rows(_reached(tally.sums[1, order])),
        outvoted=_rows((_outvoted(tally, voting.tie, elected) * stretch)[order]),
        lowest=first - BIAS,
        magnitudes=_rows(tally.magnitudes[order, first : last + 1]),
    )


def _outvoted(tally: Tally, tie: int, elected: Array) -> Array:
    """Σ|τ̂| of the survivors that lose, ties included: float64 [models, STEPS]."""
    # A majority of exactly 0 leaves the sign at 0, and with that the paper's code lets the negative entries agree.
    signs = np.where(elected > 0, 1, -1) if tie == MAJORITY else np.full(STEPS, tie)
    fates = np.cumsum(tally.fates, axis=2)
    plus = np.where(signs <= 0, fates[TIED_PLUS], 0)
    minus = np.where(signs >= 0, fates[TIED_MINUS], 0)
    # Differences of sums can leave a trace below zero where nothing is left.
    return np.asarray(np.maximum(fates[LOST] + plus + minus, 0))


def _reached(changes: Array) -> Array:
    """Changes by level → what holds at every fifth density."""
    return np.cumsum(changes[:, :LEVELS], axis=1)[:, EVERY - 1 :: EVERY]


def _rows(values: Array) -> tuple[tuple[Any, ...], ...]:
    """Whole numbers as they are, sums to seven digits: what a report is worth sending with."""
    return tuple(
        tuple(v if isinstance(v, int) else float(f"{v:.7g}") for v in row) for row in values.tolist()
    )
