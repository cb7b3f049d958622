"""Every kernel gives, bit for bit, what its plain numpy meaning gives."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from merge_core.kernels import (
    coarse,
    disjoint,
    dropping,
    dtypes,
    gram,
    levels,
    meetings,
    moments,
    onset,
    rank,
    tally,
    vectors,
    weighted_sum,
)
from merge_core.kernels.elections import NO_ELECTION

finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
EVERY_HALF = np.arange(1 << 16, dtype=np.uint16)


def adversarial(seed: int, models: int, n: int) -> np.ndarray:
    """Heavy tails, ties, exact cancellations, zeros of both signs and denormals."""
    rng = np.random.default_rng(seed)
    tau = (rng.standard_t(3, (models, n)) * 1e-3).astype(np.float32)
    tau[:, ::7] = 0
    tau[:, ::13] = -0.0
    tau[0, ::17] = np.float32(1e-42)
    tau[:, ::5] = np.float32(0.001) * np.sign(tau[:, ::5])
    if models > 1:
        tau[1, ::3] = -tau[0, ::3]
    return tau


@pytest.mark.parametrize("name", ["widen_bf16", "widen_f16"])
def test_widening_is_exact_for_every_pattern(name: str) -> None:
    out, expected = np.empty(1 << 16, np.float32), np.empty(1 << 16, np.float32)
    getattr(dtypes, name)(EVERY_HALF, out)
    getattr(dtypes, name + "_plain")(EVERY_HALF, expected)
    number = ~np.isnan(expected)
    assert np.array_equal(out[number].view(np.uint32), expected[number].view(np.uint32))
    assert np.isnan(out[~number]).all()


def test_float16_widening_agrees_with_numpy_and_bfloat16_with_torch() -> None:
    import torch

    out = np.empty(1 << 16, np.float32)
    dtypes.widen_f16(EVERY_HALF, out)
    np.testing.assert_array_equal(out, EVERY_HALF.view(np.float16).astype(np.float32))
    dtypes.widen_bf16(EVERY_HALF, out)
    wide = torch.from_numpy(EVERY_HALF.view(np.int16)).view(torch.bfloat16).float().numpy()
    np.testing.assert_array_equal(out, wide)


@pytest.mark.parametrize("name", ["narrow_bf16", "narrow_f16"])
def test_narrowing_rounds_once_to_nearest_even_as_torch_does(name: str) -> None:
    import torch

    rng = np.random.default_rng(0)
    values = rng.integers(0, 1 << 32, 1 << 18, dtype=np.uint32).view(np.float32)
    halves = EVERY_HALF.view(np.float16).astype(np.float32)
    halfway = (halves[:-1].astype(np.float64) + halves[1:]).astype(np.float32) / 2
    values = np.concatenate([values, halves, halfway, np.linspace(-2e-7, 2e-7, 10001, dtype=np.float32)])
    values = values[np.isfinite(values)]
    target = torch.bfloat16 if name == "narrow_bf16" else torch.float16
    out = np.empty(values.size, np.uint16)
    getattr(dtypes, name)(values, out)
    expected = torch.from_numpy(values).to(target).view(torch.int16).numpy().view(np.uint16)
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize(("name", "largest"), [("narrow_bf16", 3.38e38), ("narrow_f16", 65504.0)])
def test_narrowing_tells_when_a_value_does_not_fit(name: str, largest: float) -> None:
    out = np.empty(1, np.uint16)
    assert getattr(dtypes, name)(np.array([largest], np.float32), out) < dtypes.INFINITE
    assert getattr(dtypes, name)(np.array([-largest * 1.005], np.float32), out) >= dtypes.INFINITE


@settings(deadline=None)
@given(hnp.arrays(np.float32, st.integers(0, 300), elements=finite))
def test_peak_is_the_largest_magnitude(values: np.ndarray) -> None:
    assert dtypes.peak(values) == dtypes.peak_plain(values)


@pytest.mark.parametrize(
    ("low", "shift", "bins"), [(0, 13, 1 << 18), (0x3A000000, 4, 1 << 12), (0x3A83126F, 0, 1)]
)
@pytest.mark.parametrize("n", [0, 1, 63, 64, 5000])
def test_bracket_counts_every_magnitude_once(low: int, shift: int, bins: int, n: int) -> None:
    values = adversarial(1, 1, n)[0]
    counted, expected = np.zeros(bins, np.uint32), np.zeros(bins, np.uint32)
    above = rank.count_bracket(values, np.uint32(low), np.uint32(shift), counted)
    assert above == rank.count_bracket_plain(values, low, shift, expected)
    np.testing.assert_array_equal(counted, expected)


def rows_of(dtypes_of_rows: list[str], n: int, seed: int) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Stored entries of several models, and where they lie."""
    rng = np.random.default_rng(seed)
    rows = []
    for dtype in dtypes_of_rows:
        values = rng.standard_t(3, n) * 1e-2
        narrow = {"F64": np.float64, "F32": np.float32, "F16": np.float16}.get(dtype)
        rows.append(
            values.astype(narrow)
            if narrow
            else (values.astype(np.float32).view(np.uint32) >> 16).astype("u2")
        )
    address = np.array([row.ctypes.data for row in rows], np.int64)
    return rows, address, np.array([vectors.STORED[dtype] for dtype in dtypes_of_rows], np.int64)


