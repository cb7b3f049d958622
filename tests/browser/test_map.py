"""The map in a real browser: what it shows, how it answers, and that strangers' names stay text."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, Route, expect

from components.interference.inspecting import MapState
from merge_core.errors import UserError
from merge_core.interference import InterferenceReport, TensorInterference
from merge_core.interference.chance import chance
from tests.browser.map_page import made_up_report, sampled_from, served

HOSTILE = (
    "<img src=x onerror=window.hit=1>",
    "${window.hit=1}",
    "{{window.hit}}",
    "`+(window.hit=1)+`",
    "</script><script>window.hit=1</script>",
    '<a href="javascript:window.hit=1">x</a>',
    "=1+1",
)
MODULES = ("attn.q_proj", "attn.v_proj", "mlp.up_proj", "mlp.down_proj")
NAMES = [
    "model.embed_tokens.weight",
    *(f"model.layers.{layer}.{m}.{p}" for layer in range(6) for m in MODULES for p in ("weight", "bias")),
    *(f"model.layers.2.{name}.weight" for name in HOSTILE),
    *HOSTILE,
    "lm_head.weight",
]

shown = MapState({})


@pytest.fixture(scope="module")
def report() -> InterferenceReport:
    return made_up_report(NAMES, entries=1500)


@pytest.fixture(scope="module")
def address(report: InterferenceReport) -> Iterator[str]:
    with served(lambda: shown) as found:
        yield found


@pytest.fixture
def map_on(page: Page, address: str, report: InterferenceReport) -> Page:
    """A page that shows the map, with no error so far; it has none at the end either."""
    show(report=report)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    problems: list[str] = []
    page.goto(address)
    page.wait_for_selector(".tb-map[data-drawn=true] .tb-map-plot .main-svg")
    page.wait_for_function("window.tiebreakMap.state.tuning === 'ties'")  # the controls have spoken
    yield page
    assert problems == []


def show(**state: object) -> None:
    global shown
    shown = MapState({}, **state)  # type: ignore[arg-type]


def heat(page: Page, plot: int = 0) -> list[list[float | None]]:
    """The numbers that the picture's colours stand for, by row and column."""
    return page.evaluate(
        """(number) => {
          const { map, values } = document.querySelectorAll(".tb-map-plot")[number].shown;
          const cell = (row, column) => map.grid[row * map.columns.length + column];
          return map.rows.map((_, row) => map.columns.map((_, column) => values.cells[cell(row, column)] ?? null));
        }""",
        plot,
    )


def colours(page: Page) -> list[list[str]]:
    """What Plotly's heatmap shows inside every cell, as #rrggbb."""
    return page.evaluate(
        """async () => {
          const plot = document.querySelector(".tb-map-plot");
          const image = new Image();
          image.src = plot.querySelector(".heatmaplayer image").href.baseVal;
          await image.decode();
          const canvas = document.createElement("canvas");
          [canvas.width, canvas.height] = [plot.clientWidth, plot.clientHeight];
          const pen = canvas.getContext("2d");
          pen.drawImage(image, 0, 0, canvas.width, canvas.height);
          const { rows, columns } = plot.shown.map;
          const across = (column) => Math.floor(canvas.width * (column + 0.2) / columns.length);
          const down = (row) => Math.floor(canvas.height * (row + 0.3) / rows.length);
          const at = (row, column) => pen.getImageData(across(column), down(row), 1, 1).data;
          const hex = (values) => "#" + [...values.slice(0, 3)].map((v) => v.toString(16).padStart(2, "0")).join("");
          return rows.map((_, row) => columns.map((_, column) => hex(at(row, column))));
        }"""
    )


