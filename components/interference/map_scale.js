// Colours of the map: perceptually uniform, told apart with any kind of colour blindness; their range and the legend.

// Inferno without its ends, which would drown in a dark page and a white one.
const HEAT = ["#1b0c41", "#4a0c6b", "#781c6d", "#a52c60", "#cf4446", "#ed6925", "#fb9b06", "#f7d13d"];
// Blue to orange over the page's own neutral, in equal steps of OKLab lightness either way.
const APART_LIGHT = ["#0050a2", "#4478b9", "#7b9fce", "#b3c7e1", "#eeeef1", "#ddbdad", "#c68e70", "#ac6031", "#8f2e00"];
const APART_DARK = ["#8ecbff", "#63a2d6", "#51799b", "#3f5263", "#2d2e30", "#5f4b3b", "#936b4a", "#c98c59", "#ffb06e"];

const isDark = () => document.body.classList.contains("dark");

const evenly = (colours) => colours.map((colour, place) => [place / (colours.length - 1), colour]);

// [position, colour] pairs from 0 to 1.
function stopsOf(mode, map) {
  const { diverging, models } = MEASURES[mode];
  if (models) return modelStops(map);
  return evenly(diverging ? (isDark() ? APART_DARK : APART_LIGHT) : HEAT);
}

// One ramp per model, one after the other: from hardly its colour to all of it.
function modelStops({ models }) {
  const style = getComputedStyle(document.body);
  const panel = rgb(style.getPropertyValue("--tb-panel").trim());
  return models.flatMap(({ colour }, model) => {
    const full = style.getPropertyValue(colour).trim();
    return [
      [model / models.length, mixed(panel, rgb(full), 0.2)],
      [model + 1 < models.length ? (model + 1) / models.length - 1e-6 : 1, full],
    ];
  });
}

const rgb = (colour) => [1, 3, 5].map((place) => parseInt(colour.slice(place, place + 2), 16));

function mixed(from, to, part) {
  return `#${from.map((value, at) => Math.round(value + part * (to[at] - value)).toString(16).padStart(2, "0")).join("")}`;
}

// A number → its colour, between the ends of `range`.
function shaded(stops, [low, high]) {
  const colours = stops.map(([, colour]) => rgb(colour));
  return (value) => {
    const part = Math.min(Math.max((value - low) / (high - low), 0), 1);
    const next = Math.max(1, stops.findIndex(([position]) => position >= part));
    const [start, end] = [stops[next - 1][0], stops[next][0]];
    return mixed(colours[next - 1], colours[next], (part - start) / (end - start));
  };
}

// Black or white, whichever can be read on a colour: where both contrast alike, relative luminance is 0.18.
function legible(colour) {
  const [r, g, b] = rgb(colour).map((value) => (value / 255) ** 2.2);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.18 ? "#000000" : "#ffffff";
}

// Rounds outwards to steps of 1, 2 or 5, so that the ends of the scale are numbers one can say and seldom move.
function rounded(low, high) {
  const span = Math.max(high - low, 0.001);
  const power = 10 ** Math.floor(Math.log10(span));
  const step = (span / power < 2 ? 0.2 : span / power < 5 ? 0.5 : 1) * power;
  const from = Math.floor(low / step + 1e-9) * step;
  return [from, Math.max(Math.ceil(high / step - 1e-9) * step, from + step)];
}

// [lowest, highest] of the colours. `values` per cell; those of cells where little meets do not stretch the range.
function rangeOf(mode, fitted, values, solid) {
  const { diverging, models } = MEASURES[mode];
  if (models) return [0, shared.state.map.models.length];
  if (!fitted) return diverging ? [-0.5, 0.5] : [0, 1];
  const known = values.filter((value) => value !== null);
  const firm = values.filter((value, cell) => value !== null && solid[cell]);
  const kept = firm.length * 2 >= known.length ? firm : known;
  if (!kept.length) return diverging ? [-0.1, 0.1] : [0, 1];
  const low = kept.reduce((a, b) => Math.min(a, b));
  const high = kept.reduce((a, b) => Math.max(a, b));
  if (diverging) {
    const most = rounded(0, Math.max(Math.abs(low), Math.abs(high), 0.01))[1];
    return [-most, most];
  }
  const [from, to] = rounded(low, high);
  return from >= 1 ? [1 - (to - from), 1] : [Math.max(0, from), Math.min(1, to)]; // all may be 100 %
}

function modelKey({ name, colour, letter }) {
  const key = node("span", "", name);
  const dot = node("i", "tb-dot", letter);
  const full = getComputedStyle(document.body).getPropertyValue(colour).trim();
  dot.style.background = full;
  dot.style.color = legible(full);
  key.prepend(dot);
  return key;
}

const HATCHED = "hatched: too few weights to tell";
const CORNERED = "corner: set for this cell alone";

// The ends of the scale, and what the colours mean.
function legendWords(mode, [from, to], values) {
  const span = 100 * (to - from);
  const digits = span < 0.5 ? 2 : span < 5 ? 1 : 0;
  const { diverging, unit, beside = unit } = MEASURES[mode];
  const below = values.some((value) => value !== null && value < from - 1e-9) ? "≤ " : "";
  const above = values.some((value) => value !== null && value > to + 1e-9) ? "≥ " : "";
  return {
    low: below + (diverging ? points(from, digits) : (100 * from).toFixed(digits)),
    high: above + (diverging ? `${points(to, digits)} points` : percent(to, digits)),
    words: beside,
  };
}

// Where chance lies on the bar, as a share of its length, or null outside of it; and the words that say so.
function chanceOn([from, to], chance) {
  if (chance === null || chance === undefined) return null;
  if (chance < from || chance > to) return { at: null, words: `chance: ${finely(chance)}` };
  return { at: (chance - from) / (to - from), words: "chance" };
}

function makeLegend(root) {
  const part = (name) => root.querySelector(`.tb-map-${name}`);
  const [low, ramp, high, place, names] = ["low", "ramp", "high", "unit", "names"].map(part);
  const [mark, outside] = ["chance", "chance-outside"].map(part);
  const ends = [low, ramp, high, place];
  part("hatch-key").textContent = HATCHED;
  part("own-key").textContent = CORNERED;
  const last = {};

  function markChance(range, chance) {
    const found = chanceOn(range, chance);
    const inside = Boolean(found) && found.at !== null;
    root.dataset.chanceOnBar = inside;
    mark.hidden = !inside;
    if (inside) mark.style.setProperty("--at", `${(100 * found.at).toFixed(1)}%`);
    outside.hidden = !found || inside;
    outside.textContent = outside.hidden ? "" : found.words;
  }

  return (mode, range, stops, { cells, chance }) => {
    const { models } = MEASURES[mode];
    markChance(range, chance);
    names.hidden = !models;
    for (const one of ends) one.hidden = Boolean(models);
    if (models) return names.replaceChildren(...shared.state.map.models.map(modelKey));
    const said = legendWords(mode, range, cells);
    said.ramp = `linear-gradient(to right, ${stops.map(([, colour]) => colour).join(", ")})`;
    if (said.low !== last.low) low.textContent = said.low;
    if (said.high !== last.high) high.textContent = said.high;
    if (said.words !== last.words) place.textContent = said.words;
    if (said.ramp !== last.ramp) ramp.style.background = said.ramp;
    Object.assign(last, said);
  };
}
