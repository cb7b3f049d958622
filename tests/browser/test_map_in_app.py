"""The map on the real page: drawn for the demo by the worker, answering before anything is clicked."""

from __future__ import annotations

from playwright.sync_api import Page, expect

DRAWN_WITHIN = 60_000  # milliseconds; the worker starts, compiles and counts


def test_the_page_opens_with_the_demos_map_and_its_slider_answers(page: Page, app_address: str) -> None:
    page.goto(app_address)
    page.wait_for_selector(".tb-map[data-state=map] .tb-map-plot:visible", timeout=DRAWN_WITHIN)
    expect(page.locator(".tb-scrub-line")).to_have_attribute("aria-valuenow", "20")
    before = page.locator(".tb-map-say").inner_text()
    page.locator("#density input[type=range]").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".tb-scrub-line")).to_have_attribute("aria-valuenow", "21")
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
    expect(sentence).to_contain_text("(1 cell aside)")
    page.locator("#tb-undo").click()
    expect(sentence).to_have_text(before)
