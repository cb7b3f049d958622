"""Keys of an adapter's settings: matched as PEFT's regular expressions, without their cost."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from merge_core.checkpoint.module_pattern import ModulePattern

KEYS = st.lists(st.sampled_from(["a", "1", "-", ".", r"\.", r"\-", ".*", r"\d+", "[0-9]+"]), max_size=7).map(
    "".join
)


@settings(max_examples=600, deadline=None)
@given(anchor=st.sampled_from(["", "^"]), key=KEYS, name=st.text("ab12.-", max_size=9))
def test_key_means_the_modules_that_peft_gives_it(anchor: str, key: str, name: str) -> None:
    expected = re.match(rf"(.*\.)?({anchor}{key})$", name) is not None
    assert ModulePattern(anchor + key).matches(name) == expected


@pytest.mark.parametrize(
    "key",
    ["a|b", "(a)", "[ab]", "[0-9]", "a*", "a+", "a?", "a{2}", ".+", ".*?", ".*+", r"\d", r"\w+", r"\d++", "a^", "a$",
     "\\", "a" * 201],
)  # fmt: skip
def test_key_of_another_form_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match=re.escape(key)):
        ModulePattern(key)


def test_many_wildcards_take_no_time_of_their_own() -> None:
    """A matcher that tries every way to cut the name would not come back."""
    assert not ModulePattern(".*x" * 60 + "y").matches("x" * 400)
    assert ModulePattern(".*x" * 60).matches("x" * 400)
