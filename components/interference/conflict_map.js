// The map's panel: takes what the server sends, and redraws what has changed, once per frame.

const root = element.querySelector(".tb-map");
const part = (name) => root.querySelector(`.tb-map-${name}`);
const { state } = shared;
shared.trimming = props.trimming;

const picture = makePicture(root, makeLegend(root));
const cursor = makeCursor(root, picture);
const editor = makeEditor(root, picture);
const scrubber = makeScrubber(root);
const table = makeTable(root);
const compare = makeCompare(root);
makeExports(root, table, words, () => compare.keep());

// Modes and range ----------------------------------------------------------------------------------------------------

function segments(place, choices, chosen, choose) {
  const buttons = choices.map(([value, text, title]) => {
    const made = node("button", "", text);
    made.type = "button";
    if (title) made.title = title;
    made.addEventListener("click", () => choose(value));
    return [value, made];
  });
  place.append(...buttons.map(([, made]) => made));
  const show = () => buttons.forEach(([value, made]) => made.setAttribute("aria-pressed", value === chosen()));
  show();
  return Object.assign(show, { buttons });
}

const showMode = segments(
  part("modes"),
  Object.entries(FAMILIES).map(([name, { label, about }]) => [name, label, about]),
  () => state.family,
  (family) => look({ family }),
);
const showBase = segments(
  part("bases"),
  Object.entries(BASES).map(([base, [, words]]) => [base, base, `Share of ${words}`]),
  () => state.base,
  (base) => look({ base }),
);
const about = part("about");
const aboutButton = part("ask");
aboutButton.addEventListener("click", () => {
  about.hidden = !about.hidden;
  aboutButton.setAttribute("aria-expanded", !about.hidden);
});
document.addEventListener("keydown", ({ key, target }) => {
  const writing = target.closest?.("input, textarea, select, [contenteditable=true]");
  if (key === "?" && !writing && aboutButton.isConnected) aboutButton.click();
});

// The same modes where there is no room for the switch.
const select = part("select");
select.append(
  ...Object.entries(FAMILIES).map(([name, { label }]) => {
    const option = node("option", "", label);
    option.value = name;
    return option;
  }),
);
select.addEventListener("change", () => look({ family: select.value }));

let awaited = null; // a mode that needs more than was counted so far

function look(change) {
  const { family, base } = { ...state, ...change };
  awaited = null;
  if (lacking(state.map, family)) {
    awaited = family;
    trigger("elections", {});
    return showLook();
  }
  shared.change({ family, base, mode: measureOf({ family, base }) });
}

// Another map may not have what the last one had, or have what was waited for.
function settle(map) {
  const family = awaited ?? state.family;
  const fitting = offered(map, family) && !lacking(map, family) ? family : state.family;
  const kept = offered(map, fitting) && !lacking(map, fitting) ? fitting : "conflict";
  if (kept === awaited) awaited = null;
  shared.change({ family: kept, mode: measureOf({ ...state, family: kept }) });
  for (const [name, button] of showMode.buttons) button.hidden = !offered(map, name);
  for (const option of select.options) option.hidden = option.disabled = !offered(map, option.value);
}

function showLook() {
  showMode();
  showBase();
  select.value = state.family;
  part("meaning").textContent = FAMILIES[state.family].about;
  const { base, models, curve, still } = MEASURES[state.mode];
  part("basis").hidden = base === undefined;
  root.querySelector(".tb-scrub").hidden = Boolean(still);
  part("ranges").hidden = Boolean(models);
  root.dataset.chance = base !== undefined || state.mode === "touched";
  root.dataset.models = Boolean(models);
  root.querySelector(".tb-curve-what").textContent = curve ?? "measured";
  showRange.buttons[1][1].textContent = MEASURES[state.mode].diverging ? "±50 points" : "0–100 %";
}
const showRange = segments(
  part("ranges"),
  [
    [true, "Fitted", "Colours span the values at this density"],
    [false, "0–100 %", "Colours span all possible values"],
  ],
  () => state.fitted,
  (fitted) => shared.change({ fitted }),
);

// What the server says -----------------------------------------------------------------------------------------------

const EMPTY = "Choose a base model and two fine-tunes of it. Where they pull the same weights apart is drawn here.";
const [alert, work, empty] = [".tb-alert", ".tb-map-work", ".tb-empty"].map((name) => part("status").querySelector(name));

