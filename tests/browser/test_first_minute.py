"""What a new user does first: opens the page, moves the slider, merges, reads the scores."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

MINUTE = 60_000  # ms


@pytest.fixture(scope="module")
def visitor(browser: Browser) -> Iterator[BrowserContext]:
    """One visitor's browser, which keeps its runs from test to test."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    yield context
    context.close()


@pytest.fixture
def opened(visitor: BrowserContext, app_address: str) -> Iterator[Page]:
    page = visitor.new_page()
    page.goto(app_address)
    expect(page.locator("#tb-start")).to_be_enabled(timeout=MINUTE)
    yield page
    page.close()


def test_page_opens_with_the_demo_chosen_and_one_click_merges_and_measures_it(opened: Page) -> None:
    expect(opened.locator(".tb-model")).to_have_count(5)
    opened.click("#tb-start")
    expect(opened.locator("#tb-runs .tb-chip")).to_have_text(re.compile("done"), timeout=2 * MINUTE)
    rows = opened.locator("#tb-scores tbody tr")
    expect(rows).to_have_count(6)
    expect(rows.last).to_contain_text("this merge")
    verdict = opened.locator("#tb-verdict")
    expect(verdict).to_contain_text(re.compile("On average the merge is .* the base"))
    assert verdict.bounding_box()["y"] < opened.locator("#tb-scores").bounding_box()["y"]
    expect(opened.locator("#tb-chart .main-svg").first).to_be_visible()
    assert "run=" in opened.url


def test_finished_run_is_there_again_after_a_reload_and_its_files_can_be_had(opened: Page) -> None:
    opened.locator(".tb-run-pick").first.click()
    link = opened.locator("#tb-files .tb-zip")
    expect(link).to_be_visible()
    with opened.expect_download() as download:
        link.click()
    assert download.value.suggested_filename.endswith(".zip")


def test_newest_finished_run_is_shown_in_another_tab(opened: Page) -> None:
    expect(opened.locator("#tb-scores tbody tr")).to_have_count(6)
    expect(opened.locator("#tb-files .tb-zip")).to_be_visible()
    expect(opened.locator(".tb-run[data-selected=true]")).to_have_count(1)


def test_model_card_is_read_edited_and_kept(opened: Page) -> None:
    opened.locator(".tb-run-pick").first.click()
    opened.click("#tb-card-open")
    expect(opened.locator("#tb-card-text")).to_contain_text("Where the parents disagree")
    expect(opened.locator("#tb-card-close")).to_be_focused()
    opened.keyboard.press("Escape")
    expect(opened.locator("#tb-card")).to_be_hidden()
    expect(opened.locator("#tb-card-open")).to_be_focused()
    opened.keyboard.press("Enter")
    opened.get_by_role("radio", name="Edit").check()
    editor = opened.locator("#tb-card-editor .cm-content")
    editor.click()
    opened.keyboard.press("Control+End")
    opened.keyboard.type("\n\nEdited by hand.")
    opened.click("#tb-card-save")
    expect(opened.locator("#tb-card-text")).to_contain_text("Edited by hand.")
    opened.keyboard.press("Escape")
    expect(opened.locator("#tb-card")).to_be_hidden()
    opened.click("#tb-card-open")
    expect(opened.locator("#tb-card-text")).to_contain_text("Edited by hand.")


def test_the_cards_table_of_parents_fits_a_phone(opened: Page) -> None:
    opened.set_viewport_size({"width": 390, "height": 844})
    opened.locator(".tb-run-pick").first.click()
    opened.click("#tb-card-open")
    parents = opened.locator("#tb-card-text table").first
    expect(parents).to_contain_text("garment-vit-tops")
    assert parents.evaluate("(table) => table.scrollWidth - table.clientWidth") == 0


def test_one_model_is_measured_by_itself(opened: Page) -> None:
    opened.locator("#tb-measuring").get_by_role("button").first.click()
    opened.click("#tb-probe-alone")
    chip = opened.locator(".tb-run", has_text="Measure garment-vit").locator(".tb-chip")
    expect(chip).to_have_text(re.compile("done"), timeout=MINUTE)
    expect(opened.locator("#tb-scores tbody tr")).to_have_count(1)


def test_change_is_undone_and_the_link_reproduces_the_page(opened: Page, app_address: str) -> None:
    opened.get_by_label("Elect the sign by").select_option("count")
    expect(opened).to_have_url(re.compile("recipe="))
    link = opened.url
    other = opened.context.new_page()
    other.goto(link)
    expect(other.get_by_label("Elect the sign by")).to_have_value("count")
    other.close()
    opened.click("#tb-undo")
    expect(opened).not_to_have_url(re.compile("recipe="))
    expect(opened.get_by_label("Elect the sign by")).to_have_value("mass")


