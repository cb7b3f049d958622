"""What chance alone gives: the counts to expect where task vectors share no information."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Chance:
    """Expected shares of all entries, one per density.

    Args:
        touched: at least one model's entry survives the trim.
        contested: at least two do.
        conflicted: survivors of both signs meet.
    """

    touched: tuple[float, ...]
    contested: tuple[float, ...]
    conflicted: tuple[float, ...]


def chance(models: int, densities: Sequence[float]) -> Chance:
    """The null beside which every count is read.

    Each of `models` task vectors keeps each entry with probability q, with either sign alike, independently of the
    others. No conflict means that no survivor is negative or none is positive, (1 − q/2)^T each, of which (1 − q)^T is
    both.

    Args:
        models: T, how many task vectors.
        densities: q, each in 0..1.
    """
    none = [(1 - q) ** models for q in densities]
    one = [models * q * (1 - q) ** max(models - 1, 0) for q in densities]
    one_sided = [(1 - q / 2) ** models for q in densities]
    return Chance(
        touched=tuple(1 - n for n in none),
        contested=tuple(max(0.0, 1 - n - o) for n, o in zip(none, one, strict=True)),
        conflicted=tuple(max(0.0, 1 - 2 * s + n) for s, n in zip(one_sided, none, strict=True)),
    )
