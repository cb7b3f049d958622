// The report that one can keep: its map at any density, one cell, tables. Names are strangers' text: textContent only.
"use strict";
const report = JSON.parse(document.getElementById("report").textContent);
const at = id => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
// The colours of the page's map: inferno without its ends, and blue to orange where chance is the middle.
const HEAT = ["#1b0c41", "#4a0c6b", "#781c6d", "#a52c60", "#cf4446", "#ed6925", "#fb9b06", "#f7d13d"];
const APART_LIGHT = ["#0050a2", "#4478b9", "#7b9fce", "#b3c7e1", "#eeeef1", "#ddbdad", "#c68e70", "#ac6031", "#8f2e00"];
const APART_DARK = ["#8ecbff", "#63a2d6", "#51799b", "#3f5263", "#2d2e30", "#5f4b3b", "#936b4a", "#c98c59", "#ffb06e"];
const dark = matchMedia("(prefers-color-scheme: dark)");
let density = report.at, chosen = null;

function element(name, parent, text, attributes) {
  const made = document.createElement(name);
  if (text !== undefined && text !== null) made.textContent = text;
  for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
  parent.append(made);
  return made;
}
function shape(name, parent, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  parent.append(made);
  return made;
}
const percent = share => share === null || !isFinite(share) ? "–" : (100 * share).toFixed(1) + " %";
const count = n => n.toLocaleString("en");
const points = share => (share < 0 ? "−" : "+") + (100 * Math.abs(share)).toFixed(1);
const told = share => isBeyond() && share !== null ? points(share) + " points" : percent(share);

// What is shown: a share of `whole`, the part of it that is `part`, or that minus what chance gives.
const measure = () => at("measure").value.split(" ");
const isBeyond = () => measure()[0] === "beyond";
const partOf = () => measure()[0] === "touched" ? "touched" : "conflicted";
const wholeOf = (counts, j) => measure()[1] === "all" ? counts.numel : counts[measure()[1]][j];
const rate = (counts, j) => wholeOf(counts, j) > 0 ? counts[partOf()][j] / wholeOf(counts, j) : null;
const byChance = j => rate({ numel: 1, ...report.chance }, j) ?? 0;
function value(counts, j) {
  const share = rate(counts, j);
  return share === null || !isBeyond() ? share : share - byChance(j);
}
function reach(cell, j) {
  const bounds = cell[partOf() + "_bounds"];
  if (!bounds || rate(cell, j) === null) return null;
  const [low, high] = cell.rate_bounds[measure()[1]]?.[j] ?? bounds[j].map(end => end / cell.numel);
  return isNaN(low) ? null : Math.max(high - rate(cell, j), rate(cell, j) - low);
}
const farther = (rate, [low, high]) => isNaN(rate) ? null : Math.max(high - rate, rate - low);
const within = (cell, j) => reach(cell, j) === null ? "" : " ± " + percent(reach(cell, j));
const FEW = 100; // of which a share is mostly luck
const isPoor = (cell, j, [low, high]) => value(cell, j) !== null && (wholeOf(cell, j) < FEW || reach(cell, j) >= (high - low) / 4);
function colour(share, low, high) {
  if (share === null) return "var(--empty)";
  const scale = !isBeyond() ? HEAT : dark.matches ? APART_DARK : APART_LIGHT;
  const x = Math.min(1, Math.max(0, (share - low) / (high - low || 1))) * (scale.length - 1);
  const i = Math.min(scale.length - 2, Math.floor(x)), f = x - i;
  const [from, to] = [scale[i], scale[i + 1]].map(c => [1, 3, 5].map(k => parseInt(c.slice(k, k + 2), 16)));
  return "rgb(" + from.map((c, k) => Math.round(c + f * (to[k] - c))).join(",") + ")";
}
function range() {
  // A share of few weights does not stretch the colours where enough others are known.
  const known = report.cells.filter(c => value(c, density) !== null), firm = known.filter(c => wholeOf(c, density) >= FEW);
  const all = (firm.length * 2 >= known.length ? firm : known).map(c => value(c, density));
  if (!isBeyond()) return all.length ? [Math.min(0.99, ...all), Math.max(Math.min(0.99, ...all) + 0.01, ...all)] : [0, 1];
  const most = Math.max(0.001, ...all.map(Math.abs));
  return [-most, most];
}
const sumOf = cells => Object.fromEntries([["numel", cells.reduce((sum, c) => sum + c.numel, 0)],
  ...["touched", "contested", "conflicted"].map(kind => [kind, report.density.map((_, j) => cells.reduce((sum, c) => sum + c[kind][j], 0))])]);
