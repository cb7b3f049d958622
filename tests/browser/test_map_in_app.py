"""The map on the real page: drawn for the demo by the worker, answering before anything is clicked."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from components.link import encode_recipe

RECIPE = """
merge_method: ties
base_model: assets/demo/models/garment-vit
models:
- model: assets/demo/models/garment-vit-tops
{tops}- model: assets/demo/models/garment-vit-shoes
parameters: {{weight: 1.0, density: {density}}}
dtype: float32
"""
DRAWN_WITHIN = 60_000  # milliseconds; the worker starts, compiles and counts


def test_the_page_opens_with_the_demos_map_and_its_slider_answers(page: Page, app_address: str) -> None:
    page.goto(app_address)
    page.wait_for_selector(".tb-map[data-state=map] .tb-map-plot:visible", timeout=DRAWN_WITHIN)
    expect(page.locator(".tb-scrub-line")).to_have_attribute("aria-valuenow", "30")
    before = page.locator(".tb-map-say").inner_text()
    page.locator("#density input[type=range]").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".tb-scrub-line")).to_have_attribute("aria-valuenow", "31")
    expect(page.locator(".tb-map-say")).not_to_have_text(before)
    page.locator(".tb-map-grid").click()
    expect(page.locator("#tb-cell h2")).to_contain_text("Layer ")
    expect(page.locator("#tb-pairs tbody tr").first).to_be_visible()


def test_leaving_a_model_out_and_editing_a_cell_change_the_map_and_come_back(
    page: Page, app_address: str
) -> None:
    page.goto(app_address)
    page.wait_for_selector(".tb-map[data-state=map] .tb-map-plot:visible", timeout=DRAWN_WITHIN)
    sentence = page.locator(".tb-map-say")
    before = sentence.inner_text()
    eye = page.locator(".tb-eye:visible").first
    eye.click()
    expect(sentence).not_to_have_text(before, timeout=DRAWN_WITHIN)
    expect(eye).to_have_attribute("aria-pressed", "true")
    eye.click()
    expect(sentence).to_have_text(before, timeout=DRAWN_WITHIN)
    page.locator(".tb-map-grid").click()
    density = page.get_by_label("Density of the selected cells, exact number")
    density.fill("60")
    density.press("Enter")
    expect(sentence).to_contain_text(re.compile(r"\(60\s% in 1 cell\)"))
    page.locator("#tb-undo").click()
    expect(sentence).to_have_text(before)


@pytest.mark.parametrize(
    ("density", "said"),
    [
        ("[0.1, 0.9]", r"Keeping the largest 10–90\s% over depth, "),
        (
            "[{filter: attention, value: 0.1}, {value: 0.9}]",
            r"Keeping the largest 90\s% \(10\s% in 32 cells\), ",
        ),
        (
            "[{filter: intermediate, value: 0.2}, {value: [0.5, 0.9]}]",
            r"Keeping the largest 50–90\s% over depth \(20\s% in 8 cells\), ",
        ),
    ],
)
def test_the_sentence_says_how_density_differs(page: Page, app_address: str, density: str, said: str) -> None:
    page.goto(f"{app_address}?recipe={encode_recipe(RECIPE.format(density=density, tops=''))}")
    expect(page.locator(".tb-map-say")).to_have_text(re.compile(f"^{said}"), timeout=DRAWN_WITHIN)
    aside = re.search(r"in (\d+) cells", said)
    corners = page.locator(".tb-map-corners").get_attribute("d").count("M")
    assert corners == (int(aside[1]) if aside else 0)


def test_models_that_keep_different_shares_are_said_to_be_drawn_alike(page: Page, app_address: str) -> None:
    recipe = RECIPE.format(density=0.5, tops="  parameters: {density: 0.1}\n")
    page.goto(f"{app_address}?recipe={encode_recipe(recipe)}")
    said = re.compile(
        r"another share of each model: tops 10\s%, shoes 50\s%\. The map keeps the same share of all"
    )
    expect(page.locator(".tb-map-note")).to_have_text(said, timeout=DRAWN_WITHIN)


def test_the_density_of_a_map_travels_in_the_link_of_a_method_that_never_trims(
    page: Page, app_address: str
) -> None:
    page.goto(app_address)
    page.wait_for_selector(".tb-map[data-state=map] .tb-map-plot:visible", timeout=DRAWN_WITHIN)
    page.locator("#method").get_by_role("radio", name="Task arithmetic").check()
    expect(page.locator(".tb-map-note")).to_contain_text("Task arithmetic does not trim")
    page.locator(".tb-scrub-line").focus()
    page.keyboard.press("End")
    page.keyboard.press("PageDown")
    expect(page).to_have_url(re.compile(r"\bat=90\b"))
    expect(page).to_have_url(re.compile("recipe="))
    other = page.context.new_page()
    other.goto(page.url)
    other.wait_for_selector(".tb-map[data-state=map] .tb-map-plot:visible", timeout=DRAWN_WITHIN)
    expect(other.locator(".tb-scrub-line")).to_have_attribute("aria-valuenow", "90")
    page.locator("#method").get_by_role("radio", name="TIES", exact=True).check()
    expect(page).not_to_have_url(re.compile(r"\bat="))
