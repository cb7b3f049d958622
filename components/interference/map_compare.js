// Two settings beside each other: A, kept in this page, and B, what is set now. Everything is laid out as B's map is.

MEASURES.difference = { family: "difference", label: "Difference", unit: "B − A", diverging: true };

const VIEWS = {
  side: ["Side by side", "A on the left, what is set now on the right"],
  a: ["A", "What was kept"],
  b: ["B", "What is set now"],
  difference: ["B − A", "What is set now, minus what was kept"],
};

// A's values, laid out on the cells and rows of another map; null where A has no such cell.
function onto(map, kept, values) {
  const cells = new Map(kept.cells.map((cell, number) => [cell.key, number]));
  const rows = new Map(kept.rows.map((row, number) => [row.title, number]));
  const cellAt = map.cells.map((cell) => cells.get(cell.key));
  const rowAt = map.rows.map((row) => rows.get(row.title));
  const take = (series, places) => places.map((place) => series[place] ?? null);
  return {
    cells: take(values.cells, cellAt), rows: take(values.rows, rowAt), solid: take(values.solid, cellAt).map(Boolean),
    ranges: take(values.ranges, cellAt), rowRanges: take(values.rowRanges, rowAt), chance: values.chance,
  };
}

function minus(b, a) {
  const apart = (left, right) => left.map((value, at) => (value === null || right[at] === null ? null : value - right[at]));
  // The errors of two samples add up in quadrature.
  const range = (value, valueRange, other, otherRange) => {
    if (value === null || other === null || (!valueRange && !otherRange)) return null;
    const [[low, high], [otherLow, otherHigh]] = [valueRange ?? [value, value], otherRange ?? [other, other]];
    return [value - other - Math.hypot(value - low, otherHigh - other), value - other + Math.hypot(high - value, other - otherLow)];
  };
  const ranges = (series, ends) => b[series].map((value, at) => range(value, b[ends][at], a[series][at], a[ends][at]));
  return {
    cells: apart(b.cells, a.cells), rows: apart(b.rows, a.rows), solid: b.solid.map((solid, at) => solid && a.solid[at]),
    ranges: ranges("cells", "ranges"), rowRanges: ranges("rows", "rowRanges"),
  };
}

// What is to be drawn: { mode, values }, and A's values where they stand beside B's.
function looked({ map, mode, share, own, kept, view: asked }) {
  const view = asked === "difference" && MEASURES[mode].models ? "b" : asked; // who wins has no difference
  const values = mapValues(map, mode, share, own);
  if (!kept) return { mode, values };
  const a = onto(map, kept.map, mapValues(kept.map, mode, kept.share, kept.own));
  if (view === "a") return { mode, values: a };
  if (view === "difference") return { mode: "difference", values: minus(values, a) };
  return { mode, values, beside: view === "side" ? a : undefined };
}

// "A 53.1 %, B 48.0 %: −5.1 points." of one cell.
function comparedWords({ map, mode, share, own, kept }, number) {
  const place = kept.map.cells.findIndex((cell) => cell.key === map.cells[number].key);
  const value = (of, at, density, its) => {
    const { counts, chance } = lookAt(of, "cell", at, density, its);
    return MEASURES[mode].of(counts, chance);
  };
  const [a, b] = [place < 0 ? null : value(kept.map, place, kept.share, kept.own), value(map, number, share, own)];
  if (MEASURES[mode].models) return ` A ${a === null ? "–" : winnerText(a)}, B ${b === null ? "–" : winnerText(b)}.`;
  const said = (found) => (found === null ? "–" : MEASURES[mode].diverging ? points(found, 1) : percent(found, 1));
  const apart = a === null || b === null ? "" : `: ${points(b - a, 1) || "0"} points`;
  return ` A ${said(a)}, B ${said(b)}${apart}.`;
}

