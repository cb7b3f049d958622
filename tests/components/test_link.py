"""A link reproduces what its sender saw, and harms nobody who opens it."""

import base64
import zlib

import pytest

from components.link import (
    LONGEST_QUERY,
    LONGEST_RECIPE,
    decode_recipe,
    encode_recipe,
    link_query,
    read_query,
)
from merge_core.errors import UserError

RECIPE = "merge_method: ties\nbase_model: assets/demo/models/base\nparameters:\n  density: 0.2  # é ½ 模\n"


def test_what_is_encoded_comes_back_to_the_letter():
    assert decode_recipe(encode_recipe(RECIPE)) == RECIPE


def test_an_encoded_recipe_needs_no_escaping_in_an_address():
    assert set(encode_recipe(RECIPE * 20)) <= set(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    )


def test_the_page_as_it_opens_has_a_bare_address():
    assert link_query(RECIPE, None, default=RECIPE) == {}


def test_a_selected_run_is_in_the_address_of_the_default_recipe_too():
    assert link_query(RECIPE, "ab12", default=RECIPE) == {"run": "ab12"}


def test_a_changed_recipe_travels_through_the_query():
    query = link_query(RECIPE + "dtype: float32\n", "ab12", default=RECIPE)
    assert read_query(query) == (RECIPE + "dtype: float32\n", "ab12")


def test_a_small_query_that_unpacks_into_a_huge_recipe_is_refused():
    bomb = base64.urlsafe_b64encode(zlib.compress(b"a" * 3_000_000, 9)).decode().rstrip("=")
    assert len(bomb) < LONGEST_QUERY
    with pytest.raises(UserError, match=f"{LONGEST_RECIPE:,} bytes"):
        decode_recipe(bomb)


def test_an_overlong_query_is_refused_before_it_is_unpacked():
    with pytest.raises(UserError, match="characters"):
        decode_recipe("A" * (LONGEST_QUERY + 1))


@pytest.mark.parametrize("damage", ["!!!", "AAAA", encode_recipe(RECIPE)[:-12], "é", "A"])
def test_a_damaged_query_is_refused_in_words(damage):
    with pytest.raises(UserError, match="damaged"):
        decode_recipe(damage)


@pytest.mark.parametrize("run", ["../../etc", "<img src=x>", "a" * 65, ""])
def test_a_run_that_cannot_be_an_id_is_left_out(run):
    assert read_query({"run": run}) == (None, None)
