"""Undo takes back what a visitor would call one change."""

import pytest

from components import page
from components.page import edited, undone
from components.tuning.editing import Draft, set_parameter
from merge_core.recipe import build_recipe


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(page.time, "monotonic", lambda: now[0])
    return now


def test_a_drag_is_one_step_and_a_change_after_a_pause_another(clock: list[float]) -> None:
    draft = Draft.of(build_recipe("ties", "./base", [("./a", {"weight": 1.0})], {"density": 0.2}))
    past = ()
    for seconds, density in ((0.0, 0.3), (0.4, 0.5), (page.PAUSE - 0.1, 0.6), (page.PAUSE + 0.1, 0.7)):
        clock[0] += seconds
        draft, past, _, _ = edited(
            draft, past, 0, lambda r, q=density: set_parameter(r, "density", q), "density"
        )
    assert len(past) == 2
    draft, past, _, _ = undone(draft, past, 0)
    assert draft.recipe.parameters["density"] == 0.6
    draft, past, _, _ = undone(draft, past, 0)
    assert draft.recipe.parameters["density"] == 0.2