const whole = sumOf(report.cells);
const layers = report.rows.map((_, y) => sumOf(report.cells.filter(c => c.row === y)));
const ordered = [...report.before.map(c => report.cells[c.cell]), ...report.cells.filter(c => c.row >= 0), ...report.after.map(c => report.cells[c.cell])];
const cut = (text, most) => text.length > most ? text.slice(0, Math.max(1, most - 1)) + "…" : text;
const drawn = new Map();
let means = [];

// As the page draws it: what comes before the layers, the layers, what comes after, and beside each layer its mean.
function drawMap() {
  drawn.clear();
  const { rows, columns, before, after } = report;
  const narrow = at("map").clientWidth < 480, right = narrow ? 56 : 110, H = rows.length > 40 ? 14 : 24;
  const left = 22 + 7 * Math.min(16, Math.max(5, ...rows.map(r => r.label.length)));
  const room = Math.max(180, at("map").clientWidth - left - right), W = Math.min(84, Math.max(18, Math.floor(room / (columns.length || 1))));
  const across = columns.length ? W * columns.length : Math.min(room, 640);
  const turned = columns.some(c => 7 * c.label.length > W - 4);
  const heads = !columns.length ? 0 : turned ? 14 + 5.6 * Math.min(22, Math.max(...columns.map(c => c.label.length))) : 24;
  const strip = cells => cells.length ? 50 : 0;
  const top = strip(before) + heads, foot = top + H * rows.length;
  const svg = document.createElementNS(SVG, "svg");
  for (const [key, value] of Object.entries({ width: left + across + right, height: foot + strip(after) + 6, role: "group", "aria-label": "The chosen share by layer and module; the table below holds the same numbers" })) svg.setAttribute(key, value);
  at("map").replaceChildren(svg);
  const place = (cell, x, y, width, height) => {
    const rect = shape("rect", svg, { class: "cell", x, y, width: width - 2, height: height - 2, tabindex: drawn.size ? -1 : 0 });
    rect.hatching = shape("rect", svg, { class: "hatching", x, y, width: width - 2, height: height - 2, fill: "url(#slants)" });
    drawn.set(cell, rect);
    rect.title = shape("title", rect, {});
    rect.addEventListener("click", () => choose(cell));
    rect.addEventListener("focus", () => choose(cell));
    rect.addEventListener("keydown", move);
    rect.at = [x + width / 2, y + height / 2];
  };
  const outside = (side, cells, y, below) => {
    if (!cells.length) return;
    shape("text", svg, { x: left - 10, y: y + 15, "text-anchor": "end", class: "soft" }, side);
    const each = across / cells.length;
    cells.forEach(({ label, cell }, number) => {
      const text = shape("text", svg, { x: left + each * (number + .5), y: below ? y + 36 : y - 8, "text-anchor": "middle", class: "soft" }, cut(label, Math.floor(each / 7.5)));
      shape("title", text, {}, label);
      place(report.cells[cell], left + each * number, y, each, 22);
    });
  };
  outside("before", before, 20);
  columns.forEach((column, x) => {
    const middle = left + W * (x + .5), where = turned ? { transform: `translate(${middle + 2},${top - 6}) rotate(-55)` } : { x: middle, y: top - 8, "text-anchor": "middle" };
    const text = shape("text", svg, { ...where, class: "soft" }, cut(column.label, 22));
    shape("title", text, {}, column.module);
  });
  if (rows.length) shape("text", svg, { x: left + across + right - 2, y: top - 8, "text-anchor": "end", class: "soft" }, narrow ? "mean" : "layer mean");
  means = rows.map((row, y) => {
    const middle = top + H * (y + .5);
    const text = shape("text", svg, { x: left - 10, y: middle + 3, "text-anchor": "end", class: "soft" }, cut(row.label, 16));
    shape("title", text, {}, row.title);
    const bars = { x: left + across + 12, y: middle - 4, height: 6, visibility: narrow ? "hidden" : "visible" };
    shape("rect", svg, { ...bars, width: 40, fill: "var(--track)" });
    const bar = shape("rect", svg, { ...bars, width: 0, fill: "var(--soft)" });
    return { bar, start: left + across + 12, number: shape("text", svg, { x: left + across + right - 2, y: middle + 3, "text-anchor": "end" }, "") };
  });
  report.cells.filter(c => c.row >= 0).forEach(c => place(c, left + W * c.column, top + H * c.row, W, H));
  outside("after", after, foot + 8, true);
  if (chosen) mark();
}
function move(event) {
  const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  if (!step) return;
  event.preventDefault();
  const [x, y] = event.target.at;
  let best = null, least = Infinity;
  for (const rect of drawn.values()) {
    const dx = rect.at[0] - x, dy = rect.at[1] - y, along = dx * step[0] + dy * step[1], across = Math.abs(dx * step[1]) + Math.abs(dy * step[0]);
    if (along > 0 && along + 4 * across < least) { best = rect; least = along + 4 * across; }
  }
  if (best) best.focus();
}
function choose(cell) {
  chosen = cell;
  mark();
  drawDetail();
}
function mark() {
  for (const [cell, rect] of drawn) {
    rect.classList.toggle("chosen", cell === chosen);
    rect.setAttribute("tabindex", cell === chosen ? 0 : -1);
  }
}
function drawDetail() {
  const box = at("detail"), cell = chosen, j = density;
  if (!cell) return;
  box.replaceChildren();
  element("p", box, cell.title + ": " + told(value(cell, j)) + within(cell, j));
  element("p", box, `${count(cell.numel)} weights; ${count(cell.touched[j])} touched, ${count(cell.contested[j])} contested, ${count(cell.conflicted[j])} in conflict`
    + (cell.conflicted_bounds ? ` (95 %: ${count(cell.conflicted_bounds[j][0])} to ${count(cell.conflicted_bounds[j][1])})` : "") + ".");
  const W = 360, H = 150, x = i => 40 + (W - 50) * report.density[i], top = Math.max(...cell.conflicted) / cell.numel || 0.01;
  const most = Math.max(top, ...report.chance.conflicted, ...(cell.conflicted_bounds || []).map(b => b[1] / cell.numel));
  const y = share => H - 20 - (H - 35) * share / most;
  const svg = shape("svg", box, { width: W, height: H, role: "img", "aria-label": "Share in conflict at every density" });
  const line = shares => shares.map((s, i) => (i ? "L" : "M") + x(i).toFixed(1) + " " + y(s).toFixed(1)).join("");
  if (cell.conflicted_bounds) {
    const low = cell.conflicted_bounds.map(b => b[0] / cell.numel), high = cell.conflicted_bounds.map(b => b[1] / cell.numel);
    const back = low.map((s, i) => [i, s]).reverse().map(([i, s]) => "L" + x(i).toFixed(1) + " " + y(s).toFixed(1)).join("");
    shape("path", svg, { d: line(high) + back + "Z", fill: "var(--accent)", opacity: .25 });
  }
  shape("path", svg, { d: line(report.chance.conflicted), fill: "none", stroke: "var(--soft)", "stroke-dasharray": "4 3" });
  shape("path", svg, { d: line(cell.conflicted.map(c => c / cell.numel)), fill: "none", stroke: "var(--accent)", "stroke-width": 2 });
  shape("line", svg, { x1: x(j), x2: x(j), y1: 10, y2: H - 20, stroke: "var(--text)" });
  shape("text", svg, { x: 36, y: y(most) + 4, "text-anchor": "end", class: "soft" }, (100 * most).toFixed(0) + " %");
  shape("text", svg, { x: 36, y: y(0), "text-anchor": "end", class: "soft" }, "0");
  shape("text", svg, { x: W - 10, y: H - 5, "text-anchor": "end", class: "soft" }, "density");
  element("p", box, "Share of all its weights that is in conflict; dashed: by chance alone.", { class: "soft" });
  element("p", box, cell.tensors.join(", ") + (cell.count > cell.tensors.length ? ` and ${cell.count - cell.tensors.length} more` : ""), { class: "soft" });
}
function drawTable() {
  const table = document.createElement("table"), j = density;
  const head = element("tr", element("thead", table));
  for (const name of ["cell", "weights", "touched", "contested", "in conflict", "of contested"]) element("th", head, name, { scope: "col" });
  const body = element("tbody", table);
  for (const cell of ordered) {
    const row = element("tr", body);
    element("td", row, cell.title);
    element("td", row, count(cell.numel));
    for (const kind of ["touched", "contested", "conflicted"]) {
      const bounds = cell[kind + "_bounds"];
      const far = bounds ? " ± " + percent(Math.max(bounds[j][1] - cell[kind][j], cell[kind][j] - bounds[j][0]) / cell.numel) : "";
      element("td", row, percent(cell[kind][j] / cell.numel) + far);
    }
    const rate = cell.contested[j] ? cell.conflicted[j] / cell.contested[j] : null;
    const far = rate !== null && cell.rate_bounds ? " ± " + percent(farther(rate, cell.rate_bounds.contested[j])) : "";
    element("td", row, percent(rate) + far);
  }
  at("table").replaceChildren(table);
}
function redraw() {
  const [low, high] = range(), [kind, of] = measure();
  at("shown").textContent = report.density[density].toFixed(2);
  let hatched = false;
  for (const [cell, rect] of drawn) {
    const share = value(cell, density), poor = isPoor(cell, density, [low, high]);
    rect.style.fill = colour(share, low, high);
    rect.hatching.style.display = poor ? "" : "none";
    hatched ||= poor;
    rect.title.textContent = cell.title + ": " + told(share) + within(cell, density) + (poor ? "; too few weights to tell" : "");
    rect.setAttribute("aria-label", rect.title.textContent);
  }
  means.forEach(({ bar, start, number }, y) => {
    const share = value(layers[y], density), part = x => 40 * Math.min(1, Math.max(0, (x - low) / (high - low)));
    const ends = share === null ? [0, 0] : [isBeyond() ? 20 : 0, part(share)].sort((a, b) => a - b);
    bar.setAttribute("x", start + ends[0]);
    bar.setAttribute("width", ends[1] - ends[0]);
    number.textContent = share === null ? "–" : isBeyond() ? points(share) : percent(share);
  });
  const found = rate(whole, density), which = of === "all" ? "" : of + " ";
  at("now").textContent = `With each model's changes trimmed to the largest ${percent(report.density[density]).replace(".0 ", " ")}, ${percent(found)} of all ${which}weights are `
    + `${kind === "touched" ? "touched" : "in conflict"}; chance alone gives ${percent(byChance(density))}.`;
  at("legend").replaceChildren();
  const svg = shape("svg", at("legend"), { width: 330, height: hatched ? 58 : 34, "aria-hidden": "true" });
  for (let i = 0; i < 60; i++) shape("rect", svg, { x: 50 + 2.5 * i, y: 4, width: 3, height: 12, fill: colour(low + (high - low) * i / 59, low, high) });
  shape("text", svg, { x: 50, y: 30 }, isBeyond() ? points(low) : percent(low));
  shape("text", svg, { x: 200, y: 30, "text-anchor": "end" }, told(high));
  if (kind === "conflict") {
    // A line over the bar where chance lies within it, and the same line before the words that name it.
    const by = byChance(density), inside = by >= low && by <= high;
    const line = x => shape("rect", svg, { class: "chance", x: x - 1, y: 1, width: 2, height: 18, fill: "var(--text)" });
    if (inside) [50 + 150 * (by - low) / (high - low), 212].forEach(line);
    shape("text", svg, { x: inside ? 218 : 208, y: 14, class: "soft" }, "chance: " + percent(by));
  }
  if (hatched) {
    shape("rect", svg, { x: 50, y: 42, width: 18, height: 12, fill: "var(--swatch)" });
    shape("rect", svg, { x: 50, y: 42, width: 18, height: 12, fill: "url(#slants)" });
    shape("text", svg, { x: 76, y: 53, class: "soft" }, "hatched: too few weights to tell");
  }
  drawDetail();
  drawTable();
}
function plainTable(parent, head, body) {
  const table = element("table", parent), top = element("tr", element("thead", table));
  head.forEach(name => element("th", top, name, { scope: "col" }));
  const rest = element("tbody", table);
  body.forEach(cells => { const row = element("tr", rest); cells.forEach(text => element("td", row, text)); });
}
const number = (x, digits) => x === null || x === undefined ? "–" : x.toFixed(digits);
const decimals = x => x > 0 ? Math.min(12, Math.max(0, 3 - Math.floor(Math.log10(x)))) : 1;  // for four digits
const spread = (x, low, high, told) => told(x) + (low === undefined || low === null ? "" : " ± " + told(Math.max(x - low, high - x)));