// The sentence for B − A.
function comparedSentence(state, values = looked({ ...state, view: "difference" }).values) {
  const { map, mode, share, own, kept } = state;
  const { rate, unit, part, whole, family } = MEASURES[mode];
  const looks = [lookAt(kept.map, "all", 0, kept.share, kept.own), lookAt(map, "all", 0, share, own)];
  const [a, b] = looks.map(({ counts }) => rate(counts));
  const [rangeA, rangeB] = looks.map(({ counts }) => (part ? rangeText(shareRange(counts, part, whole)) : ""));
  if (a === null || b === null) return [["There is nothing to compare: in one of the two no weights meet."]];
  const known = values.rows.map((value, row) => ({ value, row })).filter(({ value }) => value !== null);
  const most = known.sort((one, other) => Math.abs(other.value) - Math.abs(one.value))[0];
  const what = { touched: "the touched share", lost: "the outvoted share", kept: "what is kept", moved: "the models’ size" }[family] ?? "conflict";
  const parts = [[`From A to B ${what} goes from `], [percent(a, 1), true], [rangeA], [" to "], [percent(b, 1), true], [rangeB]];
  parts.push([` ${unit.replace(", against chance", "")}: `], [`${points(b - a, 1) || "0"} points`, true], ["."]);
  if (most && Math.abs(most.value) >= 0.002 && !map.off && !kept.map.off) {
    parts.push([` It ${most.value > 0 ? "rises" : "falls"} most in ${map.rows[most.row].title}.`]);
  }
  return parts;
}

// What decides a picture, in words.
const settingFacts = ({ map, share, own }) => [
  `density ${amountKept({ map, share, own }).join("")}`,
  ...map.settings,
  ...(map.sampled ? [`sampled: ${finely(map.sampled.read / map.sampled.of)} of the weights read, ranges hold the true value 95 times in 100`] : []),
];

// The same of one of two settings, which may differ by their method too.
function comparedFacts(setting) {
  const [first, ...rest] = settingFacts(setting);
  const method = props.methods[setting.tuning] ?? setting.tuning;
  return [method ? `${method} · ${first}` : first, ...rest];
}

function makeCompare(root) {
  const bar = root.querySelector(".tb-map-compare");
  const part = (name) => bar.querySelector(`.tb-compare-${name}`);
  const { state } = shared;
  let other = null; // A's picture, while it stands beside B's
  const narrow = () => matchMedia(NARROW_WINDOW).matches;

  const showView = segments(
    bar.querySelector(".tb-map-views"),
    Object.entries(VIEWS).map(([view, [text, title]]) => [view, text, title]),
    () => state.view,
    (view) => shared.change({ view }),
  );
  part("keep").addEventListener("click", keep);
  part("close").addEventListener("click", () => shared.change({ kept: null, view: "b" }));

  function keep() {
    const { map, share, own, tuning } = state;
    const view = state.kept ? state.view : narrow() ? "difference" : "side";
    shared.change({ kept: { map, share, own, tuning }, view });
  }

  function show() {
    const { kept, map } = state;
    bar.hidden = !kept || !map;
    root.querySelector(".tb-map-begin").hidden = kept !== null;
    if (bar.hidden) return;
    showView();
    const [a, b] = [comparedFacts(kept), comparedFacts(state)];
    const told = (mine, others) => mine.filter((fact, place) => place === 0 || !others.includes(fact)).join(" · ");
    part("a").textContent = told(a, b);
    part("b").textContent = told(b, a);
    part("same").hidden = a.join() !== b.join();
  }

  // A's picture beside B's: the same parts once more, without what can be pointed at.
  function pair(wanted) {
    const place = root.querySelector(".tb-map-pair");
    place.dataset.pair = wanted;
    if (wanted && !other) {
      const side = node("div", "tb-map-other");
      const copy = root.querySelector(".tb-map-drawn").cloneNode(true);
      copy.setAttribute("aria-hidden", "true");
      copy.querySelectorAll(".tb-map-grid, .tb-map-chosen, .tb-map-outlines, .tb-map-corners").forEach((one) => one.remove());
      copy.querySelector(".tb-map-plot").replaceChildren();
      side.append(copy);
      place.append(side);
      other = { side, picture: makePicture(side, () => {}) };
    }
    if (!wanted && other) {
      other.side.remove();
      other = null;
    }
    return other?.picture;
  }

  return { keep, show, pair };
}