def is_among(colour: str, others: Iterable[str]) -> bool:
    """Whether a colour is one of the others, give or take a step of rounding in each channel."""
    channels = np.array(
        [[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in (colour, *others) if c[:1] == "#"]
    )
    return bool((np.abs(channels[1:] - channels[0]).max(axis=1) <= 1).any())


def sums(tensors: list[TensorInterference], percent: int) -> tuple[int, int, int, int]:
    """(touched, contested, conflicted, numel)."""
    at = percent - 1
    return (
        sum(t.touched[at] for t in tensors),
        sum(t.contested[at] for t in tensors),
        sum(t.conflicted[at] for t in tensors),
        sum(t.numel for t in tensors),
    )


def of(report: InterferenceReport, layer: int, module: str) -> list[TensorInterference]:
    return [t for t in report.tensors if t.layer == layer and t.module.startswith(module)]


def slide(page: Page, percent: int) -> None:
    """Drag the density control there, as the browser does: one input event."""
    page.locator("#density input[type=range]").evaluate(
        """(slider, value) => {
          Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value").set.call(slider, String(value));
          slider.dispatchEvent(new Event("input", { bubbles: true }));
        }""",
        percent,
    )


def cell_at(page: Page, row: int, column: int) -> tuple[float, float]:
    box = page.locator(".tb-map-plot").bounding_box()
    rows, columns = len(heat(page)), len(heat(page)[0])
    return box["x"] + box["width"] * (column + 0.5) / columns, box["y"] + box["height"] * (row + 0.5) / rows


# What it shows ----------------------------------------------------------------------------------------------------


def test_every_mode_draws_the_reports_numbers(map_on: Page, report: InterferenceReport) -> None:
    null = chance(3, (0.2,))
    expected = {
        ("Conflict", "contested"): lambda t, c, x, n: x / c,
        ("Conflict", "touched"): lambda t, c, x, n: x / t,
        ("Conflict", "all"): lambda t, c, x, n: x / n,
        ("Beyond chance", "all"): lambda t, c, x, n: x / n - null.conflicted[0],
        ("Beyond chance", "contested"): lambda t, c, x, n: x / c - null.conflicted[0] / null.contested[0],
        ("Touched", None): lambda t, c, x, n: t / n,
    }
    for (mode, base), number in expected.items():
        map_on.get_by_role("button", name=mode, exact=True).click()
        if base is not None:
            map_on.get_by_role("button", name=base, exact=True).click()
        map_on.wait_for_timeout(60)
        drawn = heat(map_on)
        for layer in range(6):
            for column, module in enumerate(MODULES):
                assert drawn[layer][column] == pytest.approx(
                    number(*sums(of(report, layer, module), 20)), abs=1e-6
                )


def test_cells_have_their_colours_while_plotly_is_still_to_come(
    page: Page, address: str, map_on: Page
) -> None:
    expected = colours(map_on)
    waiting: list[Route] = []
    page.route(re.compile("plotly"), lambda route: waiting.append(route))
    page.goto(address)
    page.wait_for_selector(".tb-map[data-drawn=true] .tb-map-under")
    under = page.evaluate(
        """() => {
          const canvas = document.querySelector(".tb-map-under");
          const { rows, columns } = document.querySelector(".tb-map-plot").shown.map;
          const across = (column) => Math.floor(canvas.width * (column + 0.2) / columns.length);
          const down = (row) => Math.floor(canvas.height * (row + 0.3) / rows.length);
          const pen = canvas.getContext("2d");
          const at = (row, column) => pen.getImageData(across(column), down(row), 1, 1).data;
          const hex = (values) => "#" + [...values.slice(0, 3)].map((v) => v.toString(16).padStart(2, "0")).join("");
          return rows.map((_, row) => columns.map((_, column) => hex(at(row, column))));
        }"""
    )
    assert waiting
    assert page.locator(".tb-map-plot .main-svg").count() == 0
    assert under[3][:4] == expected[3][:4]
    assert len(set(under[3][:4])) > 1
    for route in waiting:
        route.continue_()


def test_the_sentence_says_what_is_drawn_with_chance_beside_it(
    map_on: Page, report: InterferenceReport
) -> None:
    _, contested, conflicted, numel = sums(list(report.tensors), 20)
    null = chance(3, (0.2,))
    said = re.sub(r"\s", " ", map_on.locator(".tb-map-say").inner_text())
    assert f"two or more models touch {100 * contested / numel:.1f} % of all weights" in said
    assert f"pull apart in {100 * conflicted / contested:.1f} % of cases" in said
    assert f"less than unrelated models ({100 * null.conflicted[0] / null.contested[0]:.1f} %)" in said


def test_curve_and_sentence_say_a_share_alike(map_on: Page) -> None:
    show(report=made_up_report(NAMES, entries=1500, elections=True))
    map_on.get_by_role("button", name="Renew", exact=True).click()
    curve = map_on.locator(".tb-scrub .tb-curve-value")
    for percent in (20, 5):
        slide(map_on, percent)
        for mode in ("Conflict", "Beyond chance", "Touched", "Outvoted", "Winner"):
            map_on.get_by_role("button", name=mode, exact=True).click()
            for base in ("touched", "all", "contested") if mode in ("Conflict", "Beyond chance") else ("",):
                if base:
                    map_on.locator(".tb-map-bases").get_by_role("button", name=base, exact=True).click()
                map_on.wait_for_timeout(80)
                assert curve.text_content() in map_on.locator(".tb-map-say b").all_inner_texts(), (mode, base)


def test_the_legend_says_where_chance_lies_on_its_bar_or_beside_it(map_on: Page) -> None:
    beside, mark = map_on.locator(".tb-map-chance-outside"), map_on.locator(".tb-map-chance")

    def by_chance(percent: int) -> tuple[float, float, float]:
        slide(map_on, percent)
        null = chance(3, (percent / 100,))
        map_on.wait_for_function(f"Math.abs(window.tiebreakMap.state.share - {percent / 100}) < 1e-9")
        map_on.wait_for_timeout(80)
        drawn = map_on.evaluate("document.querySelector('.tb-map-plot').shown.range")
        return null.conflicted[0] / null.contested[0], *drawn

    share, low, high = by_chance(20)
    assert low < share < high
    expect(mark).to_be_visible()
    expect(beside).to_be_hidden()
    ramp, at = map_on.locator(".tb-map-ramp").bounding_box(), mark.bounding_box()
    there = ramp["x"] + (share - low) / (high - low) * ramp["width"]
    assert at["x"] + at["width"] / 2 == pytest.approx(there, abs=1)
    assert "chance" in [text.text for text in named(saved_svg(map_on), "text")]
    share, low, high = by_chance(2)
    assert share > high
    expect(mark).to_be_hidden()
    expect(beside).to_have_text(re.compile(rf"^chance: {100 * share:.1f}\s%$"))
    assert f"chance: {100 * share:.1f} %" in words(saved_svg(map_on))
    map_on.get_by_role("button", name="0–100 %", exact=True).click()
    expect(mark).to_be_visible()
    for mode in ("Beyond chance", "Touched"):
        map_on.get_by_role("button", name=mode, exact=True).click()
        expect(beside).to_be_hidden()
        expect(mark).to_be_hidden()


def test_size_which_no_density_changes_has_no_curve_over_density(map_on: Page) -> None:
    show(report=made_up_report(NAMES, entries=1500, elections=True))
    map_on.get_by_role("button", name="Renew", exact=True).click()
    map_on.mouse.click(*cell_at(map_on, 3, 2))
    curves = map_on.locator(".tb-scrub, .tb-cell-curve")
    for mode, visible in (("Size", False), ("Outvoted", True)):
        map_on.get_by_role("button", name=mode, exact=True).click()
        for place in range(2):
            expect(curves.nth(place)).to_be_visible(visible=visible)
    slide(map_on, 35)
    expect(map_on.locator(".tb-scrub .tb-curve-line")).to_have_attribute("d", re.compile("^M"))


def test_the_table_holds_what_the_map_shows(map_on: Page, report: InterferenceReport) -> None:
    map_on.get_by_role("button", name="Table", exact=True).click()
    lines = map_on.locator(".tb-map-table table").first.locator("tbody tr")
    expect(lines).to_have_count(6)
    for layer in range(6):
        texts = lines.nth(layer).locator("td").all_inner_texts()
        for column, module in enumerate(MODULES):
            _, contested, conflicted, _ = sums(of(report, layer, module), 20)
            assert re.sub(r"\s", "", texts[column]) == f"{100 * conflicted / contested:.1f}%"
    slide(map_on, 60)
    _, contested, conflicted, _ = sums(of(report, 0, MODULES[0]), 60)
    expect(lines.nth(0).locator("td").first).to_have_text(re.compile(f"^{100 * conflicted / contested:.1f}"))


def saved(page: Page, kind: str) -> bytes:
    """What the button of that name saves."""
    with page.expect_download() as download:
        page.get_by_role("button", name=kind, exact=True).click()
    return Path(download.value.path()).read_bytes()


def saved_rows(page: Page) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(saved(page, "CSV").decode())))


