"""The samples of all tensors → how alike the models are and how far they moved, with 95 % intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from merge_core.interference.report import ModelNorm, PairAgreement
from merge_core.interference.sampling.intervals import student
from merge_core.interference.sampling.reading import SampledTensor
from merge_core.interference.sampling.spread import WIDER
from merge_core.plan import MergePlan

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Sums:
    """Sums over each block of one tensor's sample.

    Args:
        products: float64 [blocks, models + 1, models + 1], inner products; the base comes last.
        same: int64 [blocks, models, models], entries where both are nonzero and of one sign.
        both: int64 [blocks, models, models], entries where both are nonzero.
        entries: in the sample.
        numel: of the tensor.
    """

    products: Array
    same: Array
    both: Array
    entries: int
    numel: int


def sum_blocks(sample: SampledTensor) -> Sums:
    """The sums of one tensor's sample."""
    rows = np.concatenate([sample.vectors, sample.base[None]]).astype(np.float64)
    signs = np.sign(sample.vectors).astype(np.float32)
    sizes = sample.sampled.sizes
    ends = np.cumsum(sizes)
    products, same, both = [], [], []
    for start, stop in zip((ends - sizes).tolist(), ends.tolist(), strict=True):
        part, sign = rows[:, start:stop], signs[:, start:stop]
        present = np.abs(sign)
        met = np.rint(present @ present.T).astype(np.int64)
        both.append(met)
        same.append(
            (met + np.rint(sign @ sign.T).astype(np.int64)) // 2
        )  # the product counts same − opposite
        products.append(part @ part.T)
    return Sums(
        np.array(products), np.array(same), np.array(both), sample.sampled.entries, sample.tensor.numel
    )


class Whole:
    """Totals over the model, estimated; and how far a function of them is off.

    A function of totals errs by Σ (its derivative by each total)·(that total's error), which is a total itself.
    """

    def __init__(self, sums: Sequence[Sums]) -> None:
        self._sums = sums
        scale = [s.numel / max(1, s.entries) for s in sums]
        self.products = sum(
            (s.products.sum(axis=0) * k for s, k in zip(sums, scale, strict=True)), np.zeros((1, 1))
        )
        self.same = sum((s.same.sum(axis=0) * k for s, k in zip(sums, scale, strict=True)), np.zeros((1, 1)))
        self.both = sum((s.both.sum(axis=0) * k for s, k in zip(sums, scale, strict=True)), np.zeros((1, 1)))

    def reach(
        self, by_product: Array | None = None, by_sign: tuple[int, int, float, float] | None = None
    ) -> float:
        """Half the 95 % interval of a function of the totals.

        Args:
            by_product: its derivatives by `products`, [models + 1, models + 1].
            by_sign: (a, b, derivative by same[a, b], derivative by both[a, b]).
        """
        shares = []  # what each block adds to the variance
        for s in self._sums:
            blocks = len(s.products)
            if s.entries == s.numel or blocks < 2:
                continue
            value = np.zeros(blocks)
            if by_product is not None:
                value += np.einsum("bij,ij->b", s.products, by_product)
            if by_sign is not None:
                a, b, per_same, per_both = by_sign
                value += per_same * s.same[:, a, b] + per_both * s.both[:, a, b]
            scale = s.numel / s.entries
            shares.append((value - value.mean()) ** 2 * blocks / (blocks - 1) * scale**2 * (1 - 1 / scale))
        every = np.concatenate(shares) if shares else np.zeros(1)
        variance, squares = float(every.sum()), float((every**2).sum())
        # Where the heavy tails of a few blocks make up the variance, it is as uncertain as of so few.
        freedom = variance**2 / squares if squares > 0 else math.inf
        return float(WIDER * student(np.array(freedom))) * math.sqrt(variance)


def pairs_and_norms(
    plan: MergePlan, sums: Sequence[Sums]
) -> tuple[tuple[PairAgreement, ...], tuple[ModelNorm, ...]]:
    """How alike the plan's models are, and how far each moved.

    Args:
        plan: of the models.
        sums: of every tensor that counts, tied copies left out.
    """
    whole = Whole(sums)
    pairs = [
        _pair(plan, whole, a, b) for x, a in enumerate(plan.listed) for b in plan.listed[x + 1 :] if sums
    ]
    norms = [_norm(plan, whole, m) for m in plan.listed if sums]
    return tuple(pairs), tuple(norms)


def _pair(plan: MergePlan, whole: Whole, a: int, b: int) -> PairAgreement:
    product = whole.products
    length = math.sqrt(product[a, a] * product[b, b])
    cosine: tuple[float | None, float | None, float | None] = (None, None, None)
    if length > 0:
        value = float(product[a, b]) / length
        slopes = np.zeros_like(product)
        slopes[a, b] = 1 / length
        slopes[a, a] -= value / (2 * product[a, a])
        slopes[b, b] -= value / (2 * product[b, b])
        cosine = _bounded(value, whole.reach(by_product=slopes), -1, 1)
    agreement: tuple[float | None, float | None, float | None] = (None, None, None)
    if met := float(whole.both[a, b]):
        share = float(whole.same[a, b]) / met
        agreement = _bounded(share, whole.reach(by_sign=(a, b, 1 / met, -share / met)), 0, 1)
    return PairAgreement(
        plan.names[a],
        plan.names[b],
        cosine[0],
        agreement[0],
        cosine_low=cosine[1],
        cosine_high=cosine[2],
        sign_agreement_low=agreement[1],
        sign_agreement_high=agreement[2],
    )


def _norm(plan: MergePlan, whole: Whole, m: int) -> ModelNorm:
    square, base = float(whole.products[m, m]), float(whole.products[-1, -1])
    norm = math.sqrt(square)
    slopes = np.zeros_like(whole.products)
    if norm > 0:
        slopes[m, m] = 1 / (2 * norm)
    _, low, high = _bounded(norm, whole.reach(by_product=slopes), 0, math.inf)
    relative: tuple[float | None, float | None, float | None] = (None, None, None)
    if base > 0:
        value = norm / math.sqrt(base)
        slopes = slopes / math.sqrt(base)
        slopes[-1, -1] -= value / (2 * base)
        relative = _bounded(value, whole.reach(by_product=slopes), 0, math.inf)
    return ModelNorm(
        plan.names[m],
        norm,
        relative[0],
        norm_low=low,
        norm_high=high,
        relative_low=relative[1],
        relative_high=relative[2],
    )


def _bounded(value: float, reach: float, least: float, most: float) -> tuple[float, float, float]:
    value = max(least, min(most, value))
    return value, max(least, value - reach), min(most, value + reach)
