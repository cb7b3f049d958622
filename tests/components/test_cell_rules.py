"""Editing cells writes rules that hold for exactly the chosen tensors, and undoes them without a trace."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.tuning.cell_rules import (
    Tensors,
    filters_for,
    reset,
    set_cell_weight,
    set_density,
)
from components.tuning.cell_settings import own_densities, own_weights
from components.tuning.editing import Draft, set_method, set_parameter, set_weight, shown_parameter
from merge_core.errors import UserError
from merge_core.methods import METHODS
from merge_core.recipe import ModelRef, Recipe, read_recipe

MODULES = ("self_attn.q_proj", "self_attn.v_proj", "mlp.up_proj", "mlp.down_proj")
LLAMA = Tensors(
    (
        "model.embed_tokens.weight",
        *(f"model.layers.{layer}.{module}.weight" for layer in range(12) for module in MODULES),
        "model.norm.weight",
        "lm_head.weight",
    )
)
PLAIN = """
merge_method: ties
base_model: ./base
models:
  - {model: ./a, parameters: {weight: 1.0}}
  - {model: ./b, parameters: {weight: 0.5}}
parameters: {density: 0.2}
"""
GRADIENT = PLAIN.replace("density: 0.2", "density: [0.1, 0.9]")
RULES = PLAIN.replace("density: 0.2", "density: [{filter: mlp, value: 0.5}, {value: 0.2}]")
BY_MODEL = PLAIN.replace("weight: 1.0}", "weight: 1.0, density: 0.3}").replace(
    "weight: 0.5}", "weight: 0.5, density: 0.6}"
)
A, B = ModelRef("./a"), ModelRef("./b")


def of_layer(layer: int, module: str = "") -> set[str]:
    return {name for name in LLAMA.names if name.startswith(f"model.layers.{layer}.{module}")}


def values(recipe: Recipe, parameter: str, ref: ModelRef = A) -> dict[str, object]:
    """What the merge itself would take for every tensor, from the recipe as written and read again."""
    again = read_recipe(Draft.of(recipe).text)
    declared = METHODS[again.method].parameter(parameter)
    found = {}
    for name in LLAMA.names:
        layer = int(name.split(".")[2]) if ".layers." in name else None
        found[name] = again.value(declared, model=ref, tensor=name, layer=layer, layers=12)
    return found


@pytest.mark.parametrize(
    "text", [PLAIN, GRADIENT, RULES, BY_MODEL], ids=["plain", "gradient", "rules", "by model"]
)
@pytest.mark.parametrize(
    "chosen",
    [
        of_layer(1),
        of_layer(1, "mlp"),
        of_layer(11, "mlp.up_proj"),
        of_layer(3) | of_layer(4, "mlp"),
        {"lm_head.weight"},
    ],
    ids=["a layer", "two cells", "one cell", "cells of two layers", "a head"],
)
@pytest.mark.parametrize("ref", [A, B])
def test_only_the_chosen_tensors_change(text: str, chosen: set[str], ref: ModelRef) -> None:
    recipe = read_recipe(text)
    before, after = (
        values(recipe, "density", ref),
        values(set_density(recipe, chosen, 0.77, LLAMA), "density", ref),
    )
    assert after == {name: 0.77 if name in chosen else before[name] for name in LLAMA.names}


def test_one_cell_is_named_as_a_person_would() -> None:
    assert filters_for(of_layer(3, "mlp"), LLAMA.names) == [("model.layers.3.mlp.", True)]
    assert filters_for(of_layer(1), LLAMA.names) == [("model.layers.1.", True)]
    assert filters_for({n for n in LLAMA.names if "up_proj" in n}, LLAMA.names) == [(".up_proj.", True)]


def test_a_name_that_is_part_of_another_is_told_apart() -> None:
    names = ("head.weight", "big.head.weight", "very.big.head.weight")
    recipe = set_density(read_recipe(PLAIN), {"head.weight"}, 0.5, Tensors(names))
    declared = METHODS["ties"].parameter("density")
    found = [recipe.value(declared, model=A, tensor=n, layer=None, layers=0) for n in names]
    assert found == [0.5, 0.2, 0.2]


@given(st.data())
def test_filters_match_the_chosen_names_and_no_others(data: st.DataObject) -> None:
    word = st.text("ab.1<", min_size=1, max_size=5)
    names = data.draw(st.lists(word, min_size=1, max_size=12, unique=True))
    chosen = set(data.draw(st.lists(st.sampled_from(names), unique=True)))
    filters = filters_for(chosen, names)
    for name in names:
        assert next((is_chosen for text, is_chosen in filters if text in name), False) == (name in chosen)


def test_setting_a_cell_twice_leaves_one_rule_and_resetting_it_none() -> None:
    recipe = read_recipe(PLAIN)
    twice = set_density(set_density(recipe, of_layer(3), 0.4, LLAMA), of_layer(3), 0.6, LLAMA)
    assert Draft.of(twice).text.count("filter") == 1
    assert Draft.of(reset(twice, of_layer(3), LLAMA)) == Draft.of(recipe)


def test_resetting_one_of_two_cells_keeps_the_other() -> None:
    both = set_density(read_recipe(PLAIN), of_layer(3) | of_layer(5), 0.4, LLAMA)
    after = values(reset(both, of_layer(3), LLAMA), "density")
    assert {name for name in after if after[name] == 0.4} == of_layer(5)


def test_a_weight_changes_in_one_model_alone() -> None:
    recipe = read_recipe(PLAIN)
    after = set_cell_weight(recipe, of_layer(2), B, 0.9, LLAMA)
    assert values(after, "weight", A) == values(recipe, "weight", A)
    assert {n for n, v in values(after, "weight", B).items() if v == 0.9} == of_layer(2)
    assert own_weights(after, LLAMA) == {name: {"./b": 0.9} for name in LLAMA.names if name in of_layer(2)}
    assert Draft.of(reset(after, of_layer(2), LLAMA)) == Draft.of(recipe)


def test_a_common_weight_is_changed_for_one_model_alone() -> None:
    recipe = read_recipe(
        PLAIN.replace(", parameters: {weight: 1.0}", "")
        .replace(", parameters: {weight: 0.5}", "")
        .replace("density: 0.2", "density: 0.2, weight: 0.8")
    )
    after = set_cell_weight(recipe, of_layer(2), B, 0.9, LLAMA)
    assert set(values(after, "weight", A).values()) == {0.8}
    assert {n for n, v in values(after, "weight", B).items() if v == 0.9} == of_layer(2)


def test_tensors_with_a_density_of_their_own_are_told() -> None:
    recipe = read_recipe(PLAIN)
    assert own_densities(recipe, LLAMA) == {}
    assert own_densities(set_density(recipe, of_layer(4), 0.7, LLAMA), LLAMA) == dict.fromkeys(
        of_layer(4), 0.7
    )
    assert own_densities(read_recipe(GRADIENT), LLAMA)["model.layers.11.mlp.up_proj.weight"] == 0.9


def test_the_control_for_all_cells_leaves_those_that_have_their_own() -> None:
    edited = set_density(read_recipe(PLAIN), of_layer(4), 0.7, LLAMA)
    assert shown_parameter(edited, METHODS["ties"].parameter("density")).value == 0.2
    after = set_parameter(edited, "density", 0.5)
    assert own_densities(after, LLAMA) == dict.fromkeys(of_layer(4), 0.7)
    assert values(after, "density")["lm_head.weight"] == 0.5


def test_a_trim_over_the_whole_model_has_one_density() -> None:
    recipe = set_parameter(read_recipe(PLAIN), "trim_scope", "model")
    with pytest.raises(UserError, match="whole model"):
        set_density(recipe, of_layer(1), 0.5, LLAMA)
    with pytest.raises(UserError, match="no density"):
        set_density(set_method(read_recipe(PLAIN), "linear"), of_layer(1), 0.5, LLAMA)


# Recipes of slices ----------------------------------------------------------------------------------------------------

SLICES = """
merge_method: ties
base_model: ./base
slices:
  - sources:
      - {model: ./a, layer_range: [0, 6], parameters: {weight: 1.0, density: 0.7}}
      - {model: ./b, layer_range: [0, 6], parameters: {weight: 0.5}}
    parameters: {density: [0.1, 0.5]}
  - sources:
      - {model: ./a, layer_range: [6, 12], parameters: {weight: 0.25}}
      - {model: ./b, layer_range: [6, 12], parameters: {weight: [0.5, 1.5]}}