def saved_svg(page: Page) -> ElementTree.Element:
    return ElementTree.fromstring(saved(page, "SVG"))


def named(picture: ElementTree.Element, tag: str) -> list[ElementTree.Element]:
    return [element for element in picture.iter() if element.tag.rpartition("}")[2] == tag]


def words(picture: ElementTree.Element) -> str:
    """Every text of a picture, in the order it is drawn."""
    return re.sub(r"\s+", " ", " ".join("".join(text.itertext()) for text in named(picture, "text")))


def told(page: Page, selector: str) -> str:
    return re.sub(r"\s+", " ", page.locator(selector).inner_text())


def test_csv_holds_every_cell_and_starts_no_formula(map_on: Page, report: InterferenceReport) -> None:
    rows = saved_rows(map_on)
    assert sum(int(row["conflicted"]) for row in rows) == sums(list(report.tensors), 20)[2]
    assert sum(int(row["weights"]) for row in rows) == sums(list(report.tensors), 20)[3]
    assert not [row for row in rows if row["module"].startswith(("=", "+", "-", "@"))]


def test_csv_of_a_comparison_holds_both_settings_and_their_difference(
    map_on: Page, report: InterferenceReport
) -> None:
    map_on.get_by_role("button", name="Compare", exact=True).click()
    slide(map_on, 50)
    expect(map_on.locator(".tb-compare-b")).to_have_text(re.compile(r"^TIES · density 50"))
    rows = saved_rows(map_on)
    for letter, percent in (("A", 20), ("B", 50)):
        assert sum(int(row[f"{letter} conflicted"]) for row in rows) == sums(list(report.tensors), percent)[2]
        assert {float(row[f"{letter} density"]) for row in rows} == {percent / 100}
    for row in rows:
        for name, digits in (("conflicted", 0), ("conflict_of_contested", 1e-6)):
            difference = float(row[f"B {name}"]) - float(row[f"A {name}"])
            assert float(row[f"B - A {name}"]) == pytest.approx(difference, abs=2 * digits)


def test_png_shows_every_colour_of_the_screen(map_on: Page) -> None:
    picture = Image.open(io.BytesIO(saved(map_on, "PNG"))).convert("RGB")
    assert picture.width >= 2000
    found = {f"#{r:02x}{g:02x}{b:02x}" for _, (r, g, b) in picture.getcolors(picture.width * picture.height)}
    drawn = {
        colour
        for row, cells in zip(colours(map_on), heat(map_on), strict=True)
        for colour, cell in zip(row, cells, strict=True)
        if cell is not None
    }
    assert len(drawn) > 10
    assert all(is_among(colour, found) for colour in drawn)


def test_svg_shows_what_the_screen_shows(map_on: Page) -> None:
    picture = saved_svg(map_on)
    said = words(picture)
    for part in (".tb-map-low", ".tb-map-high"):
        assert told(map_on, part) in said
    for part in (
        "Conflict: share of contested weights",
        "Keeping the largest 20 %",
        "Density 20 %",
        "layer mean",
    ):
        assert part in said
    for number in re.findall(r"[\d.]+ %", told(map_on, ".tb-map-say")):
        assert number in said
    fills = [rect.get("fill") for rect in named(picture, "rect")]
    for row, cells in zip(colours(map_on), heat(map_on), strict=True):
        assert all(is_among(c, fills) for c, cell in zip(row, cells, strict=True) if cell is not None)
    assert "hatched" not in said
    assert "corner" not in said


def test_svg_of_edited_cells_marks_them_and_says_what_the_mark_means(map_on: Page) -> None:
    map_on.mouse.click(*cell_at(map_on, 1, 2))
    number = map_on.get_by_label("Density of the selected cells, exact number")
    number.fill("60")
    number.press("Enter")
    expect(map_on.locator(".tb-map-own-key")).to_be_visible()
    picture = saved_svg(map_on)
    assert told(map_on, ".tb-map-own-key") in words(picture)
    assert re.search(r"Density 20\s% \(60\s% in 1 cell\)", words(picture))
    assert [path for path in named(picture, "path") if path.get("fill") != "none"]


def test_svg_of_a_sample_hatches_what_the_screen_hatches_and_says_that_it_is_one(
    page: Page, address: str, report: InterferenceReport
) -> None:
    show(report=sampled_from(report), offer=6_600_000_000)
    page.goto(address)
    page.wait_for_selector(".tb-map[data-drawn=true] .tb-map-plot .main-svg")
    page.wait_for_function("window.tiebreakMap.state.tuning === 'ties'")
    hatched = page.evaluate("document.querySelector('.tb-map-plot').shown.poor.size")
    assert hatched > 0
    expect(page.locator(".tb-map-strip i[data-hatched=true]").first).to_be_visible()
    picture = saved_svg(page)
    assert "sampled: 10.0 % of the weights read" in words(picture)
    assert told(page, ".tb-map-hatch-key") in words(picture)
    lines = [path.get("d", "") for path in named(picture, "path") if path.get("fill") == "none"]
    assert sum(line.count("M") for line in lines) >= 3 * hatched


