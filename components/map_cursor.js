// Pointing at the map: by mouse or finger, by arrow keys, and what is said of the cell that is pointed at.

function makeCursor(root, picture) {
  const drawnArea = root.querySelector(".tb-map-drawn");
  const grid = root.querySelector(".tb-map-grid");
  const cursor = root.querySelector(".tb-map-cursor");
  const chosen = root.querySelector(".tb-map-chosen");
  const spoken = root.querySelector(".tb-map-spoken");
  const tip = node("div", "tb-tip");
  const { state } = shared;
  let at = -1; // the cell under the keyboard
  let hovered = -1;
  tip.hidden = true;
  tip.append(node("b"), node("div"), node("div"));
  document.body.append(tip);
  cursor.id = `tb-map-cell-${Math.random().toString(36).slice(2)}`;
  grid.setAttribute("aria-activedescendant", cursor.id);

  function put(box, number) {
    const { x, y, width, height } = picture.boxOf(state.map, number);
    box.style.transform = `translate(${x}px, ${y}px)`;
    box.style.width = `${width}px`;
    box.style.height = `${height}px`;
    box.hidden = false;
  }

  function about(number) {
    const place = placeOf(state.map, state.share);
    const counts = countsOf(state.map, "cell", number, place);
    return {
      title: cellTitle(state.map, number),
      words: inWords(state.mode, counts, chanceAt(state.map, place)),
      facts: cellFacts(state.map, number, counts),
    };
  }

  // Lines that arrow keys move between: what is before the layers, each layer, what is after.
  function lines() {
    const { map } = state;
    const rows = map.rows.map((row, number) =>
      map.columns
        .map((column, place) => ({ cell: map.grid[number * map.columns.length + place], x: place + 0.5 }))
        .filter(({ cell }) => cell >= 0)
        .map(({ cell, x }) => ({ cell, x: x / map.columns.length })),
    );
    const strip = (side) => map[side].map(({ cell }, place) => ({ cell, x: (place + 0.5) / map[side].length }));
    return [strip("before"), ...rows, strip("after")].filter((line) => line.length);
  }

  function move(key) {
    const all = lines();
    let line = all.findIndex((cells) => cells.some(({ cell }) => cell === at));
    if (line < 0) return all.length ? all[0][0].cell : -1;
    const place = all[line].findIndex(({ cell }) => cell === at);
    const { x } = all[line][place];
    if (key === "ArrowLeft") return all[line][Math.max(place - 1, 0)].cell;
    if (key === "ArrowRight") return all[line][Math.min(place + 1, all[line].length - 1)].cell;
    if (key === "Home") return all[line][0].cell;
    if (key === "End") return all[line].at(-1).cell;
    const jump = { ArrowUp: -1, ArrowDown: 1, PageUp: -10, PageDown: 10 }[key];
    line = Math.min(Math.max(line + jump, 0), all.length - 1);
    return all[line].reduce((best, one) => (Math.abs(one.x - x) < Math.abs(best.x - x) ? one : best)).cell;
  }

  function say(number) {
    const { title, words, facts } = about(number);
    const text = `${title}. ${words.join("")} ${facts}`;
    cursor.setAttribute("aria-label", text);
    spoken.textContent = text;
  }

  function go(number) {
    if (number < 0) return;
    at = number;
    const cell = state.map.cells[at];
    put(cursor, at);
    cursor.setAttribute("aria-selected", at === state.cell);
    cursor.setAttribute("aria-colindex", cell.column < 0 ? 1 : cell.column + 1);
    cursor.parentElement.setAttribute("aria-rowindex", cell.row < 0 ? 1 : cell.row + 1);
    say(at);
  }

  function choose(number) {
    shared.change({ cell: number, picked: null });
  }

  grid.addEventListener("keydown", (event) => {
    if (!state.map || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Enter" || event.key === " ") choose(at);
    else if (event.key === "Escape") hideTip();
    else if (/^(Arrow|Page|Home|End)/.test(event.key)) go(move(event.key));
    else return;
    event.preventDefault();
  });
  grid.addEventListener("focus", () => {
    if (state.map && grid.matches(":focus-visible")) go(at >= 0 ? at : state.cell >= 0 ? state.cell : move(""));
  });
  grid.addEventListener("blur", () => (cursor.hidden = true));

  function cellUnder(event) {
    const { map } = state;
    const { geometry } = picture;
    if (!map || !geometry) return -1;
    const outer = drawnArea.getBoundingClientRect();
    const x = event.clientX - outer.x;
    const y = event.clientY - outer.y;
    for (const number of picture.blocks.keys()) {
      const box = picture.boxOf(map, number);
      if (x >= box.x && x < box.x + box.width && y >= box.y - 20 && y < box.y + box.height + 20) return number;
    }
    if (!geometry.rows) return -1;
    const top = root.querySelector(".tb-map-plot").getBoundingClientRect().y - outer.y;
    const row = Math.floor((y - top) / geometry.rowHeight);
    const column = Math.floor((x - geometry.left) / geometry.columnWidth);
    if (row < 0 || row >= geometry.rows || column < 0 || column >= geometry.columns) return -1;
    return map.grid[row * geometry.columns + column];
  }

  function hideTip() {
    tip.hidden = true;
    hovered = -1;
    grid.style.cursor = "";
  }

  function fillTip() {
    const { title, words, facts } = about(hovered);
    tip.children[0].textContent = title;
    tip.children[1].replaceChildren(node("b", "", words[0]), words[1]);
    tip.children[2].textContent = facts;
  }

  function showTip(event) {
    const number = cellUnder(event);
    if (number < 0) return hideTip();
    if (number !== hovered) {
      hovered = number;
      grid.style.cursor = "pointer";
      fillTip();
      tip.hidden = false;
    }
    const { offsetWidth: width, offsetHeight: height } = tip;
    const left = event.clientX + 16 + width > innerWidth ? event.clientX - 16 - width : event.clientX + 16;
    const top = event.clientY + 18 + height > innerHeight ? event.clientY - 18 - height : event.clientY + 18;
    tip.style.left = `${Math.max(4, left)}px`;
    tip.style.top = `${Math.max(4, top)}px`;
  }

  grid.addEventListener("pointermove", (event) => event.pointerType === "mouse" && showTip(event));
  grid.addEventListener("pointerleave", hideTip);
  grid.addEventListener("click", (event) => {
    const number = cellUnder(event);
    if (number < 0) return;
    at = number;
    choose(number);
  });
  addEventListener("scroll", hideTip, { passive: true, capture: true });

  // What the map showed before is gone: a cell of the same name keeps its place.
  function renew(before) {
    const key = at >= 0 && before ? before.cells[at].key : null;
    at = key === null ? -1 : state.map.cells.findIndex((cell) => cell.key === key);
    hideTip();
    const { map } = state;
    grid.setAttribute("aria-rowcount", map.rows.length);
    grid.setAttribute("aria-colcount", map.columns.length);
  }

  function mark() {
    if (state.cell >= 0) put(chosen, state.cell);
    else chosen.hidden = true;
    if (at >= 0 && document.activeElement === grid && !cursor.hidden) put(cursor, at);
  }

  function update() {
    if (hovered >= 0) fillTip();
    const label = `${MEASURES[state.mode].label} by layer and module, keeping the largest ${density(state.share)}. `;
    grid.setAttribute("aria-label", `${label}Arrow keys move, Enter opens a cell; the same numbers are in the table.`);
  }

  return { renew, mark, update };
}
