// What the map and the drill-down share in the browser: the curves, and what is looked at. Made once per page.

const MAP_CURVES = ["touched", "contested", "conflicted"];

function unpacked(text, kind) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return new kind(bytes.buffer);
}

// map_payload.py's value → the same with its curves as arrays, and their sums by row and over all.
function readMap(value) {
  const steps = value.density.length;
  const size = value.cells.length * steps;
  const all = unpacked(value.curves, Float32Array);
  const map = { ...value, steps, curves: {}, rowCurves: {}, totals: {}, rowNumel: new Float64Array(value.rows.length) };
  map.numel = 0;
  map.rowCells = value.rows.map(() => []);
  map.grid = new Int32Array(value.rows.length * value.columns.length).fill(-1);
  value.cells.forEach((cell, number) => {
    map.numel += cell.numel;
    if (cell.row < 0) return;
    map.rowNumel[cell.row] += cell.numel;
    map.rowCells[cell.row].push(number);
    map.grid[cell.row * value.columns.length + cell.column] = number;
  });
  MAP_CURVES.forEach((name, place) => {
    const curve = all.subarray(place * size, (place + 1) * size);
    const rows = new Float64Array(value.rows.length * steps);
    const total = new Float64Array(steps);
    value.cells.forEach((cell, number) => {
      for (let step = 0; step < steps; step++) {
        const count = curve[number * steps + step];
        total[step] += count;
        if (cell.row >= 0) rows[cell.row * steps + step] += count;
      }
    });
    map.curves[name] = curve;
    map.rowCurves[name] = rows;
    map.totals[name] = total;
  });
  if (value.sampled) {
    const off = unpacked(value.sampled.off, Float32Array);
    const part = (side, place) => off.subarray((side * OFF_CURVES.length + place) * size, (side * OFF_CURVES.length + place + 1) * size);
    map.off = Object.fromEntries(OFF_CURVES.map((name, place) => [name, [part(0, place), part(1, place)]]));
    map.rateRanges = ["rates_low", "rates_high"].map((name) => unpacked(value.sampled[name], Uint16Array));
  }
  map.byModel = readByModel(value.by_model);
  map.rates = unpacked(value.tensor_rates, Uint16Array);
  let next = 0;
  for (const cell of value.cells) {
    cell.rates = cell.count > 1 ? next : null;
    next += cell.count > 1 ? cell.tensors.length : 0;
  }
  return map;
}

// The cells of a row, or all.
function cellsOf(map, kind, series) {
  return kind === "row" ? map.rowCells[series] : map.cells.keys();
}

// Where a density lies on the grid: between `low` and the step above it; below the grid, counts fall to 0 at 0.
function placeOf(map, share) {
  const place = Math.round((Math.min(Math.max(share, 0), 1) * map.steps - 1) * 1e6) / 1e6;
  const low = Math.floor(place);
  return { low, part: place - low };
}

function along(curve, series, steps, { low, part }) {
  const start = series * steps;
  const below = low < 0 ? 0 : curve[start + low];
  return part ? below + part * (curve[start + low + 1] - below) : below;
}

// Counts of one series (a cell, a row, or all) at a place.
function countsOf(map, kind, series, place) {
  const curves = kind === "cell" ? map.curves : kind === "row" ? map.rowCurves : map.totals;
  const numel = kind === "cell" ? map.cells[series].numel : kind === "row" ? map.rowNumel[series] : map.numel;
  const found = { numel };
  for (const name of MAP_CURVES) found[name] = along(curves[name], series, map.steps, place);
  if (map.off && kind === "cell") {
    found.off = {};
    for (const name of OFF_CURVES) found.off[name] = map.off[name].map((side) => along(side, series, map.steps, place));
  }
  return found;
}

// What chance gives at a place, as counts of one weight, so that every measure reads it like counts.
function chanceAt(map, place) {
  const found = { numel: 1 };
  for (const name of MAP_CURVES) found[name] = along(map.chance[name], 0, map.steps, place);
  return found;
}

// The density of a cell: its own where the recipe gives it one, else everybody's.
const shareOfCell = (number, share, own = shared.state.own) => own.density.get(number) ?? share;

// Of cells with a value of their own, those that have another than most of their layer, where the value follows depth.
function aside(map, values, followsDepth) {
  if (!followsDepth) return [...values.keys()];
  const said = (cell) => JSON.stringify(values.get(cell));
  const usual = map.rowCells.map((cells) => {
    const times = new Map();
    for (const cell of cells) times.set(said(cell), (times.get(said(cell)) ?? 0) + 1);
    return [...times].reduce((most, one) => (one[1] > most[1] ? one : most))[0];
  });
  return [...values.keys()].filter((cell) => map.cells[cell].row >= 0 && said(cell) !== usual[map.cells[cell].row]);
}

const densityAside = (map, { density, depth }) => aside(map, density, depth);
const weightAside = (map, { weight }) => aside(map, weight, weight.size === map.cells.length);