def test_svg_of_a_comparison_shows_both_beside_each_other_or_their_difference(map_on: Page) -> None:
    map_on.get_by_role("button", name="Compare", exact=True).click()
    slide(map_on, 50)
    expect(map_on.locator(".tb-compare-b")).to_have_text(re.compile(r"^TIES · density 50"))
    picture = saved_svg(map_on)
    assert "A TIES · density 20 %" in words(picture)
    assert "B TIES · density 50 %" in words(picture)
    assert words(picture).count("layer mean") == 2
    map_on.get_by_role("button", name="B − A", exact=True).click()
    expect(map_on.locator(".tb-map-plot")).to_have_count(1)
    picture = saved_svg(map_on)
    assert "Conflict, B − A" in words(picture)
    assert words(picture).count("layer mean") == 1
    fills = {rect.get("fill") for rect in named(picture, "rect")}
    assert is_among(colours(map_on)[3][2], fills)


def test_who_wins_a_cell_is_told_by_a_letter_and_not_by_colour_alone(map_on: Page) -> None:
    counted = made_up_report(NAMES, entries=1500, elections=True)
    show(report=counted)
    map_on.get_by_role("button", name="Renew", exact=True).click()
    map_on.get_by_role("button", name="Winner", exact=True).click()
    expect(map_on.locator(".tb-map-names")).to_be_visible()
    assert map_on.locator(".tb-map-names .tb-dot").all_inner_texts() == ["S", "T", "D"]
    picture = saved_svg(map_on)
    letters = [
        "".join(text.itertext()) for text in named(picture, "text") if text.get("text-anchor") == "middle"
    ]
    won = [int(cell) for row in heat(map_on) for cell in row if cell is not None]
    strips = map_on.locator(".tb-map-strip i").all_inner_texts()
    expected = ["STD"[cell] for cell in won] + strips + ["S", "T", "D"]
    assert sorted(text for text in letters if text in ("S", "T", "D")) == sorted(expected)


def test_svg_holds_strangers_names_as_text(map_on: Page) -> None:
    picture = saved_svg(map_on)
    tags = {element.tag.rpartition("}")[2] for element in picture.iter()}
    assert {"svg", "text"} <= tags
    assert not tags & {"img", "script", "a", "foreignObject"}
    assert "hit=1>" in words(picture)  # a label is the last word of a name


def test_modes_of_single_models_draw_the_reports_numbers(map_on: Page) -> None:
    counted = made_up_report(NAMES, entries=1500, elections=True)
    show(report=counted)
    map_on.get_by_role("button", name="Renew", exact=True).click()
    tensors = of(counted, 3, "mlp.up_proj")
    at = counted.coarse.index(0.2)
    mass, lost = (
        np.array([getattr(t.elections, name) for t in tensors]).sum(axis=0)[:, at]
        for name in ("kept_mass", "outvoted")
    )
    energy = sum(sum(t.energy or ()) for t in tensors) / 3 / sum(t.base_energy or 0 for t in tensors)
    won = (mass - lost) / (mass - lost).sum()
    for mode, number in (("Outvoted", lost.sum() / mass.sum()), ("Size", energy**0.5), ("Winner", None)):
        map_on.get_by_role("button", name=mode, exact=True).click()
        map_on.wait_for_timeout(80)
        drawn = heat(map_on)[3][2]
        assert drawn is not None
        if number is None:
            assert int(drawn) == int(won.argmax())
        else:
            assert drawn == pytest.approx(number, rel=1e-4)
    map_on.mouse.click(*cell_at(map_on, 3, 2))
    expect(map_on.locator("#tb-cell h2")).to_have_text("Layer 3 · mlp.up")
    lines = map_on.locator(".tb-models-open tbody tr")
    for model in range(3):
        texts = [re.sub(r"\s", "", text) for text in lines.nth(model).locator("td").all_inner_texts()]
        assert texts[2:] == [f"{100 * lost[model] / mass[model]:.0f}%", f"{100 * won[model]:.0f}%"]
    map_on.get_by_role("button", name="Layer 3", exact=True).click()
    inner, same, both = (
        np.array([getattr(t, name) for t in counted.tensors if t.layer == 3]).sum(axis=0)
        for name in ("inner", "same", "both")
    )
    norm = np.sqrt(np.array([t.energy for t in counted.tensors if t.layer == 3]).sum(axis=0))
    texts = map_on.locator("#tb-pairs tbody tr").first.locator("td").all_inner_texts()
    assert float(texts[0].replace("−", "-")) == pytest.approx(inner[0] / norm[0] / norm[1], abs=6e-4)
    assert re.sub(r"\s", "", texts[1]) == f"{100 * same[0] / both[0]:.1f}%"


def test_size_and_winner_say_above_and_below_what_they_count(map_on: Page) -> None:
    counted = made_up_report(NAMES, entries=1500, elections=True)
    show(report=counted)
    map_on.get_by_role("button", name="Renew", exact=True).click()
    map_on.get_by_role("button", name="Size", exact=True).click()
    map_on.mouse.click(*cell_at(map_on, 3, 2))
    expect(map_on.locator("#tb-cell h2")).to_have_text("Layer 3 · mlp.up")
    above, below = map_on.locator(".tb-map-say"), map_on.locator(".tb-cell-say")

    def size(tensors: Iterable[TensorInterference]) -> str:
        energy, base = (
            sum(part) for part in zip(*((sum(t.energy), t.base_energy) for t in tensors), strict=True)
        )
        return rf"{100 * (energy / 3 / base) ** 0.5:.1f}\s% of the base’s norm"

    expect(above).to_have_text(re.compile(f"Before any trim, .*{size(counted.tensors)} over all weights"))
    expect(below).to_have_text(
        re.compile(f"Before any trim, {size(of(counted, 3, 'mlp.up_proj'))} in this cell")
    )
    map_on.get_by_role("button", name="Winner", exact=True).click()
    expect(map_on.locator(".tb-map-means-head")).to_have_text("winner")
    expect(map_on.locator(".tb-curve-what")).to_have_text("the winner’s share")
    expect(map_on.locator("#tb-cell .tb-cell-parts .tb-h3").first).to_have_text("The winner’s share")
    share = re.search(r"([\d.]+)\s%", below.inner_text().partition("wins")[2])[1]
    expect(map_on.locator(".tb-cell-curve .tb-curve-value")).to_have_text(re.compile(rf"^{share}\s%$"))
    expect(map_on.locator("#tb-cell .tb-curve-chances")).to_be_hidden()


