// Numbers and findings in plain words.

const NARROW = "\u202f"; // narrow no-break space, between a number and its unit

const whole = (number) => Math.round(number).toLocaleString("en-US");

function counted(number, one, many = `${one}s`) {
  return `${whole(number)} ${number === 1 ? one : many}`;
}

function percent(share, digits = 0) {
  if (share === null || share === undefined || Number.isNaN(share)) return "–";
  return `${(100 * share).toFixed(digits).replace(/^-(0(\.0+)?)$/, "$1")}${NARROW}%`;
}

// Every share that sentences and curves say: small ones keep two digits that say something.
function finely(share) {
  const size = Math.abs(share ?? 0);
  return percent(share, size >= 0.01 || size === 0 ? 1 : size >= 0.001 ? 2 : 3);
}

function points(share, digits = 0) {
  const text = (100 * Math.abs(share)).toFixed(digits);
  const sign = Number(text) === 0 ? "" : share < 0 ? "−" : "+";
  return `${sign}${text}`;
}

const density = (share) => percent(share, Math.abs(share * 100 - Math.round(share * 100)) < 1e-6 ? 0 : 1);

// "10–90 %", or "20 %" where all are one.
function span(shares) {
  const [low, high] = [Math.min(...shares), Math.max(...shares)].map(density);
  return low === high ? high : `${low.replace(`${NARROW}%`, "")}–${high}`;
}

// What is kept, as [share, what goes with it]: one density for all, some cells aside, or as many as the recipe says.
function amountKept({ map, share, own }) {
  const single = densityAside(map, own);
  if (single.length === map.cells.length) return [span([...own.density.values()]), ", by cell"];
  const said = single.length ? ` (${span(single.map((cell) => own.density.get(cell)))} in ${counted(single.length, "cell")})` : "";
  if (!own.depth) return [density(share), said];
  const rest = [...map.cells.keys()].filter((cell) => !single.includes(cell));
  return [span(rest.map((cell) => shareOfCell(cell, share, own))), ` over depth${said}`];
}

// "keeping the largest 20 %", of what a mode shows.
const keeping = (state) => (state.family === "moved" ? "before any trim" : `keeping the largest ${amountKept(state).join("")}`);

const cut = (text, most) => (text.length > most ? `${text.slice(0, Math.max(most - 1, 1))}…` : text);

