"""How long the browser takes to redraw the map at another density: `python -m tests.benchmarks.map_redraw`.

The density control is moved through its whole range, one step per frame that was drawn, on a map of 80 layers × 12
modules. A redraw is timed from the control's input event to the frame in which Plotly has drawn the cells anew.
"""

from __future__ import annotations

import argparse
import shutil
import statistics

from playwright.sync_api import sync_playwright

from components.interference.inspecting import MapState
from tests.browser.map_page import made_up_report, served

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
  const plot = document.querySelector(".tb-map-plot");
  const setter = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value").set;
  const took = [];
  for (let step = 0; step < steps; step++) {
    const drawn = new Promise((done) => plot.once("plotly_afterplot", done));
    const start = performance.now();
    setter.call(slider, String(1 + ((step * 37) % 100)));
    slider.dispatchEvent(new Event("input", { bubbles: true }));
    await drawn;
    took.push(performance.now() - start);
    await new Promise((next) => requestAnimationFrame(next));
  }
  return took;
}"""


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--layers", type=int, default=80)
    options.add_argument("--modules", type=int, default=12)
    options.add_argument("--mode", default="Conflict", help="what the map shows, by the words of its switch")
    options.add_argument("--steps", type=int, default=200)
    asked = options.parse_args()
    modules = [MODULES[i] if i < len(MODULES) else f"part{i}.proj{i}" for i in range(asked.modules)]
    names = [f"model.layers.{layer}.{module}.weight" for layer in range(asked.layers) for module in modules]
    report = made_up_report(
        ["model.embed_tokens.weight", *names, "lm_head.weight"], entries=300, elections=True
    )
    with served(lambda: MapState({}, report=report)) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(address)
        page.wait_for_selector(".tb-map-plot .main-svg")
        page.wait_for_timeout(1000)
        page.get_by_role("button", name=asked.mode, exact=True).click()
        page.evaluate(MEASURE, 20)  # warm up
        took = sorted(page.evaluate(MEASURE, asked.steps))
        browser.close()
    p95 = took[int(0.95 * (len(took) - 1))]
    print(
        f"{asked.layers} layers × {asked.modules} modules, {asked.mode}, {len(took)} redraws: "
        f"median {statistics.median(took):.1f} ms, p95 {p95:.1f} ms"
    )


if __name__ == "__main__":
    main()
