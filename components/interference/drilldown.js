// One cell of the map: what it holds, and its curve over density beside chance. Follows the map's density and mode.

const root = element.querySelector(".tb-cell");
const [title, size, close, empty, open, say, why, heading, place, body, more] = [
  ".tb-h2", ".tb-cell-size", ".tb-cell-close", ".tb-cell-empty", ".tb-cell-open", ".tb-cell-say", ".tb-cell-why", ".tb-h3",
  ".tb-cell-curve", "tbody", ".tb-cell-more",
].map((name) => root.querySelector(name));
const curve = makeCurve(place.querySelector("svg"));
const models = makeCellModels(root);
const tensors = makeCellTensor(root, (tensor) => trigger("blocks", { tensor }));
const { state } = shared;
let rates = []; // the table's cells that follow the density

let countedFor = null; // the base question of the map that tensors were counted for

function show() {
  const another = state.map?.base !== countedFor;
  countedFor = state.map?.base;
  const { map, cell: number } = state;
  const chosen = map && number >= 0;
  empty.hidden = chosen;
  open.hidden = close.hidden = !chosen;
  root.dataset.open = chosen;
  title.textContent = chosen ? cellTitle(map, number) : "A closer look";
  size.textContent = "";
  tensors.begin();
  if (!chosen) return map && tensors.renew([], another);
  const cell = map.cells[number];
  size.textContent = `${counted(cell.numel, "weight")} · ${counted(cell.count, "tensor")}`;
  rates = cell.tensors.map(() => node("td", "tb-number"));
  body.replaceChildren(
    ...cell.tensors.map((tensor, place) => {
      const row = node("tr");
      const name = node("th", "tb-row-name tb-tensor-name");
      name.scope = "row";
      name.append(tensors.pick(tensor.name));
      row.append(name, node("td", "tb-number", whole(tensor.numel)), rates[place]);
      return row;
    }),
  );
  const left = cell.count - cell.tensors.length;
  more.hidden = left === 0;
  more.textContent = `and ${counted(left, "more tensor")} of this kind`;
  explain();
  drawCurve();
  follow();
  tensors.renew(cell.tensors.map(({ name }) => name), another);
}

// Why this cell, where nobody has chosen it.
function explain() {
  const { map, cell, picked } = state;
  why.hidden = picked === null;
  if (!picked) return;
  if (state.own.density.size) {
    why.textContent = "Shown first of all cells. Choose any other on the map."; // there is no one density to name
    return;
  }
  const at = placeOf(map, picked.share);
  const above = rateOf(countsOf(map, "cell", cell, at)) > rateOf(chanceAt(map, at));
  const reason = above
    ? `Shown first: it conflicts farthest above chance at a density of ${density(picked.share)}.`
    : `Shown first: at a density of ${density(picked.share)} no cell conflicts more often than by chance, and this one comes nearest.`;
  why.textContent = `${reason} Choose any other on the map.`;
}

function drawCurve() {
  const { map, cell, mode } = state;
  const { rate, base, family, label, curve: name, still } = MEASURES[mode];
  place.parentElement.hidden = Boolean(still);
  if (!map || cell < 0 || !open.clientWidth) return;
  models.draw(map, cell);
  if (still) return;
  const said = base ? `Conflict of ${BASES[base][1]}` : family === "touched" ? "Touched weights" : name ? titled(name) : label;
  const everyone = { density: new Map() }; // its curve over all densities, whatever its own is
  const looks = map.density.map((share) => lookAt(map, "cell", cell, share, everyone));
  heading.textContent = said;
  place.parentElement.querySelector(".tb-curve-chances").hidden = rate(looks[0].chance) === null;
  place.firstElementChild.setAttribute("aria-label", `${said} of ${cellTitle(map, cell)} over density`);
  curve.draw(
    looks.map(({ counts }) => rate(counts)),
    looks.map(({ chance }) => rate(chance)),
    { width: place.clientWidth, height: 176 },
    map.off && looks.map(({ counts }) => shareRange(counts, MEASURES[mode].part, MEASURES[mode].whole)),
  );
}

// Share of conflicts among the contested entries of one tensor; null where there are none.
function tensorRate(map, rates, series, { low, part }) {
  const at = (step) => rates[series * map.steps + Math.max(step, 0)];
  const [from, to] = [at(low), part ? at(low + 1) : at(low)];
  return from === 65535 || to === 65535 ? null : (from + part * (to - from)) / 65534;
}

function fill(place, rate, range) {
  place.textContent = percent(rate, 1);
  if (range) place.append(node("small", "", rangeText(range).trim()));
}

function follow() {
  const { map, cell: number, mode } = state;
  if (!map || number < 0) return;
  const share = shareOfCell(number, state.share);
  const cell = map.cells[number];
  const at = placeOf(map, share);
  const look = lookAt(map, "cell", number, state.share);
  const words = inWords(mode, look);
  const keeps = `${share === state.share ? "Keeping" : "Here, keeping"} the largest ${density(share)}: `;
  say.replaceChildren(state.family === "moved" ? "Before any trim, " : keeps, node("b", "", words[0]), words[1]);
  rates.forEach((place, tensor) => {
    if (cell.rates === null) {
      return fill(place, rateOf(look.counts), shareRange(look.counts, "conflicted", "contested"));
    }
    const [rate, ...ends] = [map.rates, ...(map.rateRanges ?? [])].map((rates) => tensorRate(map, rates, cell.rates + tensor, at));
    fill(place, rate, ends.length && rate !== null && ends[0] !== ends[1] ? ends : null);
  });
  curve.mark(share);
  models.follow(map, number, share);
  tensors.follow();
}

close.addEventListener("click", () => {
  shared.change({ cell: -1, picked: null });
  document.querySelector(".tb-map-grid")?.focus();
});

shared.listen((changed) => {
  if (changed.has("map") || changed.has("cell")) return show();
  if (changed.has("recounting")) models.renew(state.recounting);
  if (changed.has("picked")) explain();
  if (changed.has("mode")) drawCurve();
  follow();
});
let width = 0;
new ResizeObserver(() => {
  if (place.clientWidth === width) return;
  width = place.clientWidth;
  drawCurve();
  follow();
}).observe(place);
show();
watch("value", () => {
  const { value } = props;
  tensors.receive(value);
  if (value?.payload) props.value = { ...value, payload: "" }; // Gradio would copy it whenever anything changes
});