def test_a_mode_that_was_not_counted_yet_is_asked_for(map_on: Page) -> None:
    counted = made_up_report(NAMES, entries=1500, elections=True)
    plain = [TensorInterference(**{**vars(t), "elections": None}) for t in counted.tensors]
    show(report=InterferenceReport(**{**vars(counted), "tensors": tuple(plain)}))
    map_on.get_by_role("button", name="Renew", exact=True).click()
    outvoted = map_on.get_by_role("button", name="Outvoted", exact=True)
    outvoted.click()
    expect(map_on.locator("#draft textarea")).to_have_value("elections")
    show(report=counted)
    map_on.get_by_role("button", name="Renew", exact=True).click()
    expect(outvoted).to_have_attribute("aria-pressed", "true")
    expect(map_on.locator(".tb-map-say")).to_contain_text("the election by mass throws away")


# Strangers' names ---------------------------------------------------------------------------------------------------


def test_hostile_tensor_names_stay_text_everywhere(map_on: Page) -> None:
    map_on.get_by_role("button", name="Table", exact=True).click()
    columns = len(heat(map_on)[0])
    for column in range(columns):
        x, y = cell_at(map_on, 2, column)
        map_on.mouse.move(x, y)
        map_on.mouse.click(x, y)
        map_on.wait_for_timeout(40)
    map_on.locator(".tb-map-grid").focus()
    for key in ("Home", "ArrowUp", "ArrowUp", "ArrowUp", "ArrowRight", "Enter"):
        map_on.keyboard.press(key)
    map_on.wait_for_timeout(100)
    assert map_on.evaluate("window.hit") is None
    page_parts = "#tb-map, #tb-cell, #tb-pairs, .tb-tip"
    for tag in ("img", "script", "a"):
        assert map_on.locator(page_parts).locator(tag).count() == 0
    for name in HOSTILE:
        assert name in map_on.locator(".tb-map-table").inner_text()


# The density --------------------------------------------------------------------------------------------------------


def test_density_control_redraws_the_map_and_the_scrubber_without_asking_for_a_new_map(
    map_on: Page, report: InterferenceReport
) -> None:
    held: list[Route] = []
    map_on.route("**/*", lambda route: held.append(route))  # the server hears of nothing meanwhile
    slide(map_on, 45)
    expect(map_on.locator(".tb-scrub-line")).to_have_attribute("aria-valuenow", "45")
    _, contested, conflicted, _ = sums(of(report, 3, MODULES[2]), 45)
    map_on.wait_for_timeout(60)
    assert heat(map_on)[3][2] == pytest.approx(conflicted / contested, abs=1e-6)
    assert "45" in map_on.locator(".tb-map-say b").first.inner_text()
    assert held, "the draft is the server's, so it must be told"
    for request in held:
        request.continue_()


def test_dragging_the_scrubber_asks_nothing_and_letting_go_sets_the_draft_once(map_on: Page) -> None:
    box = map_on.locator(".tb-scrub-line").bounding_box()
    asked: list[str] = []
    map_on.on("request", lambda request: asked.append(request.url))
    map_on.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + 40)
    map_on.mouse.down()
    for part in (0.35, 0.4, 0.5, 0.6, 0.7):
        map_on.mouse.move(box["x"] + box["width"] * part, box["y"] + 40)
        map_on.wait_for_timeout(30)
    now = map_on.locator(".tb-scrub-line").get_attribute("aria-valuenow")
    assert float(now) > 60
    expect(map_on.locator("#density input[type=number]")).to_have_value(now)
    assert asked == []
    map_on.mouse.up()
    expect(map_on.locator("#draft textarea")).to_have_value(re.compile(f"density: {float(now) / 100:g}"))
    map_on.wait_for_timeout(900)
    assert map_on.locator(".tb-scrub-line").get_attribute("aria-valuenow") == now
    map_on.get_by_role("button", name="Undo", exact=True).click()
    expect(map_on.locator(".tb-scrub-line")).to_have_attribute("aria-valuenow", "20")
    expect(map_on.locator("#density input[type=number]")).to_have_value("20")


def test_arrow_keys_move_the_scrubber_by_one_percent(map_on: Page) -> None:
    line = map_on.locator(".tb-scrub-line")
    line.focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowUp", "PageUp", "ArrowLeft"):
        map_on.keyboard.press(key)
    expect(line).to_have_attribute("aria-valuenow", "32")
    expect(map_on.locator("#draft textarea")).to_have_value(re.compile(r"density: 0\.32"))


def test_a_method_without_density_shows_what_trimming_would_leave_and_changes_no_recipe(map_on: Page) -> None:
    map_on.locator("#method").get_by_role("radio", name="Linear").check()
    expect(map_on.locator(".tb-map-note")).to_be_visible()
    expect(map_on.locator(".tb-map-note")).to_contain_text("Linear")
    map_on.locator(".tb-scrub-line").focus()
    map_on.keyboard.press("PageUp")
    expect(map_on.locator(".tb-scrub-line")).to_have_attribute("aria-valuenow", "30")
    map_on.wait_for_timeout(600)
    assert "density" not in map_on.locator("#draft textarea").input_value()


def test_coming_back_to_ties_brings_its_density_back(map_on: Page) -> None:
    method = map_on.locator("#method")
    slide(map_on, 45)
    expect(map_on.locator("#draft textarea")).to_have_value(re.compile(r"density: 0\.45"))
    method.get_by_role("radio", name="Linear").check()
    expect(map_on.locator("#draft textarea")).not_to_have_value(re.compile("density"))
    method.get_by_role("radio", name="TIES", exact=True).check()
    expect(map_on.locator("#draft textarea")).to_have_value(re.compile(r"density: 0\.45"))
    expect(map_on.locator("#density input[type=number]")).to_have_value("45")
    expect(map_on.locator(".tb-scrub-line")).to_have_attribute("aria-valuenow", "45")