@pytest.mark.parametrize("based", [True, False])
@pytest.mark.parametrize("stored", [["F32"], ["BF16", "BF16", "BF16"], ["F64", "F16", "BF16", "F32"]])
@pytest.mark.parametrize(("start", "n"), [(0, 0), (3, 1), (0, 1024), (17, 4000)])
def test_task_vectors_are_their_plain_meaning(stored: list[str], based: bool, start: int, n: int) -> None:
    kept, address, kinds = rows_of(stored, 4100, 6)
    out, expected = np.zeros((2, len(stored), max(n, 1)), np.float32)
    top = vectors.form_vectors(address, kinds, based, start, n, out)
    assert top == vectors.form_vectors_plain(address, kinds, based, start, n, expected)
    assert np.array_equal(out.view(np.uint32), expected.view(np.uint32))
    assert len(kept) == len(stored)


def test_adding_nothing_leaves_the_base_bit_for_bit() -> None:
    base = np.array([-0.0, 0.0, 1.5, -1e-45, -0.0], np.float32)
    tau = np.array([0.0, -0.0, -0.0, 0.0, 2.0], np.float32)
    expected = tau.copy()
    vectors.add_to_base(base, tau)
    vectors.add_to_base_plain(base, expected)
    assert np.array_equal(tau.view(np.uint32), expected.view(np.uint32))
    assert np.array_equal(tau[:4].view(np.uint32), base[:4].view(np.uint32))


@pytest.mark.parametrize(
    ("model", "base"), [(np.inf, 0.0), (np.nan, 1.0), (1.0, -np.inf), (3e38, -3e38), (np.inf, np.inf)]
)
def test_task_vectors_tell_of_values_that_are_not_finite(model: float, base: float) -> None:
    rows = np.zeros((2, 5), np.float32)
    rows[:, 3] = model, base
    address = np.array([row.ctypes.data for row in rows], np.int64)
    top = vectors.form_vectors(address, np.full(2, vectors.F32), True, 0, 5, np.empty((2, 5), np.float32))
    assert top >= dtypes.INFINITE


def test_scans_count_what_chunks_hold() -> None:
    kept, address, kinds = rows_of(["BF16", "F32", "F32"], 9000, 7)
    formed = np.empty((3, 9000), np.float32)
    vectors.form_vectors_plain(address, kinds, True, 0, 9000, formed)
    low, shift, width = (
        np.array([0x3A000000, 0], np.uint32),
        np.array([9, 13], np.uint32),
        np.array([1 << 13, 1 << 18]),
    )
    bins, above = np.zeros((2, 1 << 18), np.uint32), np.zeros(2, np.int64)
    rank.scan_brackets(address, kinds, True, 5, 9000, low, shift, width, bins, above)
    pattern, found = formed[:2, 77].view(np.uint32) & dtypes.MAGNITUDE, np.zeros(2, np.int64)
    rank.scan_equals(address, kinds, True, 5, 9000, pattern, found)
    for m in range(2):
        expected = np.zeros(width[m], np.uint32)
        assert above[m] == rank.count_bracket_plain(
            formed[m, 5:].copy(), int(low[m]), int(shift[m]), expected
        )
        np.testing.assert_array_equal(bins[m, : width[m]], expected)
        assert found[m] == rank.count_equal_plain(formed[m, 5:].copy(), pattern[m])
    assert len(kept) == 3


