"""Escape closes what has nothing to lose, and never a panel with words in it that were not taken."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

MINUTE = 60_000  # ms


@pytest.fixture
def recipe(page: Page, app_address: str) -> Page:
    """The page with the recipe's panel open."""
    page.goto(app_address)
    expect(page.locator("#tb-start")).to_be_enabled(timeout=MINUTE)
    page.click("#tb-recipe-button")
    expect(page.locator("#tb-recipe-text .cm-content")).to_contain_text("merge_method")
    return page


def test_a_refused_recipe_is_kept_and_its_notice_closes_first(recipe: Page) -> None:
    recipe.locator("#tb-recipe-text .cm-content").click()
    recipe.keyboard.press("Control+A")
    recipe.keyboard.insert_text("merge_method: nonsense")
    recipe.click("#tb-apply")
    notice = recipe.locator("#tb-notice .tb-notice")
    expect(notice).to_contain_text("things to mend")
    recipe.keyboard.press("Escape")
    expect(notice).to_be_hidden()
    recipe.keyboard.press("Escape")
    expect(recipe.locator("#tb-recipe-close")).to_be_focused()
    expect(recipe.locator("#tb-recipe-text .cm-content")).to_have_text("merge_method: nonsense")


@pytest.mark.parametrize("key", ["Backspace", "Enter", "Control+x"])
def test_an_edit_without_typing_is_kept_too(recipe: Page, key: str) -> None:
    recipe.locator("#tb-recipe-text .cm-content").click()
    recipe.keyboard.press("Control+A")
    recipe.keyboard.press(key)
    recipe.keyboard.press("Escape")
    expect(recipe.locator("#tb-recipe-close")).to_be_focused()
    expect(recipe.locator("#tb-recipe-panel")).to_be_visible()


def test_a_panel_that_was_discarded_and_opened_anew_closes(recipe: Page) -> None:
    editor, panel = recipe.locator("#tb-recipe-text .cm-content"), recipe.locator("#tb-recipe-panel")
    editor.click()
    recipe.keyboard.type("# x")
    recipe.click("#tb-recipe-button")
    expect(panel).to_be_hidden()
    recipe.click("#tb-recipe-button")
    expect(editor).not_to_contain_text("# x")
    editor.click()
    recipe.keyboard.press("Escape")
    expect(panel).to_be_hidden()


def test_escape_in_a_field_outside_the_panel_closes_nothing(recipe: Page) -> None:
    field = recipe.locator("#lambda input[type=number]")
    field.focus()
    recipe.keyboard.press("Escape")
    expect(field).to_be_focused()
    expect(recipe.locator("#tb-recipe-panel")).to_be_visible()
