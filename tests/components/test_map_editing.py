"""What the page is told of edited cells, and what the browser may ask for: nothing of it is believed."""

from __future__ import annotations

import json

import pytest

from components.interference.map_editing import edit_cells, own_settings
from components.tuning.editing import Draft
from merge_core.errors import UserError
from merge_core.interference.map_layout import arrange
from merge_core.recipe import read_recipe

NAMES = [
    "embed.weight",
    *(
        f"layers.{n}.{m}.{p}"
        for n in (0, 1, 11)
        for m in ("q_proj", "mlp.up_proj")
        for p in ("weight", "bias")
    ),
]
WRITTEN = """
merge_method: ties
base_model: ./base
models:
  - {model: ./a, parameters: {weight: 1.0}}
  - {model: ./b, parameters: {weight: 0.5}}
parameters: {density: 0.2}
"""
RECIPE = read_recipe(WRITTEN)
KEYS = [cell.key for cell in arrange(NAMES).cells]
CELL = "layers:1:mlp.up_proj"


def test_an_edited_cell_is_told_by_its_key_with_its_settings() -> None:
    edited = edit_cells(RECIPE, NAMES, {"cells": [CELL], "density": 0.6})
    edited = edit_cells(edited, NAMES, {"cells": [CELL], "model": "./b", "weight": 0.9})
    said = json.loads(own_settings(edited, NAMES))
    assert CELL in KEYS
    assert said["density"] == {CELL: 0.6}
    assert said["weight"] == {CELL: {"1": 0.9}}
    assert said["models"] == [{"spelled": "./a", "weight": 1.0}, {"spelled": "./b", "weight": 0.5}]
    assert edit_cells(edited, NAMES, {"cells": [CELL], "reset": True}) == RECIPE


@pytest.mark.parametrize(
    ("density", "follows"),
    [
        ("0.2", False),
        ("[0.1, 0.9]", True),
        ("[{filter: mlp, value: [0.1, 0.9]}, {value: 0.5}]", False),
        ("[{filter: mlp, value: 0.1}, {value: [0.5, 0.9]}]", True),
    ],
)
def test_density_follows_depth_where_what_holds_for_most_tensors_is_a_gradient(
    density: str, follows: bool
) -> None:
    recipe = read_recipe(WRITTEN.replace("0.2", density))
    assert json.loads(own_settings(recipe, NAMES))["depth"] is follows


def test_density_follows_depth_where_slices_differ_in_it() -> None:
    part = """
- parameters: {density: %s}
  sources:
  - {model: ./base, layer_range: [%d, %d]}
  - {model: ./a, layer_range: [%d, %d]}
"""
    for other, follows in ((0.2, False), (0.9, True)):
        slices = part % (0.2, 0, 1, 0, 1) + part % (other, 1, 12, 1, 12)
        recipe = read_recipe(
            f"merge_method: ties\nbase_model: ./base\nparameters: {{weight: 1.0}}\nslices:{slices}"
        )
        assert json.loads(own_settings(recipe, NAMES))["depth"] is follows


def test_densities_that_differ_by_model_are_told_of_each() -> None:
    own = WRITTEN.replace("weight: 1.0", "density: 0.1").replace("weight: 0.5", "density: [0.2, 0.4]")
    third = "  - {model: ./c}\nparameters: {density: 0.5, weight: 1}"
    recipe = read_recipe(own.replace("parameters: {density: 0.2}", third))
    assert json.loads(own_settings(recipe, NAMES))["each"] == [0.1, None, 0.5]
    assert json.loads(own_settings(RECIPE, NAMES))["each"] == []


def test_a_recipe_without_edits_says_nothing_of_cells() -> None:
    said = json.loads(own_settings(RECIPE, NAMES))
    assert (said["density"], said["weight"], said["fixed"]) == ({}, {}, "")


@pytest.mark.parametrize(
    "edit",
    [
        {},
        None,
        {"cells": None, "density": 0.5},
        {"cells": ["<script>"], "density": 0.5},
        {"cells": [CELL], "density": "much"},
        {"cells": [CELL], "density": float("nan")},
        {"cells": [CELL]},
        {"cells": [CELL], "weight": 1, "model": "./nobody"},
        {"cells": [CELL], "weight": None, "model": "./a"},
    ],
)
def test_an_edit_that_makes_no_sense_is_refused_in_words(edit: object) -> None:
    with pytest.raises(UserError):
        edit_cells(RECIPE, NAMES, edit)  # type: ignore[arg-type]


def test_a_density_is_kept_between_one_percent_and_all() -> None:
    for asked, kept in ((0, 0.01), (7, 1.0)):
        said = json.loads(own_settings(edit_cells(RECIPE, NAMES, {"cells": [CELL], "density": asked}), NAMES))
        assert said["density"] == {CELL: kept}


SLICED = read_recipe("""
merge_method: ties
base_model: ./base
slices:
  - sources:
      - {model: ./a, layer_range: [0, 2], parameters: {weight: 1.0}}
      - {model: ./b, layer_range: [0, 2], parameters: {weight: 0.5}}
    parameters: {density: 0.2}
  - sources:
      - {model: ./a, layer_range: [2, 12], parameters: {weight: 1.0}}
      - {model: ./b, layer_range: [2, 12], parameters: {weight: 0.5}}
    parameters: {density: 0.6}
""")
DEEP = {cell.key for cell in arrange(NAMES).cells if cell.layer == 11}


def test_the_map_of_a_recipe_of_slices_knows_which_layers_have_another_density() -> None:
    said = json.loads(own_settings(SLICED, NAMES))
    assert said["fixed"] == ""
    assert said["density"] == dict.fromkeys(DEEP, 0.6)  # the control shows 0.2
    assert said["weight"] == {}


def test_the_map_of_a_recipe_of_slices_knows_which_layers_have_another_weight() -> None:
    text = Draft.of(SLICED).text.replace(
        "weight: 0.5", "weight: 0.7", 1
    )  # in the first slice, which has more tensors
    said = json.loads(own_settings(read_recipe(text), NAMES))
    assert [model["weight"] for model in said["models"]] == [1.0, 0.7]
    assert said["weight"] == {key: {"1": 0.5} for key in DEEP}


def test_cells_of_a_recipe_of_slices_are_edited_and_reset() -> None:
    edited = edit_cells(SLICED, NAMES, {"cells": [CELL], "density": 0.9})
    edited = edit_cells(edited, NAMES, {"cells": [CELL], "model": "./b", "weight": 2.0})
    said = json.loads(own_settings(edited, NAMES))
    assert said["density"] == {CELL: 0.9, **dict.fromkeys(DEEP, 0.6)}
    deeper = edit_cells(SLICED, NAMES, {"cells": [min(DEEP)], "density": 0.9})
    assert json.loads(own_settings(deeper, NAMES))["density"] == dict.fromkeys(DEEP, 0.6) | {min(DEEP): 0.9}
    assert said["weight"][CELL] == {"1": 2.0}
    assert edit_cells(edited, NAMES, {"cells": [CELL], "reset": True}) == SLICED
