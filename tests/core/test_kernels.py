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
    disjoint,
    dropping,
    dtypes,
    gram,
    meetings,
    moments,
    onset,
    rank,
    vectors,
    weighted_sum,
)

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


@pytest.mark.parametrize("room", [0, 100, 4000])
def test_coarse_counts_and_what_they_list_are_their_plain_meaning(room: int) -> None:
    few = adversarial(4, 2, 4000).view(np.uint32) & ~onset.LOW_MASK
    few[:, 700::900] |= np.uint32(77)
    for tau in (adversarial(4, 2, 4000), few.view(np.float32)):
        results = []
        for function in (onset.count_coarse, onset.count_coarse_plain):
            counted, low, listed = (
                np.zeros((2, onset.COARSE), np.uint32),
                np.zeros((2, room), np.uint32),
                np.array([0, 3]),
            )
            function(tau, counted, low, listed)
            results.append((counted, low, listed))
        for got, expected in zip(*results, strict=True):
            np.testing.assert_array_equal(got, expected)


def test_fine_counts_are_their_plain_meaning() -> None:
    tau = adversarial(4, 2, 4000)
    counted = np.zeros((2, onset.COARSE), np.uint32)
    onset.count_coarse(tau, counted, np.empty((2, 0), np.uint32), np.zeros(2, np.int64))
    slots = np.full((2, onset.COARSE), -1, np.int16)
    for m in range(2):
        chosen = np.flatnonzero(counted[m])[m::3]
        slots[m, chosen] = np.arange(chosen.size)
    counted, expected = np.zeros((2, 2, int(slots.max()) + 1, onset.FINE), np.uint32)
    onset.count_fine(tau, slots, counted)
    onset.count_fine_plain(tau, slots, expected)
    np.testing.assert_array_equal(counted, expected)


def test_levels_and_their_ties_are_their_plain_meaning() -> None:
    values = np.array([0, 1, -1, 2, 1, 1, 3, -1, 1, 2**-20, 1], np.float32)
    where = np.full(onset.COARSE, onset.SOLE | np.uint32(7), np.uint32)
    codes = np.full(onset.CODES + onset.FINE, onset.TIED, np.uint8)
    codes[: onset.CODES] = np.arange(onset.CODES)
    where[int(np.float32(1).view(np.uint32)) >> int(onset.LOW_BITS)] = onset.CODES
    where[0] = onset.SOLE | np.uint32(onset.NEVER)
    results = []
    for function in (onset.levels, onset.levels_plain):
        now, left = np.arange(onset.CODES, dtype=np.uint8), np.full(onset.CODES, 1 << 40)
        now[onset.TIED], left[onset.TIED] = 20, 2
        steps, dealt = np.array([[20, 30, 31, 0]]), np.array([[2, 0, 3]])
        out = np.empty(values.size, np.uint8)
        function(values, where, codes, now, left, steps, dealt, out)
        results.append((out, now, left, steps))
    for got, expected in zip(*results, strict=True):
        np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(results[0][0], [100, 20, 20, 7, 31, 31, 7, 31, 100, 7, 100])
    counts, expected = np.zeros((2, onset.CODES), np.int64)
    onset.count_codes(values, where, codes, counts)
    onset.count_codes_plain(values, where, codes, expected)
    np.testing.assert_array_equal(counts, expected)


def test_many_ties_are_dealt_out_as_one_after_the_other() -> None:
    rng = np.random.default_rng(9)
    values = rng.choice([0.5, 1, 2, 4], 40_000).astype(np.float32)
    where = np.full(onset.COARSE, onset.SOLE | np.uint32(7), np.uint32)
    codes = np.arange(onset.CODES, dtype=np.uint8)
    for tie, value in enumerate((1, 2)):
        pattern = int(np.float32(value).view(np.uint32))
        where[pattern >> int(onset.LOW_BITS)] = onset.SOLE | np.uint32(onset.TIED + tie)
    results = []
    for function in (onset.levels, onset.levels_plain):
        now, left = np.arange(onset.CODES, dtype=np.uint8), np.full(onset.CODES, 1 << 40)
        now[onset.TIED : onset.TIED + 2], left[onset.TIED : onset.TIED + 2] = (20, 30), (4000, 1500)
        steps = np.array([[20, 21, 25, 0], [30, 40, 50, 0]])
        dealt = np.array([[4000, 3, 2000], [1500, 4000, 9000]])
        out = np.empty(values.size, np.uint8)
        for start in range(0, values.size, 5000):
            part = slice(start, start + 5000)
            function(values[part], where, codes, now, left, steps, dealt, out[part])
        results.append((out, now, left, steps))
    for got, expected in zip(*results, strict=True):
        np.testing.assert_array_equal(got, expected)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 5), st.integers(0, 2000), st.integers(0, 2**32 - 1))
def test_onset_counts_are_their_plain_meaning(models: int, n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    level = rng.integers(0, onset.NEVER + 1, (models, n)).astype(np.uint8)
    tau = adversarial(seed, models, n)
    sign = rng.choice([-1, 1], models).astype(np.float32)
    counted, expected = np.zeros((2, 3, onset.NEVER + 1), np.int64)
    onset.count_onsets(level, tau, sign, counted)
    onset.count_onsets_plain(level, tau, sign, expected)
    np.testing.assert_array_equal(counted, expected)


@pytest.mark.parametrize("models", [1, 3])
@pytest.mark.parametrize("n", [0, 700, 4000, 2 * gram.SUMMED, 2 * gram.SUMMED + 1030])
def test_gram_is_its_plain_meaning(models: int, n: int) -> None:
    tau = adversarial(5, models, n)
    got = [np.zeros((models, models)), *np.zeros((2, models, models), np.int64)]
    expected = [np.zeros((models, models)), *np.zeros((2, models, models), np.int64)]
    gram.gram(tau, *got)
    gram.gram_plain(tau, *expected)
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("models", [1, 2, 3, 7])
@pytest.mark.parametrize("n", [0, 1, 3000])
def test_count_meetings_is_its_plain_meaning(models: int, n: int) -> None:
    rng = np.random.default_rng(models + n)
    levels = rng.integers(0, onset.NEVER + 1, (models, n)).astype(np.uint8)
    levels[rng.random(levels.shape) < 0.3] = onset.NEVER
    levels[rng.random(levels.shape) < 0.3] = 7  # many alike
    positive = rng.random(levels.shape) < 0.5
    block = np.sort(rng.integers(0, 5, n))
    got, expected = (
        [
            np.zeros((kinds, 5, onset.NEVER + 1), np.int64) for kinds in (3, models)
        ] + [np.zeros((3, models, meetings.BINS), np.int64)]
        for _ in range(2)
    )  # fmt: skip
    meetings.count_meetings(levels, positive, block, *got)
    meetings.count_meetings_plain(levels, positive, block, *expected)
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