@pytest.mark.parametrize("n", [0, 63, 64, 5000])
def test_moments_are_their_plain_meaning(n: int) -> None:
    tau = adversarial(8, 3, n)
    threshold = np.array([0, 0x3A83126F, 0x7FFFFFFF], np.uint32)
    sums, expected = np.zeros((2, 3, 3))
    moments.add_moments(tau, threshold, sums)
    moments.add_moments_plain(tau, threshold, expected)
    np.testing.assert_array_equal(sums, expected)


def test_equals_are_counted_and_found_in_index_order() -> None:
    values = np.array([1, -2, 2, 3, -2, 0], np.float32)
    pattern = np.float32(2).view(np.uint32)
    assert rank.count_equal(values, pattern) == rank.count_equal_plain(values, pattern) == 3
    rows = np.stack([values, values[::-1]])
    found, expected = np.zeros((2, 2, 2), np.int64)
    rank.count_around(rows, np.array([pattern, 0], np.uint32), found)
    rank.count_around_plain(rows, np.array([pattern, 0], np.uint32), expected)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(found, [[1, 5], [3, 1]])
    for n in (1, 2, 3):
        assert rank.nth_equal(values, pattern, n) == rank.nth_equal_plain(values, pattern, n)


@pytest.mark.parametrize("models", [1, 2, 5])
@pytest.mark.parametrize("normalized", [False, True])
def test_weighted_sum_is_its_plain_meaning(models: int, normalized: bool) -> None:
    tau = adversarial(2, models, 3001)
    weights = np.linspace(-0.3, 1.1, models)
    out, expected = np.empty(3001, np.float32), np.empty(3001, np.float32)
    divisor = float(weights.sum()) if normalized else 1.0
    weighted_sum.weighted_sum(tau, weights, divisor, out)
    weighted_sum.weighted_sum_plain(tau, weights, divisor, expected)
    assert np.array_equal(out.view(np.uint32), expected.view(np.uint32))


@pytest.mark.parametrize("start", [0, 1, (1 << 33) + 5])
def test_drop_is_its_plain_meaning(start: int) -> None:
    tau = adversarial(4, 4, 3001)
    key = np.array([0, 1, 2**63 + 5, 2**64 - 1], np.uint64)
    density, scale = np.array([0.0, 0.3, 0.999, 1.0]), np.array([1.0, 1 / 0.3, -2.0, 1.0])
    out, expected = np.empty_like(tau), np.empty_like(tau)
    dropping.drop(tau, key, start, density, scale, out)
    dropping.drop_plain(tau, key, start, density, scale, expected)
    assert np.array_equal(out.view(np.uint32), expected.view(np.uint32))
    assert not out[0].any()
    np.testing.assert_array_equal(out[3], tau[3])


def test_draws_are_even_and_independent_of_each_other() -> None:
    """SplitMix64's published first outputs for seed 0, and the moments of a million draws of two neighbouring keys."""
    n = 1 << 20
    kept = np.empty((2, n), np.float32)
    one = np.ones(2)
    dropping.drop(np.ones((2, n), np.float32), np.array([7, 8], np.uint64), 0, one * 0.3, one, kept)
    means = kept.mean(1)
    assert np.abs(means - 0.3).max() < 4 * np.sqrt(0.21 / n)
    together, after = (kept[0] * kept[1]).mean(), (kept[0, 1:] * kept[0, :-1]).mean()
    assert max(abs(together - 0.09), abs(after - 0.09)) < 4 * np.sqrt(0.09 * 0.91 / n)
    first = 0xE220A8397B1DCDAF >> 11  # SplitMix64 of seed 0 begins so
    below, above = np.array([first / 2**53]), np.array([(first + 1) / 2**53])
    single = np.ones((1, 1), np.float32)
    for density, survives in ((below, 0), (above, 1)):
        dropping.drop(single, np.zeros(1, np.uint64), 0, density, np.ones(1), kept[:1, :1])
        assert kept[0, 0] == survives


