"""What models are called on the page: short, and never two alike."""

from __future__ import annotations

import pytest

from components import wording
from components.models.names import distinct_names, owner_of
from merge_core.recipe import ModelRef

OLD, NEW = "0123456789abcdef0123456789abcdef01234567", "fedcba9876543210fedcba9876543210fedcba98"


@pytest.mark.parametrize(
    ("spelled", "names"),
    [
        (["acme/base", "acme/code"], ["base", "code"]),
        (["acme/tuned", "guild/tuned", "acme/code"], ["acme/tuned", "guild/tuned", "code"]),
        ([f"acme/tuned@{OLD}", f"guild/tuned@{NEW}"], ["acme/tuned", "guild/tuned"]),
        ([f"acme/tuned@{OLD}", f"acme/tuned@{NEW}"], ["acme/tuned @ 0123456", "acme/tuned @ fedcba9"]),
        (["./a/model", "./b/model"], ["a/model", "b/model"]),
        (["./x/a/model", "./y/a/model"], ["./x/a/model", "./y/a/model"]),
        (["acme/base", "acme/base+guild/lora"], ["base", "base + lora"]),
    ],
)
def test_models_go_by_the_shortest_names_that_tell_them_apart(spelled: list[str], names: list[str]) -> None:
    refs = [ModelRef.parse(text) for text in spelled]
    assert list(distinct_names(refs).values()) == names


@pytest.mark.parametrize(
    ("spelled", "owner"),
    [("acme/base", "acme"), (f"acme/base@{OLD}", "acme"), ("./models/base", ""), ("/base", "")],
)
def test_owner_is_that_of_a_repository_and_no_folder_has_one(spelled: str, owner: str) -> None:
    assert owner_of(ModelRef.parse(spelled)) == owner


def test_sentence_about_a_model_loses_the_digits_of_its_commit_alone() -> None:
    assert (
        wording.without_commits(f"acme/a@{OLD} has 3 layers, acme/b@v2 has 4.")
        == "acme/a has 3 layers, acme/b@v2 has 4."
    )