parameters: {density: 0.3}
"""
CHOSEN = of_layer(2, "mlp") | of_layer(5) | of_layer(9, "self_attn.q_proj") | {"lm_head.weight"}


def test_cells_of_a_recipe_of_slices_get_a_density_of_their_own_and_no_other_tensor_changes() -> None:
    recipe = read_recipe(SLICES)
    edited = set_density(recipe, CHOSEN, 0.9, LLAMA)
    for ref in (A, B):
        before, after = values(recipe, "density", ref), values(edited, "density", ref)
        assert after == {name: 0.9 if name in CHOSEN else before[name] for name in LLAMA.names}
    assert values(edited, "weight") == values(recipe, "weight")


def test_cells_of_a_recipe_of_slices_get_a_weight_of_their_own_and_no_other_model_changes() -> None:
    recipe = read_recipe(SLICES)
    edited = set_cell_weight(recipe, CHOSEN, B, -2.0, LLAMA)
    before = values(recipe, "weight", B)
    assert values(edited, "weight", B) == {n: -2.0 if n in CHOSEN else before[n] for n in LLAMA.names}
    assert values(edited, "weight", A) == values(recipe, "weight", A)


def test_resetting_cells_of_a_recipe_of_slices_undoes_their_edits() -> None:
    recipe = read_recipe(SLICES.replace("[0.1, 0.5]", "0.4").replace("[0.5, 1.5]", "0.5"))
    edited = set_cell_weight(set_density(recipe, CHOSEN, 0.9, LLAMA), CHOSEN, A, 3.0, LLAMA)
    assert reset(edited, CHOSEN, LLAMA) == recipe


def test_one_density_for_all_leaves_edited_cells_of_slices_their_own() -> None:
    edited = set_parameter(set_density(read_recipe(SLICES), CHOSEN, 0.9, LLAMA), "density", 0.15)
    assert values(edited, "density") == {n: 0.9 if n in CHOSEN else 0.15 for n in LLAMA.names}
    weighed = set_weight(set_cell_weight(read_recipe(SLICES), CHOSEN, B, 4.0, LLAMA), B, 0.75)
    assert values(weighed, "weight", B) == {n: 4.0 if n in CHOSEN else 0.75 for n in LLAMA.names}


@given(
    st.lists(
        st.tuples(st.sets(st.sampled_from(LLAMA.names), min_size=1), st.sampled_from([0.1, 0.6])), max_size=4
    )
)
def test_any_edits_of_slices_one_after_the_other_are_what_the_merge_takes(edits) -> None:
    recipe = read_recipe(SLICES)
    expected = {ref: values(recipe, "density", ref) for ref in (A, B)}
    for chosen, density in edits:
        recipe = set_density(recipe, chosen, density, LLAMA)
        for ref in expected:
            expected[ref] |= dict.fromkeys(chosen, density)
    for ref in (A, B):
        assert values(recipe, "density", ref) == expected[ref]