def test_page_without_models_says_what_to_add_and_raises_no_alarm(opened: Page) -> None:
    opened.wait_for_selector(".tb-map[data-drawn=true]", timeout=MINUTE)
    opened.click("#tb-clear")
    expect(opened.locator("#tb-beneath")).to_contain_text("Add the base model first")
    expect(opened.locator(".tb-map .tb-empty")).to_be_visible()
    expect(opened.locator(".tb-map-plot")).to_be_hidden()
    expect(opened.get_by_role("alert")).to_have_count(0)
    expect(opened.locator("#tb-pairs")).to_contain_text("is shown here with the map")
    opened.click("#tb-undo")
    expect(opened.locator(".tb-map-plot")).to_be_visible(timeout=MINUTE)


def test_lists_are_worked_with_keys_alone(opened: Page) -> None:
    elect = opened.get_by_label("Elect the sign by")
    opened.locator("#trim_scope input").last.focus()
    opened.keyboard.press("Tab")
    expect(elect).to_be_focused()
    opened.keyboard.press("ArrowDown")
    expect(elect).to_have_value("count")
    expect(opened).to_have_url(re.compile("recipe="))
    opened.keyboard.type("none")
    expect(elect).to_have_value("none")
    opened.keyboard.press("Home")
    expect(elect).to_have_value("mass")
    opened.keyboard.press("Tab")
    expect(elect).not_to_be_focused()
    expect(opened).not_to_have_url(re.compile("recipe="))