@pytest.mark.parametrize("models", [1, 2, 3, 7])
@pytest.mark.parametrize("vote", range(5))
@pytest.mark.parametrize("combine", range(3))
def test_disjoint_merge_is_its_plain_meaning(models: int, vote: int, combine: int) -> None:
    tau = adversarial(3, models, 2500)
    threshold = np.linspace(0, 0x3A83126F, models).astype(np.uint32)
    for tie, weight in itertools.product(
        (1, -1, 0), (np.linspace(-0.4, 1, models), np.linspace(0.2, 1, models))
    ):
        election = disjoint.Election(vote, combine, tie)
        out, expected = np.empty(2500, np.float32), np.empty(2500, np.float32)
        signs = disjoint.disjoint_merge(tau, threshold, weight, weight, weight, election, out)
        assert signs == disjoint.disjoint_merge_plain(
            tau, threshold, weight, weight, weight, election, expected
        )
        assert np.array_equal(out.view(np.uint32), expected.view(np.uint32))


def few_low_bits(seed: int, n: int) -> np.ndarray:
    """What differences of 16-bit numbers look like: nearly all patterns are the first of their bin."""
    tau = adversarial(seed, 1, n)[0].view(np.uint32) & ~coarse.LOW_MASK
    tau[700::900] |= np.uint32(77)
    return tau.view(np.float32)


@pytest.mark.parametrize("room", [0, 100, 4000])
@pytest.mark.parametrize("n", [0, 1, 4000])
def test_coarse_counts_and_what_they_list_are_their_plain_meaning(room: int, n: int) -> None:
    for values in (adversarial(4, 1, n)[0], few_low_bits(4, n)):
        results = []
        for function in (coarse.count_coarse, coarse.count_coarse_plain):
            counted, low = np.zeros((2, coarse.COARSE), np.uint32), np.zeros(room, np.uint32)
            results.append((function(values, counted, low, 3), counted, low))
        for got, expected in zip(*results, strict=True):
            np.testing.assert_array_equal(got, expected)
        assert results[0][1].sum() == n


def some_slots(values: np.ndarray, every: int) -> np.ndarray:
    """A row of its own for each so many-th bin that occurs: int16 [COARSE]."""
    slot = np.full(coarse.COARSE, -1, np.int16)
    chosen = np.unique((values.view(np.uint32) & dtypes.MAGNITUDE) >> coarse.LOW_BITS)[::every]
    slot[chosen] = np.arange(chosen.size)
    return slot


def test_fine_counts_are_their_plain_meaning() -> None:
    values = adversarial(4, 1, 4000)[0]
    slot = some_slots(values, 3)
    counted, expected = np.zeros((2, int(slot.max()) + 1, coarse.FINE), np.uint32)
    coarse.count_fine(values, slot, counted)
    coarse.count_fine_plain(values, slot, expected)
    assert expected.sum() > 500
    np.testing.assert_array_equal(counted, expected)


def test_counting_scans_count_what_chunks_hold() -> None:
    kept, address, kinds = rows_of(["BF16", "F32", "F32"], 9000, 7)
    formed = np.empty((3, 9000), np.float32)
    vectors.form_vectors_plain(address, kinds, True, 0, 9000, formed)
    part = np.ascontiguousarray(formed[:2, 5:])
    where = (address, kinds, True, 5, 9000)
    counted, low, listed = (
        np.zeros((2, 2, coarse.COARSE), np.uint32),
        np.zeros((2, 9000), np.uint32),
        np.zeros(2, np.int64),
    )
    coarse.scan_coarse(*where, counted, low, listed)
    slot = np.stack([some_slots(row, 2) for row in part])
    fine = np.zeros((2, int(slot.max()) + 1, coarse.FINE), np.uint32)
    coarse.scan_fine(*where, slot, fine)
    first = np.full((2, coarse.COARSE), 200, np.uint8)
    inner = np.full((2, int(slot.max()) + 1, coarse.FINE), 7, np.uint8)
    codes = np.zeros((2, levels.CODES), np.int64)
    levels.scan_codes(*where, first, slot, inner, codes)
    for m in range(2):
        expected = np.zeros((2, coarse.COARSE), np.uint32)
        listed_here = np.zeros(9000, np.uint32)
        assert listed[m] == coarse.count_coarse_plain(part[m], expected, listed_here, 0)
        np.testing.assert_array_equal(counted[m], expected)
        np.testing.assert_array_equal(low[m], listed_here)
        expected_fine = np.zeros_like(fine[m])
        coarse.count_fine_plain(part[m], slot[m], expected_fine)
        np.testing.assert_array_equal(fine[m], expected_fine)
        out = np.empty(part.shape[1], np.uint8)
        levels.look_up_plain(part[m], first[m], slot[m], inner[m], out)
        np.testing.assert_array_equal(codes[m], np.bincount(out, minlength=levels.CODES))
        assert 0 < codes[m, 7] < part.shape[1]
    assert len(kept) == 3