# Cells --------------------------------------------------------------------------------------------------------------


def test_the_page_opens_on_the_cell_farthest_above_chance_and_says_why(
    map_on: Page, report: InterferenceReport
) -> None:
    cells: dict[tuple[int | None, str], list[TensorInterference]] = {}
    for tensor in report.tensors:
        module = re.sub(r"\.(weight|bias)$", "", tensor.module)
        cells.setdefault((tensor.layer, module), []).append(tensor)
    counts = [sums(tensors, 20) for tensors in cells.values()]
    _, contested, conflicted, _ = max(counts, key=lambda found: found[2] / found[1])
    expect(map_on.locator(".tb-cell-say")).to_contain_text(f"{conflicted} of {contested} contested weights")
    expect(map_on.locator(".tb-cell-why")).to_contain_text("farthest above chance at a density of 20")
    assert "cell=" not in map_on.url
    assert map_on.evaluate("document.activeElement === document.body")
    map_on.mouse.click(*cell_at(map_on, 3, 2))
    expect(map_on.locator(".tb-cell-why")).to_be_hidden()
    assert "cell=" in map_on.url
    map_on.get_by_role("button", name="Close", exact=True).click()
    expect(map_on.locator("#tb-cell h2")).to_have_text("A closer look")
    assert map_on.locator("#tb-cell").bounding_box()["height"] < 120


def test_a_click_opens_the_cell_beneath_and_its_numbers_follow_the_density(
    map_on: Page, report: InterferenceReport
) -> None:
    map_on.mouse.click(*cell_at(map_on, 3, 2))
    expect(map_on.locator("#tb-cell h2")).to_have_text("Layer 3 · mlp.up")
    tensors = of(report, 3, "mlp.up_proj")
    for percent in (20, 70):
        slide(map_on, percent)
        expect(map_on.locator(".tb-scrub-line")).to_have_attribute("aria-valuenow", str(percent))
        map_on.wait_for_timeout(60)
        for row, tensor in enumerate(tensors):
            cells = map_on.locator("#tb-cell tbody tr").nth(row)
            assert cells.locator("th").inner_text() == tensor.name
            rate = tensor.conflicted[percent - 1] / tensor.contested[percent - 1]
            assert re.sub(r"\s", "", cells.locator("td").nth(1).inner_text()) == f"{100 * rate:.1f}%"


def test_keys_walk_the_map_in_words_and_enter_opens_the_cell(map_on: Page) -> None:
    grid = map_on.locator(".tb-map-grid")
    map_on.get_by_role("button", name="What this means").focus()
    map_on.keyboard.press("Tab")
    expect(grid).to_be_focused()
    spoken = map_on.locator(".tb-map-spoken")
    expect(spoken).to_contain_text("contested weights")  # of the cell that the page opened with
    map_on.keyboard.press("PageUp")
    expect(spoken).to_contain_text("embed_tokens")
    map_on.keyboard.press("ArrowDown")
    expect(spoken).to_contain_text("Layer 0 · ")
    map_on.keyboard.press("Home")
    expect(spoken).to_contain_text("Layer 0 · attn.q")
    map_on.keyboard.press("ArrowRight")
    map_on.keyboard.press("ArrowDown")
    expect(spoken).to_contain_text("Layer 1 · attn.v. ")
    expect(spoken).to_contain_text("contested weights")
    map_on.keyboard.press("Enter")
    expect(map_on.locator("#tb-cell h2")).to_have_text("Layer 1 · attn.v")


def test_the_chosen_cell_survives_a_new_map_a_reload_and_other_words_in_the_address(
    map_on: Page, address: str
) -> None:
    map_on.goto(f"{address}?recipe=abc")
    map_on.wait_for_selector(".tb-map[data-drawn=true] .tb-map-plot .main-svg")
    map_on.mouse.click(*cell_at(map_on, 4, 1))
    expect(map_on.locator("#tb-cell h2")).to_have_text("Layer 4 · attn.v")
    assert "recipe=abc" in map_on.url
    show(report=made_up_report(NAMES, seed=5, entries=900))
    map_on.get_by_role("button", name="Renew", exact=True).click()
    expect(map_on.locator("#tb-cell .tb-cell-size")).to_contain_text("1,800 weights")
    expect(map_on.locator("#tb-cell h2")).to_have_text("Layer 4 · attn.v")
    map_on.reload()
    expect(map_on.locator("#tb-cell h2")).to_have_text("Layer 4 · attn.v")


# Editing cells ------------------------------------------------------------------------------------------------------


def test_cells_are_selected_by_mouse_and_keys_and_edited_together(
    map_on: Page, report: InterferenceReport
) -> None:
    count = map_on.locator(".tb-edit-count")
    expect(count).to_be_hidden()
    map_on.mouse.click(*cell_at(map_on, 1, 2))
    expect(count).to_have_text("1 cell")
    map_on.keyboard.down("Control")
    map_on.mouse.click(*cell_at(map_on, 3, 2))
    map_on.keyboard.up("Control")
    expect(count).to_have_text("2 cells")
    number = map_on.get_by_label("Density of the selected cells, exact number")
    number.fill("60")
    number.press("Enter")
    draft = map_on.locator("#draft textarea")
    expect(draft).to_have_value(re.compile("filter: model.layers.1.mlp.up_proj."))
    expect(map_on.locator(".tb-map-say")).to_contain_text(re.compile(r"\(60\s% in 2 cells\)"))
    for layer, percent in ((1, 60), (2, 20), (3, 60)):
        _, contested, conflicted, _ = sums(of(report, layer, "mlp.up_proj"), percent)
        assert heat(map_on)[layer][2] == pytest.approx(conflicted / contested, abs=1e-6)
    map_on.get_by_role("button", name="Undo", exact=True).click()
    expect(draft).not_to_have_value(re.compile("filter"))
    expect(map_on.locator(".tb-map-say")).not_to_contain_text("2 cells")
    map_on.locator(".tb-map-grid").focus()
    map_on.keyboard.press("Escape")
    expect(count).to_be_hidden()
    map_on.keyboard.press("Shift+ArrowDown")
    expect(count).to_have_text("2 cells")


