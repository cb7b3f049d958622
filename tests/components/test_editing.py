"""What each control does to a recipe."""

import pytest

from components.tuning import editing
from components.tuning.editing import (
    Draft,
    add_model,
    bring_back,
    is_left_out,
    leave_out,
    remove,
    set_base,
    set_method,
    set_parameter,
    set_weight,
    shown_parameter,
    shown_weight,
)
from merge_core.errors import UserError
from merge_core.methods import METHODS
from merge_core.recipe import ModelRef, Recipe, build_recipe, read_recipe

PLAIN = """
merge_method: ties
base_model: ./base
models:
  - model: ./a
    parameters: {weight: 1.0}
  - model: ./b
    parameters: {weight: 0.5}
parameters: {density: 0.2}
"""
BY_MODEL = """
merge_method: ties
base_model: ./base
models:
  - model: ./a
    parameters: {weight: 1.0, density: 0.5}
  - model: ./b
    parameters: {weight: [0, 1], density: 0.3}
"""
SLICED = """
merge_method: ties
base_model: ./base
slices:
  - sources:
      - {model: ./a, layer_range: [0, 2], parameters: {weight: 1.0}}
      - {model: ./b, layer_range: [0, 2], parameters: {weight: 0.3}}
  - sources:
      - {model: ./a, layer_range: [2, 4], parameters: {weight: 0.2}}
      - {model: ./b, layer_range: [2, 4], parameters: {weight: 0.3}}
parameters: {density: 0.4}
"""
A, B, C, BASE = (ModelRef(f"./{name}") for name in ("a", "b", "c", "base"))
DENSITY = METHODS["ties"].parameter("density")


def weight_of(recipe: Recipe, ref: ModelRef, layer: int = 0) -> float:
    return recipe.value(METHODS["ties"].parameter("weight"), model=ref, tensor="x", layer=layer, layers=4)


@pytest.fixture(params=[PLAIN, BY_MODEL, SLICED], ids=["plain", "by model", "sliced"])
def recipe(request):
    return read_recipe(request.param)


def test_an_added_model_weighs_one_everywhere_and_the_others_stay(recipe):
    before = [weight_of(recipe, ref, layer) for ref in (A, B) for layer in (0, 3)]
    after = add_model(recipe, C)
    assert [e.ref for e in after.models] == [A, B, C]
    assert [weight_of(after, C, layer) for layer in (0, 3)] == [1.0, 1.0]
    assert [weight_of(after, ref, layer) for ref in (A, B) for layer in (0, 3)] == before


def test_a_model_cannot_be_added_twice(recipe):
    with pytest.raises(UserError, match="already"):
        add_model(recipe, A)
    with pytest.raises(UserError, match="already"):
        add_model(recipe, BASE)


def test_a_removed_model_is_named_nowhere(recipe):
    assert "./a" not in Draft.of(remove(recipe, A)).text


def test_removing_the_base_leaves_a_draft_that_says_it_needs_one(recipe):
    draft = Draft.of(remove(recipe, BASE))
    assert draft.recipe.base is None
    assert "base" in str(draft.problem)


def test_a_fine_tune_that_becomes_the_base_is_no_fine_tune_any_more(recipe):
    after = set_base(recipe, A)
    assert after.base == A
    assert [e.ref for e in after.models] == [B]


def test_a_weight_is_set_for_one_model_in_all_its_layers(recipe):
    others = [weight_of(recipe, B, layer) for layer in (0, 3)]
    after = set_weight(recipe, A, 0.75)
    assert [weight_of(after, A, layer) for layer in (0, 3)] == [0.75, 0.75]
    assert [weight_of(after, B, layer) for layer in (0, 3)] == others


def test_a_common_weight_stays_with_the_models_that_were_not_touched():
    after = set_weight(set_parameter(read_recipe(PLAIN), "weight", 0.8), A, 0.25)
    assert (weight_of(after, A), weight_of(after, B)) == (0.25, 0.8)


def test_one_density_replaces_those_of_the_models(recipe):
    after = set_parameter(recipe, "density", 0.9)
    for ref in (A, B):
        assert after.value(DENSITY, model=ref, tensor="x", layer=3, layers=4) == 0.9


def test_leaving_a_parameter_to_the_method_takes_it_out_of_the_text(recipe):
    assert "density" not in Draft.of(set_parameter(recipe, "density", None)).text


def test_another_method_keeps_what_it_takes_and_drops_the_rest(recipe):
    after = Draft.of(set_method(recipe, "task_arithmetic"))
    assert after.problem is None
    assert "density" not in after.text
    assert weight_of(after.recipe, B) == weight_of(recipe, B)


def test_every_edit_survives_being_written_and_read(recipe):
    for after in (add_model(recipe, C), remove(recipe, B), set_weight(recipe, A, 0.1), set_base(recipe, C)):
        draft = Draft.of(after)
        assert Draft.of(read_recipe(draft.text)) == draft


