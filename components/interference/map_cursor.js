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
  let anchor = -1; // the cell that a range starts from: the last one clicked, or walked to without Shift
  let hovered = -1;
  tip.hidden = true;
  tip.append(node("b"), node("div"), node("div"));
  document.body.append(tip);
  cursor.id = `tb-map-cell-${Math.random().toString(36).slice(2)}`;
  grid.setAttribute("aria-activedescendant", cursor.id);

  function put(box, number) {
    const { x, y, width, height } = picture.boxOf(number);
    box.style.transform = `translate(${x}px, ${y}px)`;
    box.style.width = `${width}px`;
    box.style.height = `${height}px`;
    box.hidden = false;
  }

  function about(number) {
    const look = lookAt(state.map, "cell", number, state.share);
    return {
      title: cellTitle(state.map, number),
      words: inWords(state.mode, look),
      facts: `${cellFacts(state.map, number, look.counts)}${ownWords(state.map, number)}${state.kept ? comparedWords(state, number) : ""}`,
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
    shared.change({ cell: number, picked: null, marked: [number] });
  }

  // Adds a cell to those that are edited together, or takes it out where it is among them.
  function toggle(number) {
    const { marked } = state;
    shared.change({ marked: marked.includes(number) ? marked.filter((cell) => cell !== number) : [...marked, number] });
  }

  // Selects what lies between the range's first cell and this one, and nothing else.
  function extend(number) {
    if (anchor < 0) anchor = state.cell >= 0 ? state.cell : number;
    const [from, to] = [anchor, number].map(picture.boxOf);
    const inside = 1; // pixels; boxes that only touch the range are not in it
    const range = within(
      Math.min(from.x, to.x) + inside, Math.min(from.y, to.y) + inside,
      Math.max(from.x + from.width, to.x + to.width) - inside, Math.max(from.y + from.height, to.y + to.height) - inside,
    );
    shared.change({ marked: [...new Set([anchor, ...range, number])] });
  }

  grid.addEventListener("keydown", (event) => {
    if (!state.map || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Enter" && at >= 0) choose((anchor = at));
    else if (event.key === " " && at >= 0) toggle((anchor = at));
    else if (event.key === "Escape") {
      hideTip();
      if (!state.marked.length) return;
      shared.change({ marked: [] });
    } else if (/^(Arrow|Page|Home|End)/.test(event.key)) {
      const from = at;
      go(move(event.key));
      if (!event.shiftKey) anchor = at;
      else if (at >= 0) {
        if (anchor < 0) anchor = from;
        extend(at);
      }
    } else return;
    event.preventDefault();
  });
  grid.addEventListener("focus", () => {
    if (state.map && grid.matches(":focus-visible")) go(at >= 0 ? at : state.cell >= 0 ? state.cell : move(""));
  });
  grid.addEventListener("blur", () => (cursor.hidden = true));

  // Where the pointer is: `cell`, or the `line` of cells whose label it is on.
  function under(event) {
    const { map } = state;
    const { geometry } = picture;
    if (!map || !geometry) return { cell: -1, line: [] };
    const outer = drawnArea.getBoundingClientRect();
    const x = event.clientX - outer.x;
    const y = event.clientY - outer.y;
    for (const number of picture.blocks.keys()) {
      const box = picture.boxOf(number);
      if (x >= box.x && x < box.x + box.width && y >= box.y - 20 && y < box.y + box.height + 20) return { cell: number, line: [] };
    }
    if (!geometry.rows) return { cell: -1, line: [] };
    const { top } = picture;
    const row = Math.floor((y - top) / geometry.rowHeight);
    const column = Math.floor((x - geometry.left) / geometry.columnWidth);
    const inRows = row >= 0 && row < geometry.rows;
    const inColumns = column >= 0 && column < geometry.columns;
    const within = (cell) => (inRows && cell.row === row && x < geometry.left) || (inColumns && cell.column === column && y < top && y > top - geometry.columnsHeight);
    const line = inRows && inColumns ? [] : map.cells.flatMap((cell, number) => (within(cell) ? [number] : []));
    return { cell: inRows && inColumns ? map.grid[row * geometry.columns + column] : -1, line };
  }

  // Cells that a rectangle between two points of the window touches.
  function between(from, to) {
    const outer = drawnArea.getBoundingClientRect();
    const [left, right] = [from.clientX, to.clientX].sort((a, b) => a - b).map((x) => x - outer.x);
    const [top, bottom] = [from.clientY, to.clientY].sort((a, b) => a - b).map((y) => y - outer.y);
    return within(left, top, right, bottom);
  }

  // Cells that a rectangle of the drawn area touches.
  function within(left, top, right, bottom) {
    return state.map.cells.flatMap((_, number) => {
      const box = picture.boxOf(number);
      return box.x < right && box.x + box.width > left && box.y < bottom && box.y + box.height > top ? [number] : [];
    });
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
    const { cell: number, line } = under(event);
    if (number < 0) {
      hideTip();
      grid.style.cursor = line.length ? "pointer" : "";
      return;
    }
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

  const FAR = 6; // pixels; less is a click
  let pressed = null; // where a mouse button went down, and what was marked then
  let dragged = false;
  grid.addEventListener("pointerdown", (event) => {
    dragged = false;
    if (!state.map || event.pointerType !== "mouse" || event.button) return;
    pressed = { clientX: event.clientX, clientY: event.clientY, marked: event.shiftKey ? state.marked : [] };
    grid.setPointerCapture(event.pointerId);
  });
  grid.addEventListener("pointermove", (event) => {
    if (event.pointerType !== "mouse") return;
    if (pressed && Math.hypot(event.clientX - pressed.clientX, event.clientY - pressed.clientY) > FAR) dragged = true;
    if (!pressed || !dragged) return showTip(event);
    hideTip();
    shared.change({ marked: [...new Set([...pressed.marked, ...between(pressed, event)])] });
  });
  for (const end of ["pointerup", "pointercancel"]) grid.addEventListener(end, () => (pressed = null));
  grid.addEventListener("pointerleave", hideTip);
  grid.addEventListener("click", (event) => {
    if (dragged) return;
    const { cell, line } = under(event);
    const more = event.ctrlKey || event.metaKey;
    if (line.length) shared.change({ marked: more || event.shiftKey ? [...new Set([...state.marked, ...line])] : line });
    if (cell < 0) return line.length || shared.change({ marked: [] });
    at = cell;
    if (event.shiftKey) return extend(cell);
    anchor = cell;
    if (more) toggle(cell);
    else choose(cell);
  });
  addEventListener("scroll", hideTip, { passive: true, capture: true });

  // What the map showed before is gone: a cell of the same name keeps its place.
  function renew(before) {
    const again = (number) => (number >= 0 && before ? state.map.cells.findIndex(({ key }) => key === before.cells[number].key) : -1);
    [at, anchor] = [at, anchor].map(again);
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
    const label = `${MEASURES[state.mode].label} by layer and module, ${keeping(state)}. `;
    grid.setAttribute("aria-label", `${label}Arrow keys move, Enter opens a cell, space adds one to the selection, Shift with arrows selects up to one; the same numbers are in the table.`);
  }

  return { renew, mark, update };
}
