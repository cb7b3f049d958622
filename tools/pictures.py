"""Take the README's pictures from the running app: the workbench after a merge, and its map at three densities."""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.browser.conftest import running_app  # noqa: E402

PICTURES = ROOT / "assets" / "pictures"
DENSITIES = (5, 20, 60)
PATIENCE = 180_000  # ms
WITHOUT_SANDBOX = ["--no-sandbox", "--disable-dev-shm-usage"]


def workbench(page: Page) -> None:
    """The whole page, with a finished run beside the map."""
    page.click("#tb-start")
    expect(page.locator("#tb-runs .tb-chip").first).to_have_text(re.compile("done"), timeout=PATIENCE)
    expect(page.locator("#tb-scores tbody tr")).to_have_count(6)
    page.mouse.move(0, 0)
    page.wait_for_timeout(1500)
    page.screenshot(path=PICTURES / "workbench.png")


def maps(page: Page) -> None:
    """The map at each density."""
    for percent in DENSITIES:
        page.locator("#density input[type=number]").fill(str(percent))
        page.keyboard.press("Tab")
        page.wait_for_timeout(1200)
        page.locator("#tb-map").screenshot(path=PICTURES / f"density-{percent:02}.png")


def main() -> None:
    """Take all pictures."""
    PICTURES.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as home,
        running_app(Path(home)) as address,
        sync_playwright() as driver,
    ):
        browser = driver.chromium.launch(executable_path="/usr/bin/chromium", args=WITHOUT_SANDBOX)
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(address)
        expect(page.locator("#tb-start")).to_be_enabled(timeout=PATIENCE)
        expect(page.locator("#tb-map")).to_contain_text("Keeping the largest", timeout=PATIENCE)
        workbench(page)
        maps(page)
        browser.close()


if __name__ == "__main__":
    main()
