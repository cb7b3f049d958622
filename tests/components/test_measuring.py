"""Probe sets that were chosen stay chosen as long as the merge can answer them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from components.runs.measuring import Ticked, look_over
from components.runs.runs import new_owner
from components.tuning.editing import Draft, add_model, remove, set_base
from components.workspace import ROOT, Workspace
from merge_core.hub import HubClient
from merge_core.jobs import JobStore
from merge_core.recipe import ModelRef, Recipe, build_recipe, read_recipe
from tests.tiny_models import gpt2

NOTHING = Ticked([], "", "")


class Chooser:
    """One visitor's probe sets, as their recipe changes."""

    def __init__(self, home: Path) -> None:
        self.workspace = Workspace(JobStore(home), on_space=False)
        self.owner = new_owner()
        self.demo = read_recipe(self.workspace.demo_recipe(), "the demo's recipe")

    def look(self, recipe: Recipe, before: Ticked) -> Ticked:
        found = self.workspace.open(recipe, HubClient())
        return look_over(self.workspace, self.owner, Draft.of(recipe), found, before)


@pytest.fixture
def chooser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Chooser:
    monkeypatch.chdir(ROOT)  # the demo's models are named from here
    return Chooser(tmp_path / "home")


@pytest.fixture
def folder(chooser: Chooser, tmp_path: Path) -> ModelRef:
    """A model of the visitor's own, of the demo's architecture."""
    return ModelRef(str(shutil.copytree(chooser.demo.models[0].ref.path, tmp_path / "mine")))


def test_the_demos_probes_are_chosen_at_first(chooser: Chooser) -> None:
    assert len(chooser.look(chooser.demo, NOTHING).chosen) == 4


def test_probes_stay_chosen_when_a_folder_is_added_and_taken_away(chooser: Chooser, folder: ModelRef) -> None:
    one = Ticked(["demo/shoes.jsonl"], chooser.look(chooser.demo, NOTHING).fitted, "")
    more = add_model(chooser.demo, folder)
    assert chooser.look(more, one) == one
    assert chooser.look(remove(more, folder), one) == one


def test_demo_probes_are_chosen_for_a_link_that_adds_a_folder_to_the_demo(
    chooser: Chooser, folder: ModelRef
) -> None:
    assert len(chooser.look(add_model(chooser.demo, folder), NOTHING).chosen) == 4


def test_probes_stay_chosen_when_another_base_can_answer_them(chooser: Chooser, folder: ModelRef) -> None:
    first = chooser.look(chooser.demo, NOTHING)
    after = chooser.look(set_base(chooser.demo, folder), first)
    assert (after.chosen, after.misfit) == (first.chosen, "")


def test_probes_that_the_models_cannot_answer_are_given_up_with_the_reason(
    chooser: Chooser, tmp_path: Path
) -> None:
    gpt2(tmp_path / "words")
    recipe = build_recipe("linear", None, [(ModelRef(str(tmp_path / "words")), {"weight": 1.0})])
    after = chooser.look(recipe, chooser.look(chooser.demo, NOTHING))
    assert after.chosen == []
    assert "words does not fit the probe digits: it asks for an image classifier" in after.misfit
    assert "3 more" in after.misfit
    again = chooser.look(chooser.demo, after)
    assert (len(again.chosen), again.misfit) == (4, "")