function titled(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function cellTitle(map, number) {
  const cell = map.cells[number];
  return cell.row < 0 ? cell.label : `${titled(map.rows[cell.row].title)} · ${cell.label}`;
}

// One measure of one cell, row or all, said with what it is a share of: [bold start, rest].
function inWords(mode, look) {
  const { counts, chance } = look;
  const { family, base, whole: key, rate } = MEASURES[mode];
  const { touched, conflicted, numel } = counts;
  if (numel <= 0) return ["No weights.", ""];
  if (FAMILIES[family].needs) return modelWords(shared.state.map, family, counts);
  const range = rangeIn(mode, look);
  const about = range ? "about " : "";
  if (family === "touched") {
    return [`${finely(touched / numel)}${rangeText(range)}`, ` of its weights are touched (${about}${whole(touched)}). Chance: ${finely(chance.touched)}.`];
  }
  const [found, by] = [rate(counts), rate(chance) ?? 0];
  if (found === null) return ["No conflict possible:", ` no weight is touched${base === "contested" ? " by two models" : ""}.`];
  const of = `${about}${whole(conflicted)} of ${counted(counts[key], base === "all" ? "weight" : `${base} weight`)}`;
  if (family === "beyond") {
    return [`${points(found - by, 1)} points${pointsText(range)}`, ` against chance: ${finely(found)} where chance gives ${finely(by)} (${of}).`];
  }
  return [`${finely(found)}${rangeText(range)} conflict`, ` (${of}). Chance: ${finely(by)}.`];
}

function cellFacts(map, number, counts) {
  const cell = map.cells[number];
  const few = counts.contested > 0 && counts.contested < FEW ? " So few weights tell little." : "";
  const read = map.off ? ` ${whole(cell.sampled)} of them were read.` : "";
  return `${counted(cell.numel, "weight")} in ${counted(cell.count, "tensor")}.${read}${few}`;
}

// What the recipe says of this cell alone.
function ownWords(map, number) {
  const { density: densities, weight, depth } = shared.state.own;
  const said = densities.has(number) ? [`density ${density(densities.get(number))}`] : [];
  for (const [model, value] of Object.entries(weight.get(number) ?? {})) {
    said.push(`weight of ${map.models[model]?.name ?? "a model"} ${value}`);
  }
  return said.length ? ` ${depth ? "Here" : "Its own"}: ${said.join(", ")}.` : "";
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
  const found = map.cells
    .map((_, number) => ({ number, ...lookAt(map, "cell", number, share) }))
    .filter(({ counts }) => counts.contested > 0);
  const firm = found.filter(({ counts }) => counts.contested >= FEW);
  const least = ({ counts }) => shareRange(counts, "conflicted", "contested")?.[0] ?? rateOf(counts);
  const above = (one) => least(one) - (rateOf(one.chance) ?? 0);
  return (firm.length ? firm : found).reduce((best, one) => (best && above(best) >= above(one) ? best : one), null)?.number ?? -1;
}

// How often models pull apart, beside what models that know nothing of each other would.
function besideChance(found, by, range) {
  const alike = range ? range[0] <= by && range[1] >= by : Math.abs(found - by) < Math.min(0.02, by / 10);
  return alike ? "much like" : found < by ? "less than" : "more than";
}

// The sentence above the map, as [text, isBold] parts.
function sentence({ map, mode, share, own: single }, { rows } = mapValues(map, mode, share, single)) {
  const { counts, chance } = lookAt(map, "all", 0, share, single);
  const { family, base, rate, whole } = MEASURES[mode];
  const [amount, aside] = amountKept({ map, share, own: single });
  const parts = [["Keeping the largest "], [amount, true], [aside]];
  const add = (...more) => parts.push(...more);
  const where = (words, lowest) => {
    const layers = map.off ? "" : extremeLayers(map, rows, lowest); // a sample cannot tell the first from the second
    if (layers) add([` ${words} ${layers}.`]);
    return parts;
  };
  const ranged = (part, whole = "numel") => [rangeText(shareRange(counts, part, whole))];
  if (FAMILIES[family].needs) return modelSentence(map, family, { counts }, rows, parts, where);
  if (family === "touched") {
    add([", at least one model touches "], [finely(counts.touched / map.numel), true], ranged("touched"), [" of all weights; "]);
    add([`models that know nothing of each other would touch ${finely(chance.touched)}.`]);
    return where("Most are in", false);
  }
  if (map.models.length < 2) return [["One model has nobody to disagree with. Add a second fine-tune of the same base."]];
  const [found, by] = [rate(counts), rate(chance) ?? 0];
  if (found === null) return [...parts, [`, no weight is touched${base === "contested" ? " by two models" : ""}: nothing can conflict.`]];
  if (family === "beyond") {
    const apart = found - by;
    const equal = Math.abs(apart) < 0.0005;
    const of = { contested: ", models that meet pull apart in ", touched: ", of the weights touched, models pull apart in ", all: ", models pull apart in " };
    add([of[base]], [finely(found), true], ranged("conflicted", whole));
    add([base === "contested" ? " of cases, " : base === "all" ? " of all weights, " : ", "]);
    const range = rangeIn(mode, { counts, chance });
    if (range && range[0] <= 0 && range[1] >= 0) {
      add(["no farther from chance than the sample can tell.", true]);
      return parts;
    }
    add(equal ? ["just as often as by chance.", true] : [`${points(Math.abs(apart), 1).slice(1)} points ${apart < 0 ? "less" : "more"}`, true]);
    if (!equal) add([" than chance alone would give."]);
    return where("They agree most in", true);
  }
  if (base === "contested") add([", two or more models touch "], [finely(counts.contested / map.numel), true], ranged("contested"), [" of all weights. There they pull apart in "]);
  if (base === "touched") add([", at least one model touches "], [finely(counts.touched / map.numel), true], ranged("touched"), [" of all weights. Models pull apart in "]);
  if (base === "all") add([", models pull apart in "]);
  add([finely(found), true], ranged("conflicted", whole), [base === "all" ? " of all weights, " : base === "touched" ? " of these, " : " of cases, "]);
  add([`${besideChance(found, by, rangeIn(mode, { counts, chance }))} unrelated models (${finely(by)}).`]);
  return where(base === "contested" ? "They agree most in" : "Most are in", base === "contested");
}