at("about").textContent = report.sampled
  ? `Estimated from ${count(report.read)} of ${count(report.entries)} weights; each ± holds the true number 95 times in 100.`
  : `Counted over all ${count(report.entries)} weights.`;
report.models.forEach(name => element("li", at("models"), name));
report.warnings.forEach(text => element("p", at("warnings"), text, { class: "warning" }));
plainTable(at("pairs"), ["pair", "cosine", "same sign"], report.pairs.map(p => [p.a + " × " + p.b,
  spread(p.cosine, p.cosine_low, p.cosine_high, x => number(x, 4)), spread(p.sign_agreement, p.sign_agreement_low, p.sign_agreement_high, percent)]));
plainTable(at("norms"), ["model", "‖τ‖", "‖τ‖ / ‖base‖"], report.norms.map(n => [n.model,
  spread(n.norm, n.norm_low, n.norm_high, x => x.toFixed(decimals(n.norm))), spread(n.relative, n.relative_low, n.relative_high, x => number(x, 4))]));
at("made").textContent = "Made by Tiebreak " + report.version + ".";
at("density").max = report.density.length - 1;
at("density").value = density;
at("density").addEventListener("input", event => { density = Number(event.target.value); requestAnimationFrame(redraw); });
at("measure").addEventListener("change", redraw);
dark.addEventListener("change", redraw);
let wide = 0;
new ResizeObserver(() => {
  if (at("map").clientWidth === wide) return;
  wide = at("map").clientWidth;
  drawMap();
  redraw();
}).observe(at("map"));
