// Each model's part in the chosen cell: what of it is kept and wins, how large its changes are, and what trimming costs.

function makeCellModels(root) {
  const place = root.querySelector(".tb-cell-models");
  const [hint, open, body, sizes, kept] = [".tb-models-hint", ".tb-models-open", "tbody", ".tb-sizes", ".tb-kept"].map((name) =>
    place.querySelector(name),
  );
  const HEIGHT = 132;
  let cells = []; // per model: the table's cells that follow the density
  let drawn = null;

  function named({ name, spelled, colour }) {
    const head = node("th", "tb-row-name");
    const dot = node("span", "tb-dot");
    head.scope = "row";
    head.title = spelled;
    dot.style.background = `var(${colour})`;
    head.append(dot, node("span", "", name));
    return head;
  }

  // Another cell, map or width.
  function draw(map, number) {
    place.hidden = !map.byModel;
    if (place.hidden) return;
    const { elections } = map.byModel;
    hint.hidden = elections !== null || map.models.length < 2;
    open.hidden = elections === null;
    drawn = null;
    if (!elections) return;
    cells = map.models.map(() => [0, 1, 2, 3].map(() => node("td", "tb-number")));
    body.replaceChildren(
      ...map.models.map((model, at) => {
        const row = node("tr");
        row.append(named(model), ...cells[at]);
        return row;
      }),
    );
    const width = sizes.clientWidth;
    if (!width) return;
    drawn = { sizes: drawSizes(map, number, width), kept: drawKept(map, number, width) };
  }

  function canvas(parent, width, label) {
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    svg.setAttribute("class", "tb-curve");
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", label);
    parent.replaceChildren(svg);
    return svg;
  }

  function words(svg, x, y, text, anchor) {
    const made = drawnIn(svg, "text", { x, y, "text-anchor": anchor });
    made.textContent = text;
    made.classList.add("tb-curve-word");
  }

  function drawnIn(svg, tag, attributes) {
    const made = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    svg.append(made);
    return made;
  }

  const coloured = (svg, { colour }, attributes) => {
    const line = drawnIn(svg, "path", { fill: "none", "stroke-width": 2, ...attributes });
    line.style.stroke = `var(${colour})`;
    return line;
  };

  // Histogram of |τ| by its power of two, and a stem for each model where its trim cuts.
  function drawSizes(map, number, width) {
    const { bins, lowest, magnitudes } = map.byModel.elections;
    const cellCount = map.cells.length;
    const counts = map.models.map((_, model) => {
      const start = (model * cellCount + number) * bins;
      return magnitudes.subarray(start, start + bins);
    });
    const { numel } = map.cells[number];
    // The bin of zeros, and the thin tails, would leave no room for the rest.
    const seen = Array.from({ length: bins }, (_, bin) => lowest + bin > -127 && counts.some((row) => row[bin] > numel / 250));
    const first = Math.max(0, seen.indexOf(true));
    const last = Math.max(first, seen.lastIndexOf(true));
    const most = Math.max(...counts.map((row) => Math.max(...row.subarray(first, last + 1))), 1);
    const svg = canvas(sizes, width, `How large the changes are, by model, in ${cellTitle(map, number)}`);
    const [left, right, bottom, top] = [8, 8, 18, 8];
    const x = (edge) => left + ((width - left - right) * (edge - first)) / (last - first + 1);
    const y = (count) => HEIGHT - bottom - ((HEIGHT - bottom - top) * count) / most;
    drawnIn(svg, "path", { class: "tb-curve-grid", d: `M${left} ${y(0)}H${width - right}` });
    map.models.forEach((model, at) => {
      let d = `M${x(first)} ${y(0)}`;
      for (let bin = first; bin <= last; bin++) d += `V${y(counts[at][bin]).toFixed(1)}H${x(bin + 1).toFixed(1)}`;
      coloured(svg, model, { d: `${d}V${y(0)}` });
    });
    const [low, high] = [first, last + 1].map((edge) => Math.log10(2 ** (lowest + edge)));
    for (let power = Math.ceil(low); power <= high; power++) {
      const at = x(Math.log2(10 ** power) - lowest);
      words(svg, at, HEIGHT - 4, `10${raised(String(power))}`, at > width - 24 ? "end" : at < 24 ? "start" : "middle");
    }
    const stems = map.models.map((model) => coloured(svg, model, { "stroke-dasharray": "3 3", "stroke-width": 1.5 }));
    return { counts, first, last, x, stems, low: y(0), high: top };
  }

  const raised = (power) => [...power].map((digit) => (digit === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[digit])).join("");

  // How much of each model's direction (which is as much of its norm) a trim keeps.
  function drawKept(map, number, width) {
    const svg = canvas(kept, width, `Direction kept against density, by model, in ${cellTitle(map, number)}`);
    const [left, right, bottom, top] = [44, 12, 18, 8];
    const x = (share) => left + ((width - left - right) * (share - 0.01)) / 0.99;
    const y = (value) => HEIGHT - bottom - (HEIGHT - bottom - top) * value;
    drawnIn(svg, "path", { class: "tb-curve-grid", d: [0, 0.5, 1].map((value) => `M${left} ${y(value)}H${width - right}`).join("") });
    for (const value of [0, 0.5, 1]) words(svg, left - 6, y(value) + 4, percent(value), "end");
    for (const share of [0.2, 0.4, 0.6, 1]) words(svg, x(share), HEIGHT - 3, percent(share), share === 1 ? "end" : "middle");
    const looks = map.density.filter((_, step) => step % 5 === 4).map((share) => [share, byModel(map, number, share)]);
    map.models.forEach((model, at) => {
      const d = looks
        .filter(([, by]) => by.energy[at] > 0)
        .map(([share, by], step) => `${step ? "L" : "M"}${x(share).toFixed(1)} ${y(Math.sqrt(by.survived[at] / by.energy[at])).toFixed(1)}`);
      coloured(svg, model, { d: d.join("") });
    });
    return { x, stem: drawnIn(svg, "path", { class: "tb-curve-stem" }), low: y(0), high: top };
  }

  // Moves with the density.
  function follow(map, number, share) {
    if (place.hidden || open.hidden) return;
    const by = byModel(map, number, share);
    const wins = winsOf(by);
    map.models.forEach((_, at) => {
      const texts = [
        percent(by.kept[at] / map.cells[number].numel),
        by.energy[at] > 0 ? percent(Math.sqrt(Math.min(1, by.survived[at] / by.energy[at]))) : "–",
        by.mass[at] > 0 ? percent(by.lost[at] / by.mass[at]) : "–",
        wins ? percent(wins[at]) : "–",
      ];
      texts.forEach((text, column) => (cells[at][column].textContent = text));
    });
    if (!drawn) return;
    const { counts, first, last, x, stems, low, high } = drawn.sizes;
    stems.forEach((stem, at) => {
      let left = by.kept[at]; // counted down from the largest changes
      let bin = counts[at].length - 1;
      while (bin > first && left > counts[at][bin]) left -= counts[at][bin--];
      const edge = bin + 1 - (counts[at][bin] > 0 ? Math.min(1, left / counts[at][bin]) : 0);
      stem.setAttribute("d", by.kept[at] > 0 && edge <= last + 1 ? `M${x(Math.max(edge, first))} ${low}V${high}` : "");
    });
    drawn.kept.stem.setAttribute("d", `M${drawn.kept.x(Math.max(share, 0.01))} ${drawn.kept.low}V${drawn.kept.high}`);
  }

  // While who is outvoted is counted anew, the columns that tell it are not to be relied on.
  function renew(recounting) {
    open.setAttribute("aria-busy", recounting);
  }

  return { draw, follow, renew };
}