function receive() {
  const value = props.value ?? { state: "empty" };
  const recounting = value.state === "loading" && Boolean(value.aside);
  shared.change({ recounting });
  if (recounting && FAMILIES[state.family].needs !== "elections") return; // what is drawn stays true
  const is = (name) => value.state === name;
  if (is("map") && value.payload) {
    take(readMap(JSON.parse(value.payload)));
    // Megabytes that Gradio would copy and compare whenever anything on the page changes.
    props.value = { ...value, payload: "" };
  }
  alert.hidden = !is("problem");
  saySentence(alert.querySelector("b"), value.message);
  saySentence(alert.querySelector("span"), value.hint);
  // While more of a sample is read, what is drawn can be looked at.
  const refining = is("loading") && value.refining;
  more.textContent = refining ? `Reading more: ${percent(value.fraction)}` : "";
  work.hidden = !is("loading") || refining;
  if (is("loading")) {
    const bar = work.querySelector("progress");
    bar.value = value.fraction;
    bar.setAttribute("aria-label", "Comparing the models");
    work.querySelector("span").textContent = value.message || "Comparing the models";
  }
  if (!is("loading")) offer(value);
  if (is("empty")) shared.change({ map: null, cell: -1, picked: null, marked: [], kept: null });
  empty.hidden = !is("empty");
  empty.textContent = EMPTY;
  part("status").hidden = is("map") || refining;
  root.dataset.state = refining ? "map" : value.state;
  root.dataset.drawn = state.map !== null;
  root.setAttribute("aria-busy", is("loading"));
}

// What was read of models that are too large to download unasked, and what can be done about it.
const [sampled, more] = [part("sampled"), part("more")];
let budget = 0;
const showBudget = segments(
  part("budgets"),
  props.budgets.map((mb) => [mb, `${mb}${NARROW}MB`, `Read ${mb} MB of all models together`]),
  () => budget,
  (mb) => trigger("sample", { mb }),
);
part("download").addEventListener("click", () => trigger("download", {}));

function offer(value) {
  sampled.hidden = !value.offer;
  if (!value.offer) return;
  const shown = value.state === "map" && state.map.sampled;
  budget = shown ? value.budget : 0;
  const { read, of } = shown || { read: 0, of: 1 };
  sampled.querySelector("span").textContent = shown
    ? `Sampled: ≤ ${budget}${NARROW}MB of ${value.offer}, ${finely(read / of)} of the weights. Ranges hold the true value 95 times in 100.`
    : `These models are on the Hub: ${value.offer}.`;
  part("download").textContent = `Download ${value.offer} and count exactly`;
  showBudget();
}

// What the link that was opened shows.
const linked = new URLSearchParams(location.search).get("view");
let linkedPercent = Number(new URLSearchParams(location.search).get("at"));

// Where the method trims, the recipe says the density; the link says it where nothing else does.
function takeLinkedShare() {
  if (!state.map || shared.trims()) return;
  if (linkedPercent >= 1 && linkedPercent <= 100) shared.change({ share: linkedPercent / 100 });
  linkedPercent = 0;
}

function take(map) {
  const before = state.map;
  shared.change({ own: readOwn(map) });
  settle(map);
  const chosen = before && !state.picked ? before.cells[state.cell]?.key : new URLSearchParams(location.search).get("cell");
  let cell = map.cells.findIndex((one) => one.key === chosen);
  let picked = null;
  const closed = before && state.cell < 0;
  if (cell < 0 && !closed) {
    cell = standsOut(map, state.share);
    picked = cell < 0 ? null : { share: state.share };
  }
  const numbers = new Map(map.cells.map((one, number) => [one.key, number]));
  const marked = state.marked.map((number) => numbers.get(before.cells[number].key)).filter((number) => number >= 0);
  shared.change({ map, cell, picked, marked });
  cursor.renew(before);
  const view = before ? null : linked;
  if (view && Object.hasOwn(FAMILIES, view) && offered(map, view)) look({ family: view });
  takeLinkedShare();
}

