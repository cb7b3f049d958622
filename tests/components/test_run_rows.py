"""What a run is called in lists: the method, and what was chosen otherwise than the method has it."""

from __future__ import annotations

import re

import pytest

from components.runs.run_rows import run_title
from merge_core.recipe import read_recipe


@pytest.mark.parametrize(
    ("method", "said", "title"),
    [
        ("ties", "density: 0.2, lambda: 1.0", "TIES · 20 %"),
        ("ties", "density: 0.2, lambda: 0.4", "TIES · 20 % · λ 0.4"),
        ("ties", "dialect: fusionbench, density: 0.2, lambda: 0.3", "TIES · 20 %"),
        (
            "ties",
            "density: 0.2, trim_scope: model, elect: count, combine: sum, lambda: 2",
            "TIES · 20 % · model · λ 2",
        ),
        ("ties", "density: [0.1, 0.9], lambda: 0.4", "TIES · 10–90 % · λ 0.4"),
        ("dare_linear", "density: 0.5, lambda: 1.0", "DARE · 50 %"),
        ("dare_linear", "density: 0.5, lambda: 0.4", "DARE · 50 % · λ 0.4"),
        (
            "dare_ties",
            "density: 0.5, rescale: false, seed: 3, lambda: [0.4, 1]",
            "DARE TIES · 50 % · no rescale · λ 0.4 – 1",
        ),
        ("task_arithmetic", "lambda: 0.4", "Task arithmetic · λ 0.4"),
    ],
)
def test_a_run_is_called_by_its_method_what_it_keeps_and_its_scale(
    method: str, said: str, title: str
) -> None:
    models = "[{model: ./a}, {model: ./b}]"
    recipe = read_recipe(
        f"merge_method: {method}\nbase_model: ./base\nmodels: {models}\nparameters: {{weight: 1.0, {said}}}\n"
    )
    assert re.sub(r"\s", " ", run_title(recipe)) == title


def test_densities_by_model_are_told_from_the_lowest_to_the_highest() -> None:
    own = ", ".join(
        f"{{model: ./{n}, parameters: {{weight: 1, density: {d}}}}}" for n, d in (("a", 0.5), ("b", 0.1))
    )
    recipe = read_recipe(f"merge_method: ties\nbase_model: ./base\nmodels: [{own}]\n")
    assert re.sub(r"\s", " ", run_title(recipe)) == "TIES · 10–50 %"
