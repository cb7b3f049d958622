"""One tensor by its heads on the real page: chosen in the drill-down, counted by the worker, drawn in the browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from components.interference.inspecting import MapState
from merge_core.interference.block_counts import BlockCounts, inspect_blocks
from merge_core.prepare import prepare
from merge_core.recipe import read_recipe
from tests.browser.map_page import made_up_report, sampled_from, served

DRAWN_WITHIN = 60_000  # milliseconds; the worker starts, compiles and counts
ROOT = Path(__file__).parents[2]
LAYER = "vit.encoder.layer.1.attention.output.dense"
TENSOR = f"{LAYER}.weight"
RECIPE = (ROOT / "assets/demo/recipe.yml").read_text()
KEPT = round(
    100 * float(read_recipe(RECIPE).parameters["density"])
)  # percent, where the slider stands at first
CELL = "vit.encoder.layer:1:attention.output.dense"


@pytest.fixture(scope="module")
def counts() -> BlockCounts:
    plan = prepare(read_recipe(RECIPE))
    return inspect_blocks(plan, TENSOR)


@pytest.fixture
def opened(page: Page, app_address: str) -> Iterator[Page]:
    """The app with a cell of the demo open; no error so far, and none at the end either."""
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(f"{app_address}/?cell={CELL}")
    page.wait_for_selector(".tb-map[data-state=map] .tb-map-plot", timeout=DRAWN_WITHIN)
    expect(page.locator("#tb-cell h2")).to_contain_text("Layer 1")
    yield page
    assert problems == []


def label(page: Page, bar: int) -> str:
    return page.locator(".tb-block-bar").nth(bar).get_attribute("aria-label") or ""


def rate(counts: BlockCounts, block: int, percent: int) -> str:
    conflicted, contested = counts.conflicted[block][percent - 1], counts.contested[block][percent - 1]
    return (
        f"{100 * conflicted / contested:.1f}\u202f% conflict ({conflicted} of {contested} contested weights)"
    )


def test_the_bars_say_what_counting_says_and_follow_the_slider_without_the_server(
    opened: Page, counts: BlockCounts
) -> None:
    opened.get_by_role("button", name=TENSOR).click()
    bars = opened.locator(".tb-block-bar")
    expect(bars).to_have_count(5, timeout=DRAWN_WITHIN)  # as many heads as the demo's configuration tells
    for head in range(5):
        assert rate(counts, head, KEPT) in label(opened, head)
    heights = [bar.bounding_box()["height"] for bar in bars.all()]
    rates = [c[KEPT - 1] / t[KEPT - 1] for c, t in zip(counts.conflicted, counts.contested, strict=True)]
    assert sorted(range(5), key=lambda n: heights[n]) == sorted(range(5), key=lambda n: rates[n])
    asked: list[str] = []
    opened.on("request", lambda request: asked.append(request.post_data or ""))
    opened.locator(".tb-scrub-line").focus()
    opened.keyboard.press("ArrowRight")
    expect(bars.first).to_have_attribute("aria-label", re.compile(re.escape(rate(counts, 0, KEPT + 1))))
    assert not any(TENSOR in data for data in asked)


def test_its_table_and_keys_tell_the_same(opened: Page, counts: BlockCounts) -> None:
    opened.get_by_role("button", name=TENSOR).click()
    expect(opened.locator(".tb-block-bar")).to_have_count(5, timeout=DRAWN_WITHIN)
    opened.get_by_text("As a table").click()
    rows = opened.locator(".tb-blocks-table tbody tr")
    for head in range(5):
        expect(rows.nth(head)).to_contain_text(f"output head {head}")
        expect(rows.nth(head)).to_contain_text(f"{counts.conflicted[head][KEPT - 1]:,}")
    opened.locator(".tb-blocks-bars").focus()
    opened.keyboard.press("End")
    tip = opened.locator(".tb-tip:visible")
    expect(tip).to_contain_text("Output head 4")
    expect(tip).to_contain_text(rate(counts, 4, KEPT))
    expect(tip).to_contain_text("columns 64–79")
    active = opened.locator(".tb-blocks-bars").get_attribute("aria-activedescendant")
    assert active == opened.locator(".tb-block-bar").nth(4).get_attribute("id")
    opened.keyboard.press("Escape")
    expect(tip).to_have_count(0)


def test_the_address_keeps_the_tensor_until_it_is_closed(opened: Page) -> None:
    opened.get_by_role("button", name=TENSOR).click()
    expect(opened.locator(".tb-block-bar")).to_have_count(5, timeout=DRAWN_WITHIN)
    assert f"tensor={TENSOR}" in opened.url
    opened.reload()
    expect(opened.locator(".tb-block-bar")).to_have_count(5, timeout=DRAWN_WITHIN)
    expect(opened.get_by_role("button", name=TENSOR)).to_have_attribute("aria-pressed", "true")
    opened.get_by_role("button", name="Close this tensor").click()
    expect(opened.locator(".tb-cell-blocks")).to_be_hidden()
    assert "tensor=" not in opened.url
    opened.get_by_role("button", name=f"{LAYER}.bias").click()
    expect(opened.locator(".tb-block-bar")).to_have_count(1, timeout=DRAWN_WITHIN)  # too small to be cut
    opened.evaluate("window.tiebreakMap.change({ cell: 0, picked: null })")  # as a click on the map does
    expect(opened.locator(".tb-cell-blocks")).to_be_hidden()
    assert "tensor=" not in opened.url


def test_another_trim_counts_the_chosen_tensor_anew(opened: Page) -> None:
    opened.get_by_role("button", name=TENSOR).click()
    expect(opened.locator(".tb-block-bar")).to_have_count(5, timeout=DRAWN_WITHIN)
    before = label(opened, 0)
    opened.get_by_role("radio", name="Whole model").check()
    expect(opened.locator(".tb-block-bar").first).not_to_have_attribute(
        "aria-label", before, timeout=DRAWN_WITHIN
    )
    recipe = RECIPE.replace("parameters:\n", "parameters:\n  trim_scope: model\n")
    whole = inspect_blocks(prepare(read_recipe(recipe)), TENSOR)
    expect(opened.locator(".tb-block-bar").first).to_have_attribute(
        "aria-label", re.compile(re.escape(rate(whole, 0, KEPT))), timeout=DRAWN_WITHIN
    )


def test_a_sample_says_why_it_shows_no_heads_and_what_to_do(page: Page) -> None:
    report = sampled_from(made_up_report(["layers.0.q_proj.weight", "layers.1.q_proj.weight"]))
    with served(lambda: MapState({}, report=report, offer=10**9)) as address:
        page.goto(address)
        page.wait_for_selector(".tb-map[data-drawn=true] .tb-map-plot")
        page.locator(".tb-tensor-pick").first.click()
        expect(page.locator(".tb-cell-blocks .tb-alert")).to_contain_text("counted from whole weights")
        expect(page.locator(".tb-cell-blocks .tb-alert")).to_contain_text("Download")
        expect(page.locator(".tb-block-bar")).to_have_count(0)