def test_a_rectangle_and_a_row_label_select_what_they_cover(map_on: Page) -> None:
    map_on.mouse.move(*cell_at(map_on, 3, 0))
    map_on.mouse.down()
    map_on.mouse.move(*cell_at(map_on, 4, 1))
    map_on.mouse.move(*cell_at(map_on, 5, 2))
    map_on.mouse.up()
    expect(map_on.locator(".tb-edit-count")).to_have_text("9 cells")
    rows = map_on.locator(".tb-map-rows span").nth(4).bounding_box()
    map_on.mouse.click(rows["x"] + rows["width"] / 2, rows["y"] + rows["height"] / 2)
    expect(map_on.locator(".tb-edit-count")).to_have_text("4 cells")
    weight = map_on.get_by_label("Weight in the selected cells, exact number")
    map_on.get_by_label("Whose weight").select_option(label="tops")
    weight.fill("0.5")
    weight.press("Enter")
    expect(map_on.locator("#draft textarea")).to_have_value(
        re.compile(r"filter: model\.layers\.4\.\n +value: 0\.5")
    )
    map_on.get_by_role("button", name="Reset", exact=True).click()
    expect(map_on.locator("#draft textarea")).not_to_have_value(re.compile("filter"))


def test_a_range_from_the_last_clicked_cell_is_selected_with_shift_by_mouse_and_keys(map_on: Page) -> None:
    selected = """() => {
      const { map, marked } = window.tiebreakMap.state;
      return marked.map((number) => map.cells[number].key).sort();
    }"""

    def cells(layers: Iterable[int], columns: slice) -> list[str]:
        return sorted(f"model.layers:{layer}:{module}" for layer in layers for module in MODULES[columns])

    def selects(expected: list[str]) -> None:
        expect(map_on.locator(".tb-edit-count")).to_have_text(f"{len(expected)} cells")
        assert map_on.evaluate(selected) == expected

    map_on.mouse.click(*cell_at(map_on, 4, 2))
    map_on.keyboard.down("Shift")
    map_on.mouse.click(*cell_at(map_on, 3, 0))
    selects(cells((3, 4), slice(0, 3)))
    map_on.mouse.click(*cell_at(map_on, 5, 3))  # from the same cell; what the last range held goes
    selects(cells((4, 5), slice(2, 4)))
    map_on.keyboard.up("Shift")
    grid = map_on.locator(".tb-map-grid")
    grid.focus()
    map_on.keyboard.press("Home")
    map_on.keyboard.press("ArrowUp")
    map_on.keyboard.press("Shift+ArrowUp")
    map_on.keyboard.press("Shift+ArrowRight")
    selects(cells((3, 4), slice(0, 2)))
    map_on.keyboard.press("Shift+ArrowDown")
    selects(cells((4,), slice(0, 2)))
    map_on.get_by_role("button", name="What this means").click()
    expect(map_on.locator(".tb-map-about")).to_contain_text("Shift + arrows")


def test_a_trim_over_the_whole_model_says_why_cells_have_no_density(map_on: Page) -> None:
    map_on.locator("#trim_scope").get_by_role("radio", name="Model").check()
    map_on.mouse.click(*cell_at(map_on, 1, 2))
    expect(map_on.locator(".tb-edit-fixed")).to_contain_text("over the whole model")
    expect(map_on.get_by_label("Density of the selected cells", exact=True)).to_be_hidden()


# Comparing ----------------------------------------------------------------------------------------------------------


def test_what_is_set_now_is_compared_with_what_was_kept(map_on: Page, report: InterferenceReport) -> None:
    map_on.get_by_role("button", name="Compare", exact=True).click()
    expect(map_on.locator(".tb-map-compare")).to_contain_text("the same so far")
    slide(map_on, 50)
    expect(map_on.locator(".tb-compare-a")).to_have_text(re.compile(r"^TIES · density 20\s%"))
    expect(map_on.locator(".tb-compare-b")).to_have_text(re.compile(r"^TIES · density 50\s%"))
    expect(map_on.locator(".tb-map-plot")).to_have_count(2)
    both = [heat(map_on, plot)[3][2] for plot in (0, 1)]

    def rate(percent: int) -> float:
        _, contested, conflicted, _ = sums(of(report, 3, "mlp.up_proj"), percent)
        return conflicted / contested

    assert both == pytest.approx(
        [rate(50), rate(20)], abs=1e-6
    )  # B is first in the page, and stands on the right
    map_on.get_by_role("button", name="B − A", exact=True).click()
    expect(map_on.locator(".tb-map-plot")).to_have_count(1)
    map_on.wait_for_timeout(100)
    assert heat(map_on)[3][2] == pytest.approx(rate(50) - rate(20), abs=1e-6)
    expect(map_on.locator(".tb-map-say")).to_contain_text("From A to B conflict goes from")
    map_on.mouse.move(*cell_at(map_on, 3, 2))
    said = f"A {100 * rate(20):.1f} %, B {100 * rate(50):.1f} %"
    expect(map_on.locator(".tb-tip")).to_contain_text(
        re.compile(said.replace(" ", r"\s").replace(".", r"\."))
    )
    map_on.get_by_role("button", name="End the comparison").click()
    map_on.wait_for_timeout(100)
    assert heat(map_on)[3][2] == pytest.approx(rate(50), abs=1e-6)


