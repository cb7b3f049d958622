"""95 % intervals of shares and of ratios."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from merge_core.probe.intervals import Z, ratio, wilson


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_gives_the_values_of_newcombes_table(right, n, low, high):
    assert [round(end, 4) for end in wilson(right, n)] == [low, high]


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_solves_its_defining_equation_and_is_symmetric(drawn):
    right, n = drawn
    low, high = wilson(right, n)
    assert 0 <= low <= right / n <= high <= 1
    for end in (low, high):
        # The ends are the shares from which the observed one is Z standard errors away.
        assert (right / n - end) ** 2 == pytest.approx(Z**2 * end * (1 - end) / n, abs=1e-12)
    assert wilson(n - right, n) == pytest.approx((1 - high, 1 - low), abs=1e-12)


def test_ratio_of_items_of_equal_size_has_the_interval_of_a_mean():
    over = [3.0, 5.0, 4.0, 8.0]
    value, low, high = ratio(over, [2.0] * 4)
    spread = math.sqrt(sum((x - 5) ** 2 for x in over) / 3)
    assert value == 2.5
    assert (value - low, high - value) == pytest.approx([Z * spread / math.sqrt(4) / 2] * 2)


def test_items_with_one_ratio_leave_no_doubt():
    assert ratio([2.0, 4.0, 10.0], [1.0, 2.0, 5.0]) == (2.0, 2.0, 2.0)


pairs = st.lists(st.tuples(st.floats(0, 100), st.floats(0.5, 100)), min_size=2, max_size=20)


@given(pairs, st.floats(0.5, 8))
def test_ratio_scales_with_its_numerator_and_holds_its_value(drawn, factor):
    over, under = [x for x, _ in drawn], [y for _, y in drawn]
    value, low, high = ratio(over, under)
    assert 0 <= low <= value <= high
    scaled = ratio([factor * x for x in over], under)
    assert scaled == pytest.approx((factor * value, factor * low, factor * high), rel=1e-9, abs=1e-9)