// What the recipe says of single cells, by their numbers on this map.
function readOwn(map) {
  const { density = {}, weight = {}, fixed = "", depth = false, each = [], models = [] } = props.own ? JSON.parse(props.own) : {};
  const numbers = new Map(map.cells.map((one, number) => [one.key, number]));
  const numbered = (said) => new Map(Object.entries(said).filter(([key]) => numbers.has(key)).map(([key, value]) => [numbers.get(key), value]));
  return { density: numbered(density), weight: numbered(weight), fixed, depth, each, models };
}

// Drawing ------------------------------------------------------------------------------------------------------------

const sayPlace = part("say");

// `values`: what is drawn, where that is known already.
function words(values) {
  const { kept, view } = state;
  if (kept && view === "difference" && !MEASURES[state.mode].models) return comparedSentence(state, values);
  return kept && view === "a" ? sentence({ ...state, ...kept }) : sentence(state, values);
}

function say(parts) {
  sayPlace.replaceChildren(...parts.map(([text, bold]) => (bold ? node("b", "", text) : text)));
  const note = part("note");
  note.textContent = caveat();
  note.hidden = !note.textContent;
}

// What the recipe does otherwise than the map, which trims all models alike and by size.
function caveat() {
  const { own, map, family } = state;
  if (!shared.trims()) {
    const elected = FAMILIES[family].needs === "elections" ? ", and its election by mass throw away" : "";
    return `${props.methods[state.tuning] ?? state.tuning} does not trim by size. This is what a trim as in TIES would leave${elected}.`;
  }
  if (!own.each.length || family === "moved") return "";
  const named = own.each.map((share, model) => `${map.models[model]?.name} ${share === null ? "by layer" : density(share)}`);
  return `The recipe keeps another share of each model: ${named.join(", ")}. The map keeps the same share of all.`;
}

function drawAll() {
  const { map, kept, view } = state;
  if (!map) return;
  const beside = compare.pair(kept !== null && view === "side");
  if (!picture.place(map)) return;
  beside?.place(map);
  scrubber.draw();
  redraw();
}

function redraw() {
  const shown = looked(state);
  const { mode, values, beside } = shown;
  const both = beside ? [values, beside] : [values];
  const range = rangeOf(mode, state.fitted, both.flatMap(({ cells }) => cells), both.flatMap(({ solid }) => solid));
  picture.draw(state.map, shown, range);
  if (beside) compare.pair(true).draw(state.map, { mode, values: beside }, range);
  compare.show();
  scrubber.mark();
  say(words(values));
  cursor.mark();
  editor.mark();
  editor.show();
  cursor.update();
  table.draw();
}

function address() {
  const query = new URLSearchParams(location.search);
  if (state.cell >= 0 && !state.picked) query.set("cell", state.map.cells[state.cell].key);
  else query.delete("cell");
  if (state.family === "conflict") query.delete("view");
  else query.set("view", state.family);
  if (shared.trims()) query.delete("at");
  else query.set("at", shared.percent());
  const search = query.toString();
  history.replaceState(history.state, "", location.pathname + (search ? `?${search}` : ""));
}

const ADDRESS_AFTER = 300; // milliseconds: browsers refuse an address that changes with every frame of a drag
let addressing = 0;

shared.listen((changed) => {
  if (changed.has("tuning")) takeLinkedShare();
  if (changed.has("mode")) showLook();
  if (changed.has("fitted")) showRange();
  if (!state.map) return;
  root.dataset.drawn = true;
  const anew = ["map", "kept", "view"].some((what) => changed.has(what));
  if (anew) drawAll();
  else if (changed.has("mode") || changed.has("own")) scrubber.draw();
  if ([...changed].every((what) => ["cell", "picked", "marked"].includes(what))) {
    cursor.mark();
    editor.mark();
    editor.show();
  } else if (!anew) redraw();
  if (["cell", "picked", "family"].some((what) => changed.has(what))) address();
  if (changed.has("share") || changed.has("tuning")) {
    clearTimeout(addressing);
    addressing = setTimeout(() => state.map && address(), ADDRESS_AFTER);
  }
});

let width = 0;
new ResizeObserver(() => {
  const now = part("drawn").clientWidth;
  if (now === width) return;
  width = now;
  drawAll();
}).observe(part("drawn"));
new MutationObserver(() => state.map && redraw()).observe(document.body, { attributes: true, attributeFilter: ["class"] });
document.fonts?.ready.then(drawAll);

showLook();
watch("value", receive);
watch("own", () => state.map && shared.change({ own: readOwn(state.map) }));
receive();