@pytest.mark.parametrize("n", [0, 1, 4000])
def test_looking_up_levels_is_its_plain_meaning(n: int) -> None:
    rng = np.random.default_rng(6)
    for values in (adversarial(4, 1, n)[0], few_low_bits(4, n)):
        slot = some_slots(values, 2)
        first = rng.integers(0, onset.NEVER + 1, coarse.COARSE).astype(np.uint8)
        rows = int(slot.max()) + 1
        for top in (onset.NEVER, int(levels.TIED) + 5):
            inner = rng.integers(0, top + 1, (rows, coarse.FINE)).astype(np.uint8)
            got, expected = np.zeros((2, n), np.uint8)
            tied = levels.look_up(values, first, slot, inner, got)
            assert tied == levels.look_up_plain(values, first, slot, inner, expected)
            np.testing.assert_array_equal(got, expected)


ENDLESS = np.iinfo(np.int64).max


def tied_levels(
    patterns: list[float], steps: list[list[int]], dealt: list[list[int]], watched: list[int]
) -> levels.Levels:
    """One model, with ties of first patterns where |x| has no lower bits, and of inner ones where it has."""
    bits = np.array([patterns], np.float32).view(np.uint32)
    first = np.full((1, coarse.COARSE), 9, np.uint8)
    slot = np.full((1, coarse.COARSE), -1, np.int16)
    inner = np.full((1, len(patterns), coarse.FINE), 9, np.uint8)
    for tie, pattern in enumerate(bits[0].tolist()):
        place, low = pattern >> int(coarse.LOW_BITS), pattern & int(coarse.LOW_MASK)
        if low:
            slot[0, place] = tie
            inner[0, tie, low] = levels.TIED + np.uint8(tie)
        else:
            first[0, place] = steps[tie][0]
    width = max(len(s) for s in steps)
    stepped = np.array([[s + [onset.NEVER] * (width - len(s)) for s in steps]], np.uint8)
    counts = np.array([[d + [ENDLESS] * (width - len(d)) for d in dealt]])
    return levels.Levels(
        first,
        slot,
        inner,
        pattern=bits,
        watched=np.array([watched + [-1] * (len(patterns) - len(watched))]),
        now=stepped[:, :, 0].copy(),
        left=counts[:, :, 0].copy(),
        at=np.zeros((1, len(patterns)), np.int64),
        steps=stepped,
        dealt=counts,
    )


TIES = ([0.5, 1.0, 1.0 + 2**-20, 2.0], [[20, 21, 25], [30, 41], [5, 50, 60], [1, 2]])
DEALT = [[4000, 3], [1500], [700, 4000], [1]]


def test_ties_are_dealt_out_one_after_the_other_in_index_order() -> None:
    values = np.array([0.5, 2, 2, -2, 1.0 + 2**-20, 3, -0.5], np.float32)
    t = tied_levels(TIES[0], TIES[1], [[1, 1], [9], [1, 1], [2]], watched=[0, 3])
    out = np.zeros(values.size, np.uint8)
    assert levels.look_up(values, t.first[0], t.slot[0], t.inner[0], out)
    levels.deal_inner(0, t, out)
    levels.deal_watched(values, 0, t, out)
    np.testing.assert_array_equal(out, [20, 1, 1, 2, 5, 9, 21])
    np.testing.assert_array_equal(t.now[0], [25, 30, 50, 2])