def test_a_folder_without_weights_is_refused_beside_its_field(opened: Page, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    opened.click("#tb-add")
    opened.get_by_role("radio", name="Folder").check()
    field, problem = opened.get_by_role("textbox", name="Folder"), opened.locator("#tb-add-problem")
    for name, said in ((f"{tmp_path}/none", "There is no folder"), (str(tmp_path), "no weights")):
        field.fill(name)
        opened.click("#tb-add-tune")
        expect(problem).to_contain_text(said)
    (tmp_path / "adapter_model.safetensors").touch()
    opened.click("#tb-add-tune")
    expect(problem.locator("code")).to_have_text(f"base+{tmp_path}")
    expect(problem).not_to_contain_text("`")
    expect(opened.locator("#tb-notice")).to_be_hidden()
    expect(opened.locator(".tb-model")).to_have_count(5)
    field.fill("./assets/demo/models/garment-vit-tops")
    expect(problem).to_be_hidden()
    opened.click("#tb-add-tune")
    expect(opened.locator(".tb-model")).to_have_count(6)


def test_nothing_is_cut_while_a_model_is_added(opened: Page) -> None:
    opened.click("#tb-add")
    opened.get_by_role("radio", name="Hub").check()
    expect(opened.locator(".tb-hub-input")).to_be_visible()
    column, go = (opened.locator(name).bounding_box() for name in (".tb-left", ".tb-go"))
    assert column["y"] <= go["y"]
    assert go["y"] + go["height"] <= column["y"] + column["height"] + 0.5
    room, needed = opened.locator(".tb-hub-input").evaluate(
        """(input) => {
          const style = getComputedStyle(input);
          const pen = document.createElement("canvas").getContext("2d");
          pen.font = style.font;
          const room = input.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
          return [room, pen.measureText(input.placeholder).width];
        }"""
    )
    assert needed <= room - 20  # where a browser puts the button that clears the field


def test_pasted_recipe_names_every_mistake_with_its_line_and_changes_nothing(opened: Page) -> None:
    opened.click("#tb-recipe-button")
    editor = opened.locator("#tb-recipe-text .cm-content")
    editor.click()
    opened.keyboard.press("Control+A")
    opened.keyboard.type("merge_methd: ties\ndtype: [x]\nmodels: []\n")
    opened.click("#tb-apply")
    notice = opened.locator("#tb-notice")
    for part in ("2 things to mend", "line 1: unknown key", "Did you mean merge_method?", "line 2: dtype"):
        expect(notice).to_contain_text(part)
    expect(opened.locator(".tb-model")).to_have_count(5)


@pytest.mark.parametrize(
    ("opener", "panel"),
    [
        ("#tb-recipe-button", "#tb-recipe-panel"),
        ("#tb-add", "#tb-add-panel"),
        (".tb-map-ask", ".tb-map-about"),
    ],
)
def test_escape_closes_a_panel_and_the_focus_goes_back_to_what_opened_it(
    opened: Page, opener: str, panel: str
) -> None:
    expect(opened.locator(".tb-map")).to_have_attribute("data-state", "map", timeout=MINUTE)
    opened.click(opener)
    expect(opened.locator(panel)).to_be_visible()
    opened.locator(".tb-scrub-line").focus()
    opened.keyboard.press("Escape")
    expect(opened.locator(panel)).to_be_hidden()
    expect(opened.locator(opener)).to_be_focused()


def test_a_question_mark_opens_and_closes_what_the_map_means_unless_it_is_written(opened: Page) -> None:
    expect(opened.locator(".tb-map")).to_have_attribute("data-state", "map", timeout=MINUTE)
    about = opened.locator(".tb-map-about")
    opened.locator(".tb-scrub-line").focus()
    opened.keyboard.press("?")
    expect(about).to_be_visible()
    opened.keyboard.press("?")
    expect(about).to_be_hidden()
    opened.click("#tb-recipe-button")
    opened.locator("#tb-recipe-text .cm-content").click()
    opened.keyboard.type("# why?")
    expect(opened.locator("#tb-recipe-text")).to_contain_text("# why?")
    expect(about).to_be_hidden()


def test_escape_leads_out_of_the_recipes_editor_and_throws_no_words_away(opened: Page) -> None:
    panel, close = opened.locator("#tb-recipe-panel"), opened.locator("#tb-recipe-close")
    editor = opened.locator("#tb-recipe-text .cm-content")
    opened.click("#tb-recipe-button")
    editor.click()
    opened.keyboard.press("Escape")
    expect(panel).to_be_hidden()
    opened.click("#tb-recipe-button")
    editor.click()
    opened.keyboard.type("# mine")
    for _ in range(2):
        opened.keyboard.press("Escape")
        expect(close).to_be_focused()
    expect(editor).to_contain_text("# mine")
    opened.keyboard.press("Enter")
    expect(panel).to_be_hidden()
    expect(opened.locator("#tb-recipe-button")).to_be_focused()


def test_run_is_cancelled(opened: Page) -> None:
    opened.locator("#lambda input[type=number]").fill("0.9")
    opened.keyboard.press("Tab")
    expect(opened).to_have_url(re.compile("recipe="))
    opened.click("#tb-start")
    row = opened.locator(".tb-run", has_text="λ 0.9")
    row.get_by_role("button", name=re.compile("^Cancel")).click()
    expect(row.locator(".tb-chip")).to_have_text("cancelled", timeout=10_000)
    expect(row.get_by_role("button", name=re.compile("again$"))).to_be_visible()


def test_another_visitor_sees_no_runs_even_by_the_link(opened: Page, browser: Browser) -> None:
    opened.locator(".tb-run-pick").first.click()
    expect(opened).to_have_url(re.compile("run="))
    context = browser.new_context()
    stranger = context.new_page()
    stranger.goto(opened.url)
    expect(stranger.locator("#tb-start")).to_be_enabled(timeout=MINUTE)
    expect(stranger.locator("#tb-runs")).to_contain_text("Nothing merged yet")
    context.close()


def test_licences_of_the_models_are_told_before_anything_starts(opened: Page) -> None:
    opened.locator("#tb-licences").get_by_role("button").click()
    expect(opened.locator("#tb-licences")).to_contain_text("apache-2.0")


def test_finished_run_is_removed_for_good_once_that_was_said_twice(opened: Page) -> None:
    runs = opened.locator(".tb-run")
    before = runs.count()
    opened.locator("#tb-storage").get_by_role("button").first.click()
    row = opened.locator(".tb-kept-row", has_text="run,").first
    row.get_by_role("button").click()
    expect(row.get_by_role("button")).to_have_text("Really remove")
    row.get_by_role("button").click()
    expect(runs).to_have_count(before - 1, timeout=15_000)


def test_number_past_the_end_of_a_slider_counts_as_the_end(opened: Page) -> None:
    opened.locator("#density input[type=number]").fill("150")
    opened.keyboard.press("Tab")
    expect(opened).to_have_url(re.compile("recipe="))
    opened.click("#tb-recipe-button")
    expect(opened.locator("#tb-recipe-text")).to_contain_text("density: 1.0")
    expect(opened.locator("#tb-map")).to_contain_text("Keeping the largest 100")


def test_a_runs_settings_are_brought_back(opened: Page) -> None:
    opened.locator(".tb-run", has_text="λ 0.9").locator(".tb-run-pick").click()
    opened.click("#tb-settings")
    expect(opened.locator("#lambda input[type=number]")).to_have_value("0.9")