def test_the_settings_compared_are_told_apart_by_their_method(map_on: Page) -> None:
    map_on.get_by_role("button", name="Compare", exact=True).click()
    expect(map_on.locator(".tb-compare-a")).to_have_text(re.compile(r"^TIES · density 20"))
    map_on.locator("#method").get_by_role("radio", name="Linear").check()
    expect(map_on.locator(".tb-compare-b")).to_have_text(re.compile(r"^Linear · density 20"))
    expect(map_on.locator(".tb-compare-a")).to_have_text(re.compile(r"^TIES · density 20"))
    expect(map_on.locator(".tb-compare-same")).to_be_hidden()


# States -------------------------------------------------------------------------------------------------------------


def test_work_and_problems_leave_the_drawn_map_in_place(map_on: Page) -> None:
    before = heat(map_on)
    height = map_on.locator(".tb-map-drawn").bounding_box()["height"]
    show(fraction=0.4, message="mlp of layer 3")
    map_on.get_by_role("button", name="Renew", exact=True).click()
    expect(map_on.locator(".tb-map-work")).to_contain_text("mlp of layer 3")
    assert map_on.locator(".tb-map-work progress").evaluate("bar => bar.value") == pytest.approx(0.4)
    show(problem=UserError("<b>There is no base.</b>", "Name one."))
    map_on.get_by_role("button", name="Renew", exact=True).click()
    expect(map_on.locator(".tb-map [role=alert]")).to_contain_text("<b>There is no base.</b> Name one.")
    assert heat(map_on) == before
    assert map_on.locator(".tb-map-drawn").bounding_box()["height"] == height


def test_a_sample_never_shows_a_number_without_its_range(
    page: Page, address: str, report: InterferenceReport
) -> None:
    show(report=sampled_from(report), offer=6_600_000_000)
    page.goto(address)
    page.wait_for_selector(".tb-map[data-drawn=true] .tb-map-plot .main-svg")
    page.wait_for_function("window.tiebreakMap.state.tuning === 'ties'")
    line = page.locator(".tb-map-sampled")
    expect(line).to_contain_text("of 6.6 GB, 10.0 % of the weights")
    ranged = re.compile(r"\d\s%\s\(\d+(\.\d)?–\d+(\.\d)?\s%\)")
    assert len(re.findall(r"\(\d+(?:\.\d)?–", page.locator(".tb-map-say").inner_text())) == 2
    expect(page.locator(".tb-cell-say")).to_contain_text(ranged)
    page.mouse.move(*cell_at(page, 3, 2))
    expect(page.locator(".tb-tip")).to_contain_text(ranged)
    expect(page.locator(".tb-tip")).to_contain_text("of them were read")
    page.get_by_role("button", name="Table", exact=True).click()
    for text in page.locator(".tb-map-table td").all_inner_texts():
        assert not text or "–" in text or text.replace(",", "").isdigit()
    with page.expect_download() as saved:
        page.get_by_role("button", name="CSV", exact=True).click()
    for row in csv.DictReader(io.StringIO(Path(saved.value.path()).read_text())):
        assert int(row["conflicted_low"]) <= int(row["conflicted"]) <= int(row["conflicted_high"])
        assert (
            float(row["conflict_low"]) <= float(row["conflict_of_contested"]) <= float(row["conflict_high"])
        )
    page.get_by_role("button", name="256 MB").click()
    expect(page.locator("#draft textarea")).to_have_value("sample 256")
    page.get_by_role("button", name="Download 6.6 GB and count exactly").click()
    expect(page.locator("#draft textarea")).to_have_value("download")


def test_a_page_without_a_map_says_what_to_do(page: Page, address: str) -> None:
    show()
    page.goto(address)
    expect(page.locator(".tb-map .tb-empty")).to_contain_text("Choose a base model and two fine-tunes")


def test_where_nothing_conflicts_the_map_is_still_drawn(map_on: Page, report: InterferenceReport) -> None:
    nothing = (0,) * 100
    calm = [
        TensorInterference(**{**vars(t), "contested": nothing, "conflicted": nothing}) for t in report.tensors
    ]
    show(report=InterferenceReport(**{**vars(report), "tensors": tuple(calm)}))
    map_on.get_by_role("button", name="Renew", exact=True).click()
    expect(map_on.locator(".tb-map-say")).to_contain_text("nothing can conflict")
    met = [TensorInterference(**{**vars(t), "conflicted": nothing}) for t in report.tensors]
    show(report=InterferenceReport(**{**vars(report), "tensors": tuple(met)}))
    map_on.get_by_role("button", name="Renew", exact=True).click()
    expect(map_on.locator(".tb-map-say")).to_contain_text("0")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_narrow_window_scrolls_down_only(
    page: Page, address: str, report: InterferenceReport, theme: str
) -> None:
    show(report=report)
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{address}?__theme={theme}")
    page.wait_for_selector(".tb-map[data-drawn=true] .tb-map-plot .main-svg")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    plot, area = page.locator(".tb-map-plot").bounding_box(), page.locator(".tb-map").bounding_box()
    assert area["x"] <= plot["x"]
    assert plot["x"] + plot["width"] <= area["x"] + area["width"]


def test_light_and_dark_are_redrawn_when_the_page_changes(map_on: Page) -> None:
    map_on.get_by_role("button", name="Beyond chance", exact=True).click()
    map_on.wait_for_timeout(100)
    before = colours(map_on)
    map_on.evaluate("document.body.classList.toggle('dark')")
    map_on.wait_for_timeout(100)
    assert colours(map_on) != before


def test_the_link_keeps_what_the_map_shows(map_on: Page) -> None:
    assert "view=" not in map_on.url
    map_on.get_by_role("button", name="Touched", exact=True).click()
    expect(map_on).to_have_url(re.compile(r"[?&]view=touched"))
    map_on.reload()
    expect(map_on.get_by_role("button", name="Touched", exact=True)).to_have_attribute("aria-pressed", "true")
    map_on.get_by_role("button", name="Conflict", exact=True).click()
    expect(map_on).not_to_have_url(re.compile("view="))
    map_on.goto(f"{map_on.url}?view=constructor")
    expect(map_on.get_by_role("button", name="Conflict", exact=True)).to_have_attribute(
        "aria-pressed", "true"
    )