// { counts, chance } of a cell, a row, or all, while everybody's density is `share`.
function lookAt(map, kind, series, share, own = shared.state.own) {
  if (kind === "cell" || !(own.density.size || map.off)) {
    const place = placeOf(map, kind === "cell" ? shareOfCell(series, share, own) : share);
    const counts = countsOf(map, kind, series, place);
    if (map.byModel) counts.by = () => byModelOf(map, kind, series, share, own);
    return { counts, chance: chanceAt(map, place) };
  }
  const [counts, chance] = [{ numel: 0 }, { numel: 1 }];
  for (const name of MAP_CURVES) counts[name] = chance[name] = 0;
  if (map.off) counts.off = noOff();
  if (map.byModel) counts.by = () => byModelOf(map, kind, series, share, own);
  const cells = [];
  for (const number of cellsOf(map, kind, series)) {
    const cell = map.cells[number];
    const one = lookAt(map, "cell", number, share, own);
    cells.push(one.counts);
    counts.numel += cell.numel;
    if (map.off) addOff(counts.off, one.counts.off);
    for (const name of MAP_CURVES) {
      counts[name] += one.counts[name];
      chance[name] += cell.numel * one.chance[name];
    }
  }
  if (map.off) addTilt(counts, cells);
  for (const name of MAP_CURVES) chance[name] /= Math.max(counts.numel, 1);
  return { counts, chance };
}

// Of what a conflict rate is a share: [counts' key, words].
const BASES = {
  contested: ["contested", "contested weights"],
  touched: ["touched", "touched weights"],
  all: ["numel", "all weights"],
};

// A tensor may have no entries at all.
const shareOf = (part, whole) => (counts) => (counts[whole] > 0 ? counts[part] / counts[whole] : null);
const rateOf = shareOf("conflicted", "contested");

function conflictIn([base, [whole, words]]) {
  const rate = shareOf("conflicted", whole);
  return [
    base,
    { family: "conflict", base, part: "conflicted", whole, label: "Conflict", unit: `of ${words}`, beside: "", of: rate, rate },
    {
      family: "beyond", base, part: "conflicted", whole, label: "Beyond chance", unit: `of ${words}, against chance`, beside: "against chance",
      rate, diverging: true,
      of: (counts, chance) => (rate(counts) === null ? null : rate(counts) - (rate(chance) ?? 0)),
    },
  ];
}

// What the map can show, by name: a number in shares from counts, or null where there is none. `rate` is what its curve
// shows; `whole` names the counts that a share is of; `beside` stands in the legend instead of the unit; `curve` names its curve
// where that shows something else; `still` is what no density changes.
const MEASURES = {
  touched: { family: "touched", label: "Touched", unit: "of all weights", part: "touched", whole: "numel", of: shareOf("touched", "numel"), rate: shareOf("touched", "numel") },
};
for (const [base, conflict, beyond] of Object.entries(BASES).map(conflictIn)) {
  MEASURES[`conflict of ${base}`] = conflict;
  MEASURES[`beyond of ${base}`] = beyond;
}

// The families of measures, as the switch shows them.
const FAMILIES = {
  conflict: {
    label: "Conflict",
    about:
      "An entry conflicts where, after trimming, one model raises it and another lowers it. Contested weights are those " +
      "that two or more models change, touched ones those that at least one changes. Chance is what unrelated models, that know " +
      "nothing of each other, would give: each keeps any weight with the same probability, and raises it half the time.",
  },
  beyond: {
    label: "Beyond chance",
    about:
      "The conflict rate minus what models that know nothing of each other would give. Blue cells agree more than by " +
      "chance, orange ones less. With more models chance alone gives more conflict, so compare this rather than the rate.",
  },
  touched: {
    label: "Touched",
    about:
      "Of all weights: the share that at least one model changes after trimming. Where all models change the same " +
      "weights it stays near the density; where each changes others it grows towards density × models.",
  },
};

// The measure of a family, of the base that is chosen where it has one.
const measureOf = ({ family, base }) => (MEASURES[family] ? family : `${family} of ${base}`);

// Listeners are told once per frame, with the set of what has changed: "map", "share", "mode", "fitted", "cell", "picked",
// "tuning", "marked", "own", "recounting", "tensor", "kept", "view".
function makeMapState() {
  const listeners = new Set();
  const changed = new Set();
  const state = {
    map: null, share: 0.2,
    mode: "conflict of contested", family: "conflict", base: "contested", fitted: true, cell: -1, picked: null, tuning: null,
    marked: [], // cells to edit together
    own: { density: new Map(), weight: new Map(), fixed: "", depth: false, each: [] }, // what the recipe says of single cells
    recounting: false, // who is outvoted is counted anew, all else stays
    tensor: null, // of the chosen cell, shown by heads or rows
    kept: null, // A of a comparison: the map, density and single cells as they were
    view: "b", // what is shown of it, see map_compare.js
    heldUntil: 0,
  };
  let frame = 0;

  function tell() {
    frame = 0;
    const now = new Set(changed);
    changed.clear();
    for (const listener of listeners) {
      try {
        listener(now);
      } catch (error) {
        console.error(error);
      }
    }
  }

  function change(part) {
    for (const [name, value] of Object.entries(part)) {
      if (state[name] === value) continue;
      state[name] = value;
      changed.add(name);
    }
    if (changed.size && !frame) frame = requestAnimationFrame(tell);
  }

  const trims = (method) => store.trimming.includes(method);

  const store = {
    state,
    change,
    listen: (listener) => listeners.add(listener),
    percent: () => Math.round(state.share * 1e4) / 100,
    // What the controls say. A method without density leaves the map at its own; and the echo of what the scrubber
    // just said must not pull the scrubber back.
    tuned(method, percent) {
      change({ tuning: method });
      const held = performance.now() < state.heldUntil;
      if (!held && trims(method) && Number.isFinite(percent)) change({ share: percent / 100 });
    },
    trims: () => state.tuning === null || trims(state.tuning),
    trimming: [], // methods that have a density; the map's component says which
  };
  return store;
}

const shared = (window.tiebreakMap ??= makeMapState());
