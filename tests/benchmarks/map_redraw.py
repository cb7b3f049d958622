"""How long the browser takes to redraw the map at another density: `python -m tests.benchmarks.map_redraw`.

The density control is moved through its whole range, one step per frame that was drawn, on a map of 80 layers × 12
modules. A redraw is timed from the control's input event until the frame that shows the cells anew has been painted.
"""

from __future__ import annotations

import argparse
import shutil
import statistics

from playwright.sync_api import sync_playwright

from components.interference.inspecting import MapState
from tests.browser.map_page import RECIPE, made_up_report, served

MODULES = (
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.o_proj",
    "self_attn.q_norm",
    "self_attn.k_norm",
    "mlp.gate_proj",
    "mlp.up_proj",
    "mlp.down_proj",
    "input_layernorm",
    "post_attention_layernorm",
    "mlp.router",
)

MEASURE = """async (steps) => {
  const slider = document.querySelector("#density input[type=range]");
  const scrubber = document.querySelector(".tb-scrub-line"); // says the density once the map shows it
  const setter = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value").set;
  const redrawn = () => new Promise((done) => {
    const observer = new MutationObserver(() => { observer.disconnect(); done(); });
    observer.observe(scrubber, { attributeFilter: ["aria-valuenow"] });
  });
  const painted = () => new Promise((done) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = done;
    port2.postMessage(0);
  });
  const took = [];
  for (let step = 0; step < steps; step++) {
    const shown = redrawn();
    const start = performance.now();
    setter.call(slider, String(1 + ((step * 37) % 100)));
    slider.dispatchEvent(new Event("input", { bubbles: true }));
    await shown;
    await painted();
    took.push(performance.now() - start);
    await new Promise((next) => requestAnimationFrame(next));
  }
  return took;
}"""
WHOLE_MODEL = {"question": RECIPE.replace("{density", "{trim_scope: model, density")}  # offers every mode


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--layers", type=int, default=80)
    options.add_argument("--modules", type=int, default=12)
    options.add_argument("--mode", help="what the map shows, by the words of its switch; default every mode")
    options.add_argument("--steps", type=int, default=200)
    asked = options.parse_args()
    modules = [MODULES[i] if i < len(MODULES) else f"part{i}.proj{i}" for i in range(asked.modules)]
    names = [f"model.layers.{layer}.{module}.weight" for layer in range(asked.layers) for module in modules]
    report = made_up_report(
        ["model.embed_tokens.weight", *names, "lm_head.weight"], entries=300, elections=True
    )
    with served(lambda: MapState(WHOLE_MODEL, report=report)) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(address)
        page.wait_for_selector(".tb-map[data-drawn=true]")
        page.wait_for_timeout(1000)
        offered = page.locator(".tb-map-modes button:visible").all_inner_texts()
        for mode in [asked.mode] if asked.mode else offered:
            page.get_by_role("button", name=mode, exact=True).click()
            page.evaluate(MEASURE, 20)  # warm up
            took = sorted(page.evaluate(MEASURE, asked.steps))
            p95 = took[int(0.95 * (len(took) - 1))]
            print(
                f"{asked.layers} layers × {asked.modules} modules, {mode}, {len(took)} redraws: "
                f"median {statistics.median(took):.1f} ms, p95 {p95:.1f} ms"
            )
        browser.close()


if __name__ == "__main__":
    main()