def test_a_setting_that_is_the_same_for_all_is_shown_without_a_note():
    assert shown_parameter(read_recipe(PLAIN), DENSITY).value == 0.2
    assert not shown_parameter(read_recipe(PLAIN), DENSITY).note


def test_settings_that_differ_are_shown_with_all_their_values():
    assert "0.5, 0.3" in shown_parameter(read_recipe(BY_MODEL), DENSITY).note


def test_a_weight_that_varies_by_layer_says_so_and_shows_its_mean():
    recipe = read_recipe(BY_MODEL)
    assert shown_weight(recipe, recipe.models[1]).note == "varies by layer"
    assert shown_weight(recipe, recipe.models[1]).value == 0.5


def test_a_weight_that_slices_set_differently_is_shown_as_varying():
    recipe = read_recipe(SLICED)
    assert shown_weight(recipe, recipe.models[0]).note == "varies by layer"
    assert not shown_weight(recipe, recipe.models[1]).note


def test_drafts_with_the_same_text_are_the_same():
    assert Draft.of(read_recipe(PLAIN)) == Draft.of(read_recipe(PLAIN))
    assert hash(Draft.of(read_recipe(PLAIN))) == hash(Draft.of(read_recipe(PLAIN)))


def test_coming_back_to_a_method_brings_back_what_only_it_takes(recipe):
    linear = set_method(recipe, "linear")
    again = set_method(linear, "ties", earlier=[recipe])
    assert "density" not in Draft.of(linear).text
    assert Draft.of(again) == Draft.of(recipe)


def test_what_both_methods_take_stays_as_it_is_now():
    recipe = read_recipe(PLAIN)
    now = set_weight(set_method(recipe, "linear"), A, 0.3)
    again = set_method(now, "ties", earlier=[recipe])
    assert weight_of(again, A) == 0.3
    assert again.parameters["density"] == 0.2


def test_settings_of_a_model_that_has_left_do_not_come_back():
    recipe = read_recipe(BY_MODEL)
    again = set_method(remove(set_method(recipe, "linear"), A), "ties", earlier=[recipe])
    assert [e.parameters["density"] for e in again.models] == [0.3]


def test_the_latest_draft_that_had_the_parameter_is_the_one_that_counts():
    first, second = (set_parameter(read_recipe(PLAIN), "density", q) for q in (0.4, 0.7))
    linear = set_method(second, "linear")
    assert set_method(linear, "ties", earlier=[first, second, linear]).parameters["density"] == 0.7


def test_a_model_that_is_left_out_comes_back_with_the_weight_it_had(recipe):
    before = [weight_of(recipe, B, layer) for layer in (0, 3)]
    without = leave_out(recipe, B)
    assert [weight_of(without, B, layer) for layer in (0, 3)] == [0, 0]
    assert [is_left_out(without, e) for e in without.models] == [False, True]
    assert [weight_of(without, A, layer) for layer in (0, 3)] == [
        weight_of(recipe, A, layer) for layer in (0, 3)
    ]
    again = bring_back(without, B, earlier=[recipe, without])
    assert [weight_of(again, B, layer) for layer in (0, 3)] == before


def test_a_model_that_never_had_a_weight_comes_back_with_one(recipe):
    without = leave_out(recipe, B)
    assert weight_of(bring_back(without, B), B) == 1.0


def test_a_common_weight_comes_back_to_a_model_that_was_left_out():
    recipe = set_parameter(read_recipe(PLAIN), "weight", 0.8)
    assert weight_of(bring_back(leave_out(recipe, B), B, earlier=[recipe]), B) == 0.8


def test_models_left_out_are_no_parents_of_a_merge() -> None:
    recipe = build_recipe(
        "ties", "./base", [("./a", {"weight": 1.0}), ("./b", {"weight": 0.0})], {"density": 0.5}
    )
    assert [str(entry.ref) for entry in editing.without_left_out(recipe).models] == ["./a"]
    nobody = build_recipe("ties", "./base", [("./a", {"weight": 0.0})], {"density": 0.5})
    assert editing.without_left_out(nobody) == nobody


def test_cleared_recipe_has_no_models_and_nothing_that_depended_on_them() -> None:
    recipe = build_recipe("ties", "./base", [("./a", {"weight": 1.0})], {"density": 0.5}, dtype="float32")
    bare = editing.cleared(recipe)
    assert (bare.base, bare.models, bare.dtype) == (None, (), None)
    assert bare.parameters == {"density": 0.5}


def test_result_is_stored_as_asked_or_as_the_base_is() -> None:
    recipe = build_recipe("ties", "./base", [("./a", {"weight": 1.0})], out_dtype="float16")
    assert editing.set_dtype(recipe, "bfloat16").dtype == "bfloat16"
    assert editing.set_dtype(recipe, "bfloat16").out_dtype is None
    assert editing.set_dtype(recipe, "").dtype is None
