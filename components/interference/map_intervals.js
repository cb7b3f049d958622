// Uncertainty of what was only sampled: 95 % intervals of counts and of shares, none where all was read.
//
// `counts.off` holds, per curve, how far below and above the count its interval reaches.

// Errors of independent estimates add up in quadrature, each side by itself (Zou and Donner 2008).
function addOff(sum, off) {
  for (const name of MAP_CURVES) {
    sum[name][0] = Math.hypot(sum[name][0], off[name][0]);
    sum[name][1] = Math.hypot(sum[name][1], off[name][1]);
  }
}

const noOff = () => Object.fromEntries(MAP_CURVES.map((name) => [name, [0, 0]]));

// [low, high] of counts[part] / counts[whole]; null where both are exact or there is no share.
// What of the part's error comes with the whole's is not known: they are taken as independent, which is too wide where
// they rise and fall together, as they mostly do.
function shareRange({ off, ...counts }, part, whole) {
  const size = counts[whole];
  if (!off || !(size > 0)) return null;
  const share = counts[part] / size;
  const [below, above] = off[part];
  const [fewer, more] = whole === "numel" ? [0, 0] : off[whole];
  const low = Math.max(0, share - Math.hypot(below, share * more) / size);
  const high = Math.min(1, share + Math.hypot(above, share * fewer) / size);
  return high - low < 1e-6 ? null : [low, high];
}

// The same for a mode, in the units it shows.
function rangeIn(mode, { counts, chance }) {
  const { part, whole, diverging, rate } = MEASURES[mode];
  const range = part ? shareRange(counts, part, whole) : null;
  return range && diverging ? range.map((end) => end - (rate(chance) ?? 0)) : range;
}

// " (49–57 %)", or nothing where the number is exact. `digits` as for `percent`.
function rangeText(range, digits = 0) {
  if (!range) return "";
  const [low, high] = range.map((end) => (100 * end).toFixed(digits));
  return ` (${low}–${high}${NARROW}%)`;
}

// The same for differences: " (−3.1 to +0.4)".
const pointsText = (range, digits = 1) => (range ? ` (${points(range[0], digits)} to ${points(range[1], digits)})` : "");
