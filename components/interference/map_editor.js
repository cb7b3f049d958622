// Editing on the map: marks around the cells that are selected, corners on those that have settings of their own, and
// the bar that sets density and weights for the selected ones.

// Cells for which the recipe says something of their own.
const ownCells = ({ map, own }) => [...new Set([...densityAside(map, own), ...weightAside(map, own)])];

// The mark in the corner of such a cell.
function cornerOf({ x, y, width, height }) {
  const size = Math.min(10, height / 2, width / 2);
  return `M${x + width - 1 - size} ${y + 1}h${size}v${size}Z`;
}

function makeEditor(root, picture) {
  const bar = root.querySelector(".tb-map-edit");
  const marks = root.querySelector(".tb-map-marks");
  const outlines = marks.querySelectorAll(".tb-map-outlines");
  const corners = marks.querySelector(".tb-map-corners");
  const part = (name) => bar.querySelector(`.tb-edit-${name}`);
  const [count, fixed, model] = [part("count"), part("fixed"), part("model")];
  const { state } = shared;

  // A range and a number that say the same: `shown` while it moves, `done` once it is let go.
  function pair(place, digits, shown, done) {
    const [range, number] = place.querySelectorAll("input");
    range.addEventListener("input", () => {
      number.value = Number(range.value).toFixed(digits);
      shown(Number(range.value));
    });
    range.addEventListener("change", () => done(Number(range.value)));
    number.addEventListener("change", () => Number.isFinite(number.valueAsNumber) && done(number.valueAsNumber));
    return (value) => {
      range.max = Math.max(Number(range.dataset.most), value);
      range.value = value;
      if (document.activeElement !== number) number.value = value.toFixed(digits);
    };
  }

  const setDensity = pair(
    part("density"),
    0,
    (percent) => {
      const density = new Map(state.own.density);
      for (const cell of state.marked) density.set(cell, percent / 100);
      shared.change({ own: { ...state.own, density } });
    },
    (percent) => send({ density: Math.min(Math.max(percent, 1), 100) / 100 }),
  );
  const setWeight = pair(
    part("weight"),
    2,
    () => {},
    (weight) => send({ weight, model: state.own.models[Number(model.value)].spelled }),
  );
  model.addEventListener("change", show);
  part("reset").addEventListener("click", () => send({ reset: true }));
  part("close").addEventListener("click", () => {
    shared.change({ marked: [] });
    root.querySelector(".tb-map-grid").focus();
  });

  function send(edit) {
    trigger("cells", { edit: { ...edit, cells: state.marked.map((cell) => state.map.cells[cell].key) } });
  }

  function fillModels() {
    const { models = [] } = state.own;
    const names = models.map((_, place) => state.map.models[place]?.name ?? "");
    if (model.options.length === names.length && names.every((name, place) => model.options[place].text === name)) return;
    const chosen = model.value;
    model.replaceChildren(
      ...names.map((name, place) => {
        const option = node("option", "", name);
        option.value = place;
        return option;
      }),
    );
    if (names[chosen]) model.value = chosen;
  }

  function show() {
    const { marked, own, map } = state;
    const known = own.models?.length > 0;
    bar.hidden = !map || !marked.length || !known;
    if (bar.hidden) return;
    const [first] = marked;
    count.textContent = counted(marked.length, "cell");
    fixed.hidden = own.fixed === "";
    fixed.textContent = own.fixed;
    part("density").hidden = own.fixed !== "";
    if (!own.fixed) setDensity(100 * shareOfCell(first, state.share));
    fillModels();
    const place = Number(model.value);
    part("weight").hidden = own.models[place].weight === null;
    if (own.models[place].weight !== null) setWeight(own.weight.get(first)?.[place] ?? own.models[place].weight);
    const single = own.depth ? weightAside(map, own) : ownCells(state); // what follows depth has no one value to go back to
    part("reset").hidden = !marked.some((cell) => single.includes(cell));
  }

  function box(number) {
    const { x, y, width, height } = picture.boxOf(number);
    return { left: x, top: y, right: x + width, bottom: y + height };
  }

  function mark() {
    const { map, marked, cell, own } = state;
    if (!map || !picture.geometry) return;
    const alone = marked.length === 1 && marked[0] === cell;
    let d = "";
    for (const number of alone ? [] : marked) {
      const { left, top, right, bottom } = box(number);
      d += `M${left + 1.5} ${top + 1.5}H${right - 1.5}V${bottom - 1.5}H${left + 1.5}Z`;
    }
    outlines.forEach((path) => path.setAttribute("d", d));
    const single = ownCells(state);
    corners.setAttribute("d", single.map((number) => cornerOf(picture.boxOf(number))).join(""));
    root.querySelector(".tb-map-own-key").hidden = !single.length;
  }

  return { show, mark };
}
