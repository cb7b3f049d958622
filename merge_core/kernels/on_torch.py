"""The kernels' meaning on torch tensors, for devices other than the processor. Only `--device` loads this."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from merge_core.kernels import disjoint, dropping
from merge_core.kernels.disjoint import Election
from merge_core.kernels.dtypes import MAGNITUDE

Tensor = Any


def magnitudes(vectors: Tensor) -> Tensor:
    """The bits of |x|, int32, which sort as |x| does."""
    return vectors.view(torch.int32) & int(MAGNITUDE)


def weighted_sum(vectors: Tensor, weights: Any, divisor: float) -> Tensor:
    """As `kernels.weighted_sum`."""
    total = torch.zeros_like(vectors[0], dtype=torch.float64)
    for vector, weight in zip(vectors, weights, strict=True):
        total += vector.double() * float(weight)
    return (total / divisor).float()


def drop(vectors: Tensor, keys: Any, start: int, density: Any, scale: Any) -> Tensor:
    """As `kernels.dropping`; torch has no unsigned shift, so the bits that a signed one drags in are masked away."""
    place = torch.arange(start + 1, start + vectors.shape[1] + 1, device=vectors.device)
    kept = torch.empty_like(vectors)
    for m, row in enumerate(vectors):
        z = place * _signed(dropping.GOLDEN) + _signed(keys[m])
        for shift, factor in zip(dropping.SHIFTS, (dropping.MIX_A, dropping.MIX_B, None), strict=True):
            z = z ^ _shifted(z, int(shift))
            z = z if factor is None else z * _signed(factor)
        survives = _shifted(z, int(dropping.BITS)) < int(density[m] * dropping.DRAWS)
        kept[m] = torch.where(survives, (row.double() * float(scale[m])).float(), 0.0)
    return kept


def _signed(word: Any) -> int:
    """The bits of a uint64 as torch's int64 has them."""
    return int(np.uint64(word).astype(np.int64))


def _shifted(z: Tensor, by: int) -> Tensor:
    return (z >> by) & ((1 << (64 - by)) - 1)


def disjoint_merge(
    tau: Tensor, ballot: Any, weight: Any, share: Any, election: Election
) -> tuple[Tensor, int]:
    """As `kernels.disjoint`, of task vectors whose trimmed entries are zero already."""
    zero = torch.zeros_like(tau[0], dtype=torch.float64)
    votes = [row.double() * float(b) for row, b in zip(tau, ballot, strict=True)]
    tally = zero.clone()
    for vote in votes:
        if election.vote == disjoint.VOTE_MASS:
            tally += vote
        elif election.vote == disjoint.VOTE_COUNT:
            tally += vote.sign()
        elif election.vote == disjoint.VOTE_SHARE:
            tally += vote * vote.abs()
        elif election.vote == disjoint.VOTE_LARGEST:
            tally = torch.where(vote.abs() > tally.abs(), vote, tally)
    signs = int(tally.sign().sum().item())
    elected = torch.where(tally == 0, float(election.tie), tally.sign())
    total, divisor = zero.clone(), zero.clone()
    for row, vote, w, part in zip(tau, votes, weight, share, strict=True):
        agree = vote != 0 if election.vote == disjoint.VOTE_NONE else vote.sign() * elected > 0
        value = torch.where(agree, row.double() * float(w), 0.0)
        if election.combine == disjoint.COMBINE_MAX:
            total = torch.where(value.abs() > total.abs(), value, total)
        else:
            total += value
        divisor += torch.where(agree, float(part), 0.0)
    if election.combine == disjoint.COMBINE_MEAN:
        total /= torch.where(divisor == 0, 1.0, divisor)
    return total.float(), signs


def add_to_base(base: Tensor, tau: Tensor) -> Tensor:
    """As `kernels.vectors.add_to_base`."""
    return torch.where(tau == 0, base, base + tau)
