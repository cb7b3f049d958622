"""The report that one can keep, opened from disk in a real browser."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from merge_core.__main__ import main
from tests.checkpoints import write_model
from tests.core.test_interference import recipe_for
from tests.core.test_report_page import ATTACK


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    rng = np.random.default_rng(2)
    modules = ("self_attn.q_proj", "self_attn.o_proj", "mlp.up_proj", "mlp.down_proj")
    names = [f"model.layers.{n}.{module}.weight" for n in range(4) for module in modules]
    names += ["model.embed_tokens.weight", f"model.layers.3.{ATTACK}", "model.norm.weight"]
    base = {name: rng.normal(size=(80, 80)) for name in names}
    paths = [str(write_model(folder / "base", base))]
    shared = {name: rng.normal(size=(80, 80)) for name in names}
    for number in range(3):
        tuned = {
            n: v + 0.01 * (i / 9 * shared[n] + rng.normal(size=(80, 80)))
            for i, (n, v) in enumerate(base.items())
        }
        paths.append(str(write_model(folder / f"tuned-{number}", tuned)))
    (folder / "recipe.yml").write_text(recipe_for(paths))
    out = folder / "report.html"
    assert main(["inspect", str(folder / "recipe.yml"), "--sample-mb", "0.6", "--html", str(out)]) == 0
    return out


@pytest.fixture
def opened(page: Page, report: Path) -> Page:
    page.requests = []  # type: ignore[attr-defined]
    page.errors = []  # type: ignore[attr-defined]
    page.on("request", lambda request: page.requests.append(request.url))  # type: ignore[attr-defined]
    page.on("pageerror", lambda error: page.errors.append(str(error)))  # type: ignore[attr-defined]
    page.on("dialog", lambda dialog: page.errors.append(dialog.message))  # type: ignore[attr-defined]
    page.goto(report.as_uri())
    expect(page.locator("rect.cell")).to_have_count(19)
    return page


def test_it_asks_for_nothing_and_an_attack_in_a_name_stays_text(opened: Page) -> None:
    assert opened.title() == "Where the models disagree"
    assert len(opened.requests) == 1  # type: ignore[attr-defined]
    assert opened.locator("img").count() == 0
    expect(opened.locator("#table")).to_contain_text("<img src=x onerror=alert(1)>")
    assert opened.errors == []  # type: ignore[attr-defined]


def test_the_slider_redraws_map_and_table(opened: Page) -> None:
    before = opened.locator("#table tbody tr").first.inner_text()
    fill = opened.locator("rect.cell").nth(1).evaluate("cell => cell.style.fill")
    opened.locator("#density").fill("79")
    expect(opened.locator("#shown")).to_have_text("0.80")
    assert opened.locator("#table tbody tr").first.inner_text() != before
    opened.locator("#measure").select_option("beyond all")
    assert opened.locator("rect.cell").nth(1).evaluate("cell => cell.style.fill") != fill


def test_columns_and_table_follow_the_data(opened: Page) -> None:
    said = opened.locator("#map text").evaluate_all("all => all.map(text => text.firstChild.data)")
    assert [text for text in said if re.match(r"attn|mlp", text)] == [
        "attn.q",
        "attn.o",
        "mlp.up",
        "mlp.down",
    ]
    assert said.index("before") < said.index("layer mean") < said.index("after")
    cells = opened.locator("#table tbody td:first-child").all_inner_texts()
    assert (cells[0], cells[1], cells[-1]) == (
        "model.embed_tokens",
        "Layer 0 · attn.q",
        "model.norm",
    )


def test_cells_where_too_little_meets_are_hatched_and_say_so(opened: Page) -> None:
    hatching, legend = opened.locator("rect.hatching"), opened.locator("#legend")
    shown = "all => all.map(rect => rect.style.display !== 'none')"
    named = "all => all.map(rect => rect.getAttribute('aria-label').includes('too few weights to tell'))"
    opened.locator("#density").fill("0")  # 1 % of 6,400 weights of each model: next to nothing meets
    expect(opened.locator("#shown")).to_have_text("0.01")
    assert any(hatching.evaluate_all(shown))
    assert opened.locator("rect.cell").evaluate_all(named) == hatching.evaluate_all(shown)
    expect(legend).to_contain_text("hatched: too few weights to tell")
    few = sum(hatching.evaluate_all(shown))
    opened.locator("#density").fill("49")
    expect(opened.locator("#shown")).to_have_text("0.50")
    assert sum(hatching.evaluate_all(shown)) < few


def test_the_sentence_speaks_of_the_share_that_the_map_shows(opened: Page) -> None:
    said = opened.locator("#now")
    expect(said).to_contain_text("of all contested weights are in conflict; chance alone gives 51.9 %")
    opened.locator("#measure").select_option("conflict touched")
    expect(said).to_contain_text("of all touched weights are in conflict")
    opened.locator("#measure").select_option("conflict all")
    expect(said).to_contain_text("of all weights are in conflict")


def test_the_legend_says_where_chance_lies(opened: Page) -> None:
    legend = opened.locator("#legend")
    expect(legend).to_contain_text(re.compile(r"chance: [\d.]+ %"))
    share = float(re.search(r"chance: ([\d.]+) %", legend.text_content())[1])
    low, high = (float(x) for x in re.findall(r"([\d.]+) %", legend.text_content())[:2])
    assert legend.locator(".chance").count() == (2 if low <= share <= high else 0)
    opened.locator("#measure").select_option("touched all")
    expect(legend).not_to_contain_text("chance")


def test_a_norm_and_its_range_have_as_many_decimals(opened: Page) -> None:
    norms = opened.locator("#norms tbody td:nth-child(2)").all_inner_texts()
    assert len(norms) == 3
    for told in norms:
        value, reach = told.split(" ± ")
        assert len(value.partition(".")[2]) == len(reach.partition(".")[2])
        assert len(value.replace(".", "").lstrip("0")) == 4


def test_a_cell_is_reached_by_keyboard_and_tells_its_tensors(opened: Page) -> None:
    opened.locator("rect.cell").first.focus()
    opened.keyboard.press("ArrowDown")
    expect(opened.locator("#detail")).to_contain_text("model.layers.0.")
    opened.keyboard.press("ArrowDown")
    expect(opened.locator("#detail")).to_contain_text("model.layers.1.")
    expect(opened.locator("#detail")).to_contain_text("95 %")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_narrow_window_light_and_dark(opened: Page, scheme: str) -> None:
    opened.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    opened.set_viewport_size({"width": 390, "height": 800})
    assert opened.evaluate("document.documentElement.scrollWidth") <= 390
    select, box = (opened.locator(name).bounding_box() for name in ("#measure", ".controls"))
    assert select is not None
    assert box is not None
    assert box["x"] + 16 <= select["x"]
    assert select["x"] + select["width"] <= box["x"] + box["width"] - 16
    text, page = opened.evaluate(
        "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
    )
    assert text != page
