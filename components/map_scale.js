// Colours of the map: perceptually uniform, told apart with any kind of colour blindness; their range and the legend.

// Inferno without its ends, which would drown in a dark page and a white one.
const HEAT = ["#1b0c41", "#4a0c6b", "#781c6d", "#a52c60", "#cf4446", "#ed6925", "#fb9b06", "#f7d13d"];
// Blue to orange over the page's own neutral, in equal steps of OKLab lightness either way.
const APART_LIGHT = ["#0050a2", "#4478b9", "#7b9fce", "#b3c7e1", "#eeeef1", "#ddbdad", "#c68e70", "#ac6031", "#8f2e00"];
const APART_DARK = ["#8ecbff", "#63a2d6", "#51799b", "#3f5263", "#2d2e30", "#5f4b3b", "#936b4a", "#c98c59", "#ffb06e"];

const isDark = () => document.body.classList.contains("dark");

function stopsOf(mode) {
  return MEASURES[mode].diverging ? (isDark() ? APART_DARK : APART_LIGHT) : HEAT;
}

const plotlyScale = (stops) => stops.map((colour, place) => [place / (stops.length - 1), colour]);

function colourAt(stops, part) {
  const at = Math.min(Math.max(part, 0), 1) * (stops.length - 1);
  const low = Math.min(Math.floor(at), stops.length - 2);
  const mixed = [1, 3, 5].map((place) => {
    const [a, b] = [stops[low], stops[low + 1]].map((stop) => parseInt(stop.slice(place, place + 2), 16));
    return Math.round(a + (at - low) * (b - a));
  });
  return `rgb(${mixed.join(" ")})`;
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
  const { diverging } = MEASURES[mode];
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

function makeLegend(root) {
  const [low, ramp, high, place] = [".tb-map-low", ".tb-map-ramp", ".tb-map-high", ".tb-map-unit"].map((name) =>
    root.querySelector(name),
  );
  const last = {};
  return (mode, [from, to], stops, values) => {
    const span = 100 * (to - from);
    const digits = span < 0.5 ? 2 : span < 5 ? 1 : 0;
    const { diverging, unit, beside = unit } = MEASURES[mode];
    const below = values.some((value) => value !== null && value < from - 1e-9) ? "≤ " : "";
    const above = values.some((value) => value !== null && value > to + 1e-9) ? "≥ " : "";
    const said = {
      low: below + (diverging ? points(from, digits) : (100 * from).toFixed(digits)),
      high: above + (diverging ? `${points(to, digits)} points` : percent(to, digits)),
      words: beside,
      ramp: `linear-gradient(to right, ${stops.join(", ")})`,
    };
    if (said.low !== last.low) low.textContent = said.low;
    if (said.high !== last.high) high.textContent = said.high;
    if (said.words !== last.words) place.textContent = said.words;
    if (said.ramp !== last.ramp) ramp.style.background = said.ramp;
    Object.assign(last, said);
  };
}
