// Pairs of models: as a list while it is short, else as a matrix with cosine above and same sign below the diagonal.

const root = element.querySelector(".tb-pairs");
const [empty, open, warnings, tablePlace, norms] = [
  ".tb-pairs-empty", ".tb-pairs-open", ".tb-pairs-warnings", ".tb-pairs-table", ".tb-pairs-norms tbody",
].map((name) => root.querySelector(name));
const LONGEST_LIST = 6;

const signed = (value, digits = 3) => value.toFixed(digits).replace("-", "−");
const cosine = (value) => (value === null ? "–" : signed(value));

const cosines = (low, high) => `${signed(low, 2)} to ${signed(high, 2)}`;
const percents = (low, high) => `${(100 * low).toFixed(0)}–${percent(high)}`;

// A number over its 95 % interval, where it comes from a sample.
function ranged(text, range, said) {
  const made = node("td", "tb-number", text);
  if (range) made.append(node("small", "", said(...range)));
  return made;
}

function called(model) {
  const made = node("span", "tb-pairs-model");
  const dot = node("span", "tb-dot");
  dot.style.background = `var(${model.colour})`;
  dot.setAttribute("aria-hidden", "true");
  made.title = model.spelled;
  made.append(dot, node("span", "", model.name));
  return made;
}

function together(...models) {
  const made = node("span", "tb-pairs-both");
  made.append(...models.map(called));
  return made;
}

function cell(tag, className, ...content) {
  const made = node(tag, className);
  if (tag === "th") made.scope = "row";
  made.append(...content);
  return made;
}

function row(...cells) {
  const made = node("tr");
  made.append(...cells);
  return made;
}

function header(...texts) {
  const made = row(...texts.map((text, place) => node("th", place ? "tb-number" : "", text)));
  for (const one of made.children) one.scope = "col";
  return made;
}

function listOf({ models, pairs }) {
  const lines = pairs.map((pair) =>
    row(
      cell("th", "tb-row-name", together(models[pair.a], models[pair.b])),
      ranged(cosine(pair.cosine), pair.cosine_range, cosines),
      ranged(percent(pair.sign_agreement, 1), pair.sign_agreement_range, percents),
    ),
  );
  return [header("Pair", "cosine", "same sign"), ...lines];
}

function matrixOf({ models, pairs }) {
  const found = new Map(pairs.map((pair) => [`${pair.a} ${pair.b}`, pair]));
  const head = row(node("th", "", "cosine ◥ · same sign ◣"), ...models.map((model, place) => node("th", "tb-number", `${place + 1}`)));
  for (const one of head.children) one.scope = "col";
  const lines = models.map((model, a) => {
    const values = models.map((other, b) => {
      if (a === b) return node("td", "tb-number", "·");
      const pair = found.get(a < b ? `${a} ${b}` : `${b} ${a}`);
      return a < b
        ? ranged(cosine(pair.cosine), pair.cosine_range, cosines)
        : ranged(percent(pair.sign_agreement, 0), pair.sign_agreement_range, percents);
    });
    return row(cell("th", "tb-row-name", `${a + 1} `, called(model)), ...values);
  });
  return [head, ...lines];
}

function normsOf({ models, norms: found }) {
  const most = Math.max(...found.map(({ norm }) => norm), Number.MIN_VALUE);
  return models.map((model, place) => {
    const { norm, relative, norm_range: range, relative_range: beside } = found[place];
    const size = (value) => (value >= 100 ? whole(value) : value.toPrecision(3));
    const bar = node("span", "tb-pairs-bar");
    const filled = node("i");
    filled.style.width = `${(100 * norm) / most}%`;
    filled.style.background = `var(${model.colour})`;
    bar.append(filled);
    return row(
      cell("th", "tb-row-name", together(model)),
      cell("td", "tb-pairs-bar-cell", bar),
      ranged(size(norm), range, (low, high) => `${size(low)}–${size(high)}`),
      ranged(relative === null ? "–" : finely(relative), beside, (low, high) => `${finely(low).replace(/\D+$/, "")}–${finely(high)}`),
    );
  });
}

// Of the row that the chosen cell is in, or of the cell itself where it is outside the layers.
function ofLayer(map, cell) {
  const { row } = map.cells[cell];
  const numbers = row < 0 ? [cell] : map.cells.flatMap((one, number) => (one.row === row ? [number] : []));
  const cells = map.cells.length;
  const { energy, base, inner, same, both } = map.byModel;
  const sum = (series, place) => numbers.reduce((all, number) => all + series[place * cells + number], 0);
  const norm = map.models.map((_, model) => Math.sqrt(sum(energy, model)));
  const whole = Math.sqrt(sum(base, 0));
  return {
    ...map,
    pairs: map.pairs.map(({ a, b }, place) => ({
      a, b,
      cosine: norm[a] && norm[b] ? Math.min(1, Math.max(-1, sum(inner, place) / (norm[a] * norm[b]))) : null,
      sign_agreement: sum(both, place) ? sum(same, place) / sum(both, place) : null,
    })),
    norms: norm.map((value) => ({ norm: value, relative: whole ? value / whole : null })),
  };
}

let scope = "all";
const [scopes, scopeNote] = [root.querySelector(".tb-pairs-scopes"), root.querySelector(".tb-pairs-note")];
const scopeButtons = ["all", "layer"].map((value) => {
  const button = node("button");
  button.type = "button";
  button.addEventListener("click", () => {
    scope = value;
    show();
  });
  scopes.append(button);
  return [value, button];
});

// "All weights" and the chosen cell's layer, where there is one and the report knows it.
function showScopes(map, cell) {
  const able = map.byModel !== null && cell >= 0;
  scopes.hidden = !able;
  if (!able) scope = "all";
  scopeNote.textContent = able ? "before trimming" : "all weights, before trimming";
  if (!able) return;
  const { row, label } = map.cells[cell];
  const texts = { all: "All weights", layer: row < 0 ? label : titled(map.rows[row].title) };
  for (const [value, button] of scopeButtons) {
    button.textContent = texts[value];
    button.setAttribute("aria-pressed", value === scope);
  }
}

function show() {
  const { map: all, cell } = shared.state;
  scopes.hidden = true;
  if (all) showScopes(all, cell);
  const map = all && scope === "layer" ? ofLayer(all, cell) : all;
  empty.hidden = map !== null;
  open.hidden = map === null;
  if (!map) return;
  warnings.replaceChildren(...map.warnings.map((text) => node("li", "tb-alert", text)));
  warnings.hidden = !map.warnings.length;
  const table = node("table", "tb-table");
  const [head, ...lines] = map.pairs.length > LONGEST_LIST ? matrixOf(map) : listOf(map);
  const parts = [node("thead"), node("tbody")];
  parts[0].append(head);
  parts[1].append(...lines);
  table.append(...parts);
  const note = "Models that know nothing of each other have cosine 0 and the same sign half the time.";
  tablePlace.replaceChildren(...(map.pairs.length ? [table, node("p", "tb-quiet", note)] : [node("p", "tb-quiet", "One model has no pair.")]));
  norms.replaceChildren(...normsOf(map));
}

shared.listen((changed) => (changed.has("map") || changed.has("cell")) && show());
show();
