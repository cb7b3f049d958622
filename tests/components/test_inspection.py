"""The map is measured again exactly when it would differ."""

import pytest

from components.interference.wanted_inspection import question
from components.tuning.editing import add_model, leave_out, set_method, set_parameter, set_weight
from merge_core.errors import UserError
from merge_core.recipe import ModelRef, read_recipe

RECIPE = read_recipe("""
merge_method: ties
base_model: ./base
models:
  - {model: ./a, parameters: {weight: 1.0}}
  - {model: ./b, parameters: {weight: 0.5}}
parameters: {density: 0.2, lambda: 1.3, elect: mass, trim_scope: model}
dtype: float32
""")
A = ModelRef("./a")

SAME_MAP = {
    "another density": set_parameter(RECIPE, "density", 0.9),
    "another scale": set_parameter(RECIPE, "lambda", 0.4),
    "another election": set_parameter(RECIPE, "elect", "count"),
    "another weight of the same sign": set_weight(RECIPE, A, 0.3),
}
ANOTHER_MAP = {
    "a negative weight": set_weight(RECIPE, A, -1.0),
    "a weight of zero": set_weight(RECIPE, A, 0.0),
    "another trim scope": set_parameter(RECIPE, "trim_scope", "tensor"),
    "another dialect": set_parameter(RECIPE, "dialect", "sd-mecha"),
    "another model": add_model(RECIPE, ModelRef("./c")),
}


def test_where_weights_come_in_after_the_vote_only_leaving_a_model_out_changes_the_map():
    recipe = set_parameter(RECIPE, "dialect", "peft")
    assert question(set_weight(recipe, A, -0.5)) == question(recipe)
    left_out = read_recipe(question(leave_out(recipe, A)))
    assert [str(entry.ref) for entry in left_out.models] == ["./b"]


@pytest.mark.parametrize(
    ("change", "counts"),
    [
        ("another density", False),
        ("another scale", False),
        ("another election", True),
        ("another weight of the same sign", True),
    ],
)
def test_who_is_outvoted_is_counted_again_for_another_election_or_weight(change, counts):
    before, after = (question(recipe, elections=True) for recipe in (RECIPE, SAME_MAP[change]))
    assert (before != after) == counts


@pytest.mark.parametrize("change", SAME_MAP)
def test_the_map_stays_for(change):
    assert question(SAME_MAP[change]) == question(RECIPE)


@pytest.mark.parametrize("change", ANOTHER_MAP)
def test_the_map_is_measured_again_for(change):
    assert question(ANOTHER_MAP[change]) != question(RECIPE)


def test_a_method_that_never_trims_is_inspected_as_ties():
    assert "merge_method: ties" in question(set_method(RECIPE, "task_arithmetic"))
    assert read_recipe(question(set_method(RECIPE, "task_arithmetic"))).base == RECIPE.base


def test_without_a_base_there_is_nothing_to_inspect():
    recipe = read_recipe("merge_method: linear\nmodels:\n  - {model: ./a, parameters: {weight: 1}}\n")
    with pytest.raises(UserError, match="base"):
        question(recipe)


def test_every_question_is_a_recipe_that_can_be_read():
    for recipe in (*SAME_MAP.values(), *ANOTHER_MAP.values()):
        read_recipe(question(recipe))
    for recipe in SAME_MAP.values():
        read_recipe(question(recipe, elections=True))