@pytest.mark.parametrize("watched", [[], [0], [0, 1, 3]])
def test_dealing_is_its_plain_meaning(watched: list[int]) -> None:
    rng = np.random.default_rng(9)
    values = (rng.choice([*TIES[0], 3.0], 40_000) * rng.choice([-1, 1], 40_000)).astype(np.float32)
    got, expected = (tied_levels(*TIES, DEALT, watched) for _ in range(2))
    for start in range(0, values.size, 5000):
        part = values[start : start + 5000]
        out = np.empty((2, part.size), np.uint8)
        levels.look_up(part, got.first[0], got.slot[0], got.inner[0], out[0])
        levels.deal_inner(0, got, out[0])
        levels.deal_watched(part, 0, got, out[0])
        levels.look_up_plain(part, expected.first[0], expected.slot[0], expected.inner[0], out[1])
        levels.deal_plain(part, 0, expected, out[1])
        np.testing.assert_array_equal(out[0], out[1])
        for a, b in zip(got, expected, strict=True):
            np.testing.assert_array_equal(a, b)


def test_many_entries_of_a_tie_pass_as_one_after_the_other_would() -> None:
    got, expected = (tied_levels(*TIES, DEALT, []) for _ in range(2))
    for tie, count in ((0, 3999), (0, 2), (0, 70), (1, 1500), (2, 5000), (3, 1)):
        levels.advance(0, tie, count, got)
        levels.advance_plain(0, tie, count, expected)
        for a, b in zip(got, expected, strict=True):
            np.testing.assert_array_equal(a, b)


def test_sides_are_their_plain_meaning() -> None:
    values = np.array([0.0, -0.0, 1e-45, -1e-45, 3.0, -2.0], np.float32)
    got, expected = np.zeros((2, 6), np.uint8)
    onset.sides(values, got)
    onset.sides_plain(values, expected)
    np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(got, [0, 0, 1, 2, 1, 2])


def levels_and_sides(models: int, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    side = rng.integers(0, 3, (models, n)).astype(np.uint8)
    level = rng.integers(0, onset.NEVER + 1, (models, n)).astype(np.uint8)
    return np.where(side == onset.NOTHING, onset.NEVER, level).astype(np.uint8), side


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 5), st.integers(0, 2000), st.integers(0, 2**32 - 1))
def test_onset_counts_are_their_plain_meaning(models: int, n: int, seed: int) -> None:
    level, side = levels_and_sides(models, n, seed)
    sign = np.random.default_rng(seed).choice([-1, 1], models).astype(np.float32)
    counted, expected = np.zeros((2, onset.TABLES, 3, onset.NEVER + 1), np.uint32)
    onset.count_onsets(level, side, sign, counted)
    onset.count_onsets_plain(level, side, sign, expected)
    np.testing.assert_array_equal(counted.sum(axis=0), expected.sum(axis=0))


@pytest.mark.parametrize("models", [1, 3])
@pytest.mark.parametrize("n", [0, 700, 4000])
def test_products_and_agreement_are_their_plain_meaning(models: int, n: int) -> None:
    rows = adversarial(5, models + 1, n)
    lanes, expected_lanes = np.zeros((2, models + 1, models + 1, gram.LANES))
    gram.add_products(rows, lanes)
    gram.add_products_plain(rows, expected_lanes)
    np.testing.assert_array_equal(lanes, expected_lanes)
    products, expected_products = np.ones((2, models + 1, models + 1))
    gram.fold(lanes, products)
    gram.fold_plain(expected_lanes, expected_products)
    upper = np.triu_indices(models + 1)
    np.testing.assert_array_equal(products[upper], expected_products[upper])
    assert not lanes.any()
    _, side = levels_and_sides(models, n, 3)
    got, expected = np.zeros((2, 2, models, models), np.int64)
    gram.count_agreement(side, *got)
    gram.count_agreement_plain(side, *expected)
    np.testing.assert_array_equal(got, expected)


