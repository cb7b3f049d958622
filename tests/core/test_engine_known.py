"""What was measured once is not measured again, and what is kept is keyed by content and bounded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from merge_core.engine import merge
from merge_core.errors import UserError
from merge_core.interference import inspect
from merge_core.kernels import rank
from merge_core.prepare import prepare
from merge_core.recipe import read_recipe
from merge_core.streaming.cut import Threshold
from merge_core.streaming.vectors import VectorReader
from merge_core.trimming import known as known_module
from merge_core.trimming.known import WHOLE_MODEL, KnownThresholds
from tests.checkpoints import read_model, write_model
from tests.core.test_engine import SHAPES, family, recipe_text, weight_bytes

LARGE = {**SHAPES, "model.layers.2.mlp.weight": (500, 400)}  # too large to be ranked by sorting


@pytest.fixture
def models(tmp_path: Path) -> list[Path]:
    return family(tmp_path / "models", "bfloat16", models=2, shapes=LARGE)


@pytest.fixture
def no_ranking(monkeypatch: pytest.MonkeyPatch) -> Any:
    """From when it is called on, ranking magnitudes is an error."""

    def refuse(*_: Any) -> None:
        raise AssertionError("magnitudes were ranked again")

    def begin() -> None:
        monkeypatch.setattr(rank, "scan_brackets", refuse)
        monkeypatch.setattr(VectorReader, "sample", refuse)

    return begin


@pytest.mark.parametrize("scope", ["tensor", "model"])
@pytest.mark.parametrize("dialect", ["mergekit", "paper", "sd-mecha"])
def test_a_merge_after_an_inspection_reuses_its_thresholds_whatever_density_weights_and_election(
    tmp_path: Path, models: list[Path], no_ranking: Any, scope: str, dialect: str
) -> None:
    texts = [
        recipe_text(models, dialect=dialect, trim_scope=scope, density=0.2),
        recipe_text(
            models, dialect=dialect, trim_scope=scope, density=0.67, elect="count", weights=(3.0, -1.0)
        ),
    ]
    for number, text in enumerate(texts):
        merge(prepare(read_recipe(text)), tmp_path / f"expected-{number}")
    inspect(prepare(read_recipe(texts[0])), known=tmp_path / "known")
    no_ranking()
    for number, text in enumerate(texts):
        merge(prepare(read_recipe(text)), tmp_path / f"out-{number}", known=tmp_path / "known")
        assert weight_bytes(tmp_path / f"out-{number}") == weight_bytes(tmp_path / f"expected-{number}")


def test_a_second_merge_with_other_weights_ranks_nothing(
    tmp_path: Path, models: list[Path], no_ranking: Any
) -> None:
    merge(prepare(read_recipe(recipe_text(models, density=0.123))), tmp_path / "a", known=tmp_path / "known")
    no_ranking()
    text = recipe_text(models, density=0.123, weights=(0.1, 0.9))
    merge(prepare(read_recipe(text)), tmp_path / "b", known=tmp_path / "known")


def test_a_trim_that_breaks_ties_is_not_misled_by_one_that_kept_all_equals(
    tmp_path: Path, models: list[Path]
) -> None:
    kept_equals = recipe_text(models, dialect="sd-mecha", density=0.2)
    breaks_ties = recipe_text(
        models, density=0.200006
    )  # keeps as many of the 200,000 as the other asks for: 40,001
    merge(prepare(read_recipe(kept_equals)), tmp_path / "a", known=tmp_path / "known")
    merge(prepare(read_recipe(breaks_ties)), tmp_path / "out", known=tmp_path / "known")
    merge(prepare(read_recipe(breaks_ties)), tmp_path / "expected")
    assert weight_bytes(tmp_path / "out") == weight_bytes(tmp_path / "expected")


def test_a_changed_model_is_measured_anew(tmp_path: Path, models: list[Path]) -> None:
    text = recipe_text(models, density=0.3)
    inspect(prepare(read_recipe(text)), known=tmp_path / "known")
    tensors = {name: values * 2 for name, values in read_model(models[1]).items()}
    write_model(models[1], tensors, "bfloat16")
    merge(prepare(read_recipe(text)), tmp_path / "out", known=tmp_path / "known")
    merge(prepare(read_recipe(text)), tmp_path / "expected")
    assert weight_bytes(tmp_path / "out") == weight_bytes(tmp_path / "expected")


@pytest.mark.parametrize("damage", [b"", b"not a zip file", None])
def test_a_damaged_or_unwritable_store_costs_only_time(
    tmp_path: Path, models: list[Path], damage: bytes | None
) -> None:
    text = recipe_text(models, density=0.3)
    folder = tmp_path / "known"
    if damage is None:
        folder.write_text("a file where the folder should be")
    else:
        inspect(prepare(read_recipe(text)), known=folder)
        for file in folder.iterdir():
            file.write_bytes(damage)
    merge(prepare(read_recipe(text)), tmp_path / "out", known=folder)
    merge(prepare(read_recipe(text)), tmp_path / "expected")
    assert weight_bytes(tmp_path / "out") == weight_bytes(tmp_path / "expected")


def test_what_is_kept_is_bounded_and_the_longest_unused_goes_first(
    tmp_path: Path, models: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "known"
    folder.mkdir()
    old = folder / "old.npz"
    old.write_bytes(bytes(10_000))
    os.utime(old, (1, 1))
    inspect(prepare(read_recipe(recipe_text(models, density=0.3))), known=folder)
    assert old.exists()
    monkeypatch.setattr(known_module, "MOST_BYTES", sum(f.stat().st_size for f in folder.iterdir()) - 1)
    inspect(prepare(read_recipe(recipe_text(models, density=0.4))), known=folder)
    assert not old.exists()
    assert len(list(folder.iterdir())) == 2


@pytest.mark.parametrize("command", ["merge", "check", "inspect"])
def test_the_command_line_never_loads_what_it_does_not_need(
    tmp_path: Path, models: list[Path], command: str
) -> None:
    recipe = tmp_path / "recipe.yml"
    recipe.write_text(recipe_text(models, density=0.3))
    arguments = [command, str(recipe), *([str(tmp_path / "out")] if command == "merge" else [])]
    heavy = ["torch", "transformers", "gradio", "plotly", "pandas", "huggingface_hub"]
    script = (
        "import sys\nfrom merge_core.__main__ import main\n"
        f"code = main({arguments!r})\nprint([m for m in {heavy!r} if m in sys.modules], code)"
    )
    environment = {**os.environ, "TIEBREAK_HOME": str(tmp_path / "home")}
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment, cwd=root
    )
    assert done.stdout.splitlines()[-1] == "[] 0", done.stderr


def test_thresholds_are_found_again_whatever_their_scope_and_the_order_they_came_in(
    tmp_path: Path, models: list[Path]
) -> None:
    plan = prepare(read_recipe(recipe_text(models, density=0.3)))
    small = {7: Threshold(5, 1, 1), 3: Threshold(9, 2, 1)}
    large = {10**10: Threshold(1, 6 * 10**9, 5 * 10**9)}  # counts that 32 bits do not hold
    known = KnownThresholds(tmp_path / "known", plan)
    known.add(0, 4, small)
    known.add(0, WHOLE_MODEL, large)
    known.add(0, 4, {5: Threshold(7, 3, 2)})
    known.save()
    again = KnownThresholds(tmp_path / "known", plan)
    for found in (known, again):
        assert {k: found.get(0, 4, k) for k in (3, 5, 7)} == {**small, 5: Threshold(7, 3, 2)}
        assert found.get(0, WHOLE_MODEL, 10**10) == large[10**10]
        assert [found.get(0, 4, 4), found.get(0, 5, 3), found.get(1, 4, 3)] == [None, None, None]


def test_nothing_is_learned_from_an_input_that_changed_meanwhile(tmp_path: Path, models: list[Path]) -> None:
    plan = prepare(read_recipe(recipe_text(models, density=0.3)))
    weights = models[0] / "model.safetensors"
    with pytest.raises(UserError, match="changed while it was read"):
        merge(plan, tmp_path / "out", known=tmp_path / "known", progress=lambda _: weights.touch())
    assert not list((tmp_path / "known").glob("*"))
