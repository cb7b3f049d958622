// Uncertainty of what was only sampled: 95 % intervals of counts and of shares, none where all was read.
//
// `counts.off` holds, per curve, how far below and above the count its interval reaches; and the same of the share in
// conflict of the touched and of the contested, times what it is a share of.

const OFF_CURVES = [...MAP_CURVES, "of_touched", "of_contested"];

// Errors of independent estimates add up in quadrature, each side by itself (Zou and Donner 2008).
function addOff(sum, off) {
  for (const name of OFF_CURVES) {
    sum[name][0] = Math.hypot(sum[name][0], off[name][0]);
    sum[name][1] = Math.hypot(sum[name][1], off[name][1]);
  }
}

const noOff = () => Object.fromEntries(OFF_CURVES.map((name) => [name, [0, 0]]));

// What adds to the errors of a rate over several cells: the error of a cell's whole, as far as its own rate is another.
function addTilt(sum, cells) {
  for (const whole of ["touched", "contested"]) {
    const rate = sum.conflicted / Math.max(sum[whole], 1);
    const off = sum.off[`of_${whole}`];
    for (const cell of cells) {
      const far = Math.max(...cell.off[whole]);
      const own = cell[whole] > 0 ? cell.conflicted / cell[whole] : null; // unknown where nothing of the whole was met
      off[0] = Math.hypot(off[0], (own === null ? rate : Math.abs(rate - own)) * far);
      off[1] = Math.hypot(off[1], (own === null ? 1 - rate : Math.abs(rate - own)) * far);
    }
  }
}

// [low, high] of counts[part] / counts[whole]; null where both are exact or there is no share. Where the whole is an
// estimate too, the part is what is in conflict.
function shareRange({ off, ...counts }, part, whole) {
  const size = counts[whole];
  if (!off || !(size > 0)) return null;
  const share = counts[part] / size;
  const [below, above] = off[whole === "numel" ? part : `of_${whole}`];
  const low = Math.max(0, share - below / size);
  const high = Math.min(1, share + above / size);
  return high - low < 1e-6 ? null : [low, high];
}

// The same for a mode, in the units it shows.
function rangeIn(mode, { counts, chance }) {
  const { part, whole, diverging, rate } = MEASURES[mode];
  const range = part ? shareRange(counts, part, whole) : null;
  return range && diverging ? range.map((end) => end - (rate(chance) ?? 0)) : range;
}

// " (49–57 %)", or nothing where the number is exact.
function rangeText(range) {
  if (!range) return "";
  const [low, high] = range.map((end) => (100 * end).toFixed(1));
  return ` (${low}–${high}${NARROW}%)`;
}

// The same for differences: " (−3.1 to +0.4)".
const pointsText = (range, digits = 1) => (range ? ` (${points(range[0], digits)} to ${points(range[1], digits)})` : "");
