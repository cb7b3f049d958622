"""Controls show what holds, whether the recipe says so or the dialect does."""

from __future__ import annotations

import re
from dataclasses import replace

from components.tuning.controls import declared_controls
from components.tuning.tuner import control_updates
from merge_core.methods import METHODS
from merge_core.recipe import Recipe, build_recipe

MODELS = [("./a", {}), ("./b", {})]


def shown(recipe: Recipe) -> dict[str, object]:
    controls = declared_controls()
    updates = control_updates(recipe, controls)
    return {c.name: u["value"] for c, u in zip(controls, updates, strict=True) if u["visible"]}


def ties(**parameters: object) -> Recipe:
    return build_recipe("ties", "./base", MODELS, {"weight": 1.0, **parameters})


def test_controls_show_what_the_dialect_means_where_the_recipe_says_nothing() -> None:
    plain = shown(ties())
    assert (plain["trim_scope"], plain["elect"], plain["combine"], plain["lambda"]) == (
        "tensor",
        "mass",
        "mean",
        1.0,
    )
    bench = shown(ties(dialect="fusionbench"))
    assert (bench["trim_scope"], bench["combine"], bench["lambda"]) == ("model", "sum", 0.3)
    assert shown(ties(dialect="sd-mecha"))["elect"] == "count"


def test_what_the_recipe_says_stands_above_the_dialect() -> None:
    said = shown(ties(dialect="paper", trim_scope="tensor", elect="count"))
    assert (said["trim_scope"], said["elect"]) == ("tensor", "count")


def test_a_note_goes_with_the_recipe_it_was_about() -> None:
    controls = declared_controls()
    place = next(number for number, control in enumerate(controls) if control.name == "density")
    varied = replace(ties(), parameters={"weight": 1.0, "density": (0.1, 0.9)})
    assert re.search(r"sets 10\s%, 90\s% for", control_updates(varied, controls)[place]["info"])
    assert (
        control_updates(ties(density=0.2), controls)[place]["info"] == ""
    )  # None would leave the note standing


def test_density_is_shown_in_percent_and_read_back_as_a_share() -> None:
    density = next(control for control in declared_controls() if control.name == "density")
    assert shown(ties(density=0.25))["density"] == 25
    assert density.from_view(25) == 0.25


def test_every_parameter_of_every_method_but_weights_has_one_control_with_words_for_each_choice() -> None:
    controls = {control.name: control for control in declared_controls()}
    declared = {p.name for method in METHODS.values() for p in method.parameters if p.name != "weight"}
    assert controls.keys() == declared
    for control in controls.values():
        if control.parameter.kind == "choice":
            assert [value for _, value in control.choices()] == list(control.parameter.choices)
