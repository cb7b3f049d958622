// Numbers and findings in plain words.

const NARROW = "\u202f"; // narrow no-break space, between a number and its unit

function node(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

const whole = (number) => Math.round(number).toLocaleString("en-US");

function counted(number, one, many = `${one}s`) {
  return `${whole(number)} ${number === 1 ? one : many}`;
}

function percent(share, digits = 0) {
  if (share === null || share === undefined || Number.isNaN(share)) return "–";
  return `${(100 * share).toFixed(digits).replace(/^-(0(\.0+)?)$/, "$1")}${NARROW}%`;
}

// Small shares keep two digits that say something.
function finely(share) {
  const size = Math.abs(share ?? 0);
  return percent(share, size >= 0.1 || size === 0 ? 1 : size >= 0.01 ? 1 : size >= 0.001 ? 2 : 3);
}

function points(share, digits = 0) {
  const text = (100 * Math.abs(share)).toFixed(digits);
  const sign = Number(text) === 0 ? "" : share < 0 ? "−" : "+";
  return `${sign}${text}`;
}

const density = (share) => percent(share, Math.abs(share * 100 - Math.round(share * 100)) < 1e-6 ? 0 : 1);

function titled(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function cellTitle(map, number) {
  const cell = map.cells[number];
  return cell.row < 0 ? cell.label : `${titled(map.rows[cell.row].title)} · ${cell.label}`;
}

// One measure of one cell, row or all, said with what it is a share of: [bold start, rest].
function inWords(mode, counts, chance) {
  const { touched, contested, conflicted, numel } = counts;
  if (numel <= 0) return ["No weights.", ""];
  if (mode === "touched") {
    const by = finely(chance.touched);
    return [finely(touched / numel), ` of its weights are touched (${whole(touched)}). Chance: ${by}.`];
  }
  if (mode === "share") {
    const by = finely(chance.conflicted);
    return [finely(conflicted / numel), ` of its weights conflict (${whole(conflicted)}). Chance: ${by}.`];
  }
  if (contested <= 0) return ["No conflict possible:", " no weight is touched by two models."];
  const rate = conflicted / contested;
  const by = rateOf(chance) ?? 0;
  const of = `${whole(conflicted)} of ${counted(contested, "contested weight")}`;
  if (mode === "beyond") {
    const than = `${percent(rate, 1)} where chance gives ${percent(by, 1)}`;
    return [`${points(rate - by, 1)} points`, ` against chance: ${than} (${of}).`];
  }
  return [`${percent(rate, 1)} conflict`, ` (${of}). Chance: ${percent(by, 1)}.`];
}

function cellFacts(map, number, counts) {
  const cell = map.cells[number];
  const few = counts.contested > 0 && counts.contested < FEW ? " So few weights tell little." : "";
  return `${counted(cell.numel, "weight")} in ${counted(cell.count, "tensor")}.${few}`;
}

const FEW = 100; // contested weights; below this a rate is mostly luck, and does not stretch the colours

// "layers 6–8": the layers around the lowest (or highest) value that are nearer to it than to the middle of the range.
function extremeLayers(map, values, lowest) {
  const usable = values.map((value, row) => [value, row]).filter(([value]) => value !== null);
  if (usable.length < 3) return "";
  const sign = lowest ? 1 : -1;
  usable.sort((a, b) => sign * (a[0] - b[0]));
  const [best, row] = usable[0];
  const spread = Math.abs(usable.at(-1)[0] - best);
  if (spread < 0.01) return "";
  const near = (at) => {
    const value = values[at];
    return value !== null && value !== undefined && Math.abs(value - best) < spread / 4 &&
      map.rows[at].stack === map.rows[row].stack;
  };
  let first = row;
  let last = row;
  while (last - first + 1 < values.length / 3 && (near(first - 1) || near(last + 1))) {
    if (near(last + 1)) last++;
    else first--;
  }
  if (first === last) return map.rows[row].title;
  const start = map.rows[first].title.replace(/layer (\d+)$/, "layers $1");
  return `${start}–${map.rows[last].layer ?? "more"}`;
}

// The cell whose conflict rate is farthest above chance, among those where enough weights meet; -1 where none meet.
function standsOut(map, share) {
  const place = placeOf(map, share);
  const chance = rateOf(chanceAt(map, place)) ?? 0;
  const found = map.cells
    .map((_, number) => ({ number, counts: countsOf(map, "cell", number, place) }))
    .filter(({ counts }) => counts.contested > 0);
  const firm = found.filter(({ counts }) => counts.contested >= FEW);
  const above = ({ counts }) => rateOf(counts) - chance;
  return (firm.length ? firm : found).reduce((best, one) => (best && above(best) >= above(one) ? best : one), null)?.number ?? -1;
}

// The sentence above the map, as [text, isBold] parts.
function sentence(map, mode, share) {
  const place = placeOf(map, share);
  const counts = countsOf(map, "all", 0, place);
  const chance = chanceAt(map, place);
  const measure = MEASURES[mode];
  const rows = map.rows.map((row, number) => measure.of(countsOf(map, "row", number, place), chance));
  const parts = [["Keeping the largest "], [density(share), true]];
  const add = (...more) => parts.push(...more);
  const where = (words, lowest) => {
    const layers = extremeLayers(map, rows, lowest);
    if (layers) add([` ${words} ${layers}.`]);
  };
  if (mode === "touched") {
    add([", at least one model touches "], [finely(counts.touched / map.numel), true], [" of all weights; "]);
    add([`models that know nothing of each other would touch ${finely(chance.touched)}.`]);
    where("Most are in", false);
    return parts;
  }
  if (map.models.length < 2) return [["One model has nobody to disagree with. Add a second fine-tune of the same base."]];
  const rate = rateOf(counts);
  if (mode === "share") {
    add([", models pull apart in "], [finely(counts.conflicted / map.numel), true], [" of all weights; "]);
    add([`chance alone would give ${finely(chance.conflicted)}.`]);
    where("Most are in", false);
    return parts;
  }
  if (rate === null) return [...parts, [", no weight is touched by two models: nothing can conflict."]];
  if (mode === "beyond") {
    const apart = rate - (rateOf(chance) ?? 0);
    const least = Math.abs(apart) < 0.0005;
    add([", models that meet pull apart in "], [percent(rate, 1), true], [" of cases, "]);
    add(least ? ["just as often as by chance.", true] : [`${points(Math.abs(apart), 1).slice(1)} points ${apart < 0 ? "less" : "more"}`, true]);
    if (!least) add([" than chance alone would give."]);
    where("They agree most in", true);
    return parts;
  }
  add([", two or more models touch "], [finely(counts.contested / map.numel), true], [" of all weights. There they pull apart in "]);
  add([percent(rate), true], [` of cases; chance alone would give ${percent(rateOf(chance))}.`]);
  where("They agree most in", true);
  return parts;
}
