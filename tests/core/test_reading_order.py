"""The order in which tensors are read keeps to that of every file, where one order can."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from merge_core.streaming.order import in_all_orders


def keeps_to(order: list[int], chain: list[int]) -> bool:
    return sorted(chain, key=order.index) == chain


@given(st.integers(1, 30), st.randoms())
def test_every_file_is_read_in_its_order_where_one_order_keeps_to_all(
    count: int, chosen: random.Random
) -> None:
    hidden = chosen.sample(range(count), count)
    chains = []
    for _ in range(4):  # models, each cut into two files
        first = set(chosen.sample(hidden, chosen.randint(0, count)))
        chains += [[n for n in hidden if n in first], [n for n in hidden if n not in first]]
    order = in_all_orders({number: chosen.random() for number in range(count)}, chains)
    assert sorted(order) == list(range(count))
    assert all(keeps_to(order, chain) for chain in chains)


@given(st.integers(1, 30), st.randoms())
def test_files_that_contradict_each_other_leave_nothing_out(count: int, chosen: random.Random) -> None:
    chains = [chosen.sample(range(count), chosen.randint(0, count)) for _ in range(4)]
    order = in_all_orders({number: number for number in range(count)}, chains)
    assert sorted(order) == list(range(count))


def test_where_files_leave_a_choice_the_base_decides() -> None:
    assert in_all_orders({0: "b", 1: "a", 2: "c"}, []) == [1, 0, 2]
    assert in_all_orders({0: "b", 1: "a", 2: "c"}, [[2, 1]]) == [0, 2, 1]


def test_of_two_files_that_contradict_each_other_one_is_still_read_in_its_order() -> None:
    order = in_all_orders({number: number for number in range(4)}, [[0, 1, 2, 3], [3, 2, 1, 0]])
    assert order == [0, 1, 2, 3]