def tally_plain(
    address: np.ndarray, kinds: np.ndarray, stop: int, sign: np.ndarray, level: np.ndarray, found: tally.Tally
) -> None:
    """What `scan_tally` adds up, from start to end, of entries whose levels are known."""
    models = sign.size
    values = np.empty((models + 1, stop), np.float32)
    vectors.form_vectors_plain(address, kinds, True, 0, stop, values)
    level = np.where(sign[:, None] == 0, onset.NEVER, level)
    side = np.empty(level.shape, np.uint8)
    onset.sides_plain(values[:models], side)
    onset.count_onsets_plain(level, side, sign, found.onsets[None])
    gram.count_agreement_plain(side, found.same, found.both)
    for start in range(0, stop, tally.SUMMED):
        lanes = np.zeros((models + 1, models + 1, gram.LANES))
        gram.add_products_plain(values[:, start : start + tally.SUMMED], lanes)
        gram.fold_plain(lanes, found.products)


@pytest.mark.parametrize("n", [1, tally.SCAN, 2 * tally.SUMMED + 1030])
def test_one_sweep_gives_what_its_parts_give(n: int) -> None:
    kept, address, kinds = rows_of(["BF16", "F32", "F16", "F32"], n, 8)
    sign = np.array([1, -1, 0], np.float32)
    level, _ = levels_and_sides(3, n, 2)
    got, expected = tally.new_tally(3, False), tally.new_tally(3, False)
    nowhere = levels.Levels(*(np.repeat(a, 3, axis=0) for a in tied_levels(*TIES, DEALT, [])))
    tally.scan_tally(address, kinds, 0, n, sign, nowhere, level, NO_ELECTION, got)
    tally_plain(address, kinds, n, sign, level, expected)
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_array_equal(a, b)
    assert len(kept) == 4


def test_one_sweep_looks_up_and_deals_out() -> None:
    n = 3 * tally.SCAN + 5
    rng = np.random.default_rng(4)
    rows = [rng.choice([*TIES[0], 3.0], n).astype(np.float32) for _ in range(2)] + [np.zeros(n, np.float32)]
    address, kinds = np.array([row.ctypes.data for row in rows]), np.full(3, vectors.F32)
    t, plain = (
        levels.Levels(*(np.repeat(a, 2, axis=0) for a in tied_levels(*TIES, DEALT, [0, 1, 3])))
        for _ in range(2)
    )
    level = np.empty((2, n), np.uint8)
    for m in range(2):
        levels.look_up_plain(rows[m], plain.first[m], plain.slot[m], plain.inner[m], level[m])
        levels.deal_plain(rows[m], m, plain, level[m])
    got, expected = tally.new_tally(2, False), tally.new_tally(2, False)
    sign = np.ones(2, np.float32)
    tally.scan_tally(address, kinds, 0, n, sign, t, np.zeros((0, 0), np.uint8), NO_ELECTION, got)
    tally_plain(address, kinds, n, sign, level, expected)
    for a, b in zip((*got, *t), (*expected, *plain), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("models", [1, 2, 3, 7])
@pytest.mark.parametrize("n", [0, 1, 3000])
def test_count_meetings_is_its_plain_meaning(models: int, n: int) -> None:
    rng = np.random.default_rng(models + n)
    level = rng.integers(0, onset.NEVER + 1, (models, n)).astype(np.uint8)
    level[rng.random(level.shape) < 0.3] = onset.NEVER
    level[rng.random(level.shape) < 0.3] = 7  # many alike
    positive = rng.random(level.shape) < 0.5
    block = np.sort(rng.integers(0, 5, n))
    got, expected = (
        [
            np.zeros((kinds, 5, onset.NEVER + 1), np.int64) for kinds in (3, models)
        ] + [np.zeros((3, models, meetings.BINS), np.int64)]
        for _ in range(2)
    )  # fmt: skip
    meetings.count_meetings(level, positive, block, *got)
    meetings.count_meetings_plain(level, positive, block, *expected)
    for mine, plain in zip(got, expected, strict=True):
        np.testing.assert_array_equal(mine, plain)


def test_code_that_a_full_disk_cannot_keep_runs_all_the_same(tmp_path: Path) -> None:
    script = (
        "import numpy as np, resource\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
        "from merge_core.kernels import compilation, dtypes\n"
        "print(int(dtypes.peak(np.ones(3, np.float32))), compilation.compiled_now())"
    )
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment, cwd=root
    )
    assert done.stdout.split() == [str(0x3F800000), "1"], done.stderr
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size]
