// The map's numbers as tables: for screen readers, and for whoever wants the figure itself.

function valueText(mode, value, range) {
  if (value === null) return "–";
  if (MEASURES[mode].models) return winnerText(value);
  return MEASURES[mode].diverging ? `${points(value, 1)}${pointsText(range)}` : `${percent(value, 1)}${rangeText(range)}`;
}

function makeTable(root) {
  const place = root.querySelector(".tb-map-table");
  const { state } = shared;
  let waiting = 0;

  function headed(texts, corner) {
    const row = node("tr");
    row.append(
      ...[corner, ...texts].map((text, column) => {
        const cell = node("th", column ? "tb-number" : "", text);
        cell.scope = "col";
        return cell;
      }),
    );
    const head = node("thead");
    head.append(row);
    return head;
  }

  function line(title, texts) {
    const row = node("tr");
    const head = node("th", "tb-row-name", title);
    head.scope = "row";
    row.append(head, ...texts.map((text) => node("td", "tb-number", text)));
    return row;
  }

  function table(caption, head, lines) {
    const made = node("table", "tb-table");
    const body = node("tbody");
    body.append(...lines);
    made.append(node("caption", "", caption), head, body);
    const scroll = node("div", "tb-scroll");
    scroll.tabIndex = 0;
    scroll.setAttribute("role", "region");
    scroll.setAttribute("aria-label", caption);
    scroll.append(made);
    return scroll;
  }

  function draw() {
    const { map } = state;
    if (place.hidden || !map) return;
    const { mode, values } = looked(state);
    const { label, unit } = MEASURES[mode];
    const said = `${label}${unit && `, ${MEASURES[mode].diverging ? "points" : "%"} ${unit}`}, ${keeping(state)}`;
    const made = [];
    if (map.rows.length) {
      const lines = map.rows.map((row, number) =>
        line(titled(row.title), [
          ...map.columns.map((column, at) => {
            const cell = map.grid[number * map.columns.length + at];
            return cell < 0 ? "" : valueText(mode, values.cells[cell], values.ranges[cell]);
          }),
          valueText(mode, values.rows[number], values.rowRanges[number]),
        ]),
      );
      made.push(table(said, headed([...map.columns.map((column) => column.label), titled(meansHead(mode))], "Layer"), lines));
    }
    const outside = [...map.before, ...map.after];
    if (outside.length) {
      const lines = outside.map(({ cell }) =>
        line(map.cells[cell].label, [whole(map.cells[cell].numel), valueText(mode, values.cells[cell], values.ranges[cell])]),
      );
      made.push(table(`${said}: before and after the layers`, headed(["Weights", label], "Module"), lines));
    }
    place.replaceChildren(...made);
  }

  return {
    draw() {
      clearTimeout(waiting);
      waiting = setTimeout(draw, place.childElementCount ? 120 : 0);
    },
    toggle() {
      place.hidden = !place.hidden;
      draw();
      return !place.hidden;
    },
  };
}
