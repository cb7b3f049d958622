"""Numbers read the same everywhere on the page."""

import pytest

from components import wording

PLAIN = str.maketrans({"\u202f": " "})


@pytest.mark.parametrize(
    ("n", "words"),
    [
        (0, "0"),
        (999, "999"),
        (456_990, "457 k"),
        (999_960, "1 M"),
        (7_240_000_000, "7.24 B"),
        (22_700_000, "22.7 M"),
    ],
)
def test_counts_have_three_digits_and_a_letter(n, words):
    assert wording.count(n).translate(PLAIN) == words


@pytest.mark.parametrize(
    ("n", "words"), [(12, "12 bytes"), (1_830_000, "1.83 MB"), (14_500_000_000, "14.5 GB"), (1000, "1 kB")]
)
def test_sizes_use_decimal_units(n, words):
    assert wording.size(n).translate(PLAIN) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.42, "0.4 s"),
        (9.97, "10 s"),
        (75, "75 s"),
        (200, "3 min 20 s"),
        (1260, "21 min"),
        (7500, "2 h 5 min"),
    ],
)
def test_durations_name_at_most_two_units(seconds, words):
    assert wording.duration(seconds).translate(PLAIN) == words


def test_a_setting_has_no_trailing_zeros():
    assert [wording.number(x) for x in (1.0, 0.6, 1.25, -0.5)] == ["1", "0.6", "1.25", "-0.5"]


def test_words_between_backticks_are_code_and_all_else_is_shown_as_it_is():
    assert (
        wording.plain_markdown("Run `hf auth_login`, *then* push") == "Run `hf auth_login`, \\*then\\* push"
    )
    assert wording.plain_markdown("one ` alone <b>") == "one \\` alone \\<b\\>"
