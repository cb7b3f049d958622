// The probe table: models down, probes across, score with its interval and the number of items.

const table = element.querySelector("table");
const empty = element.querySelector(".tb-results-empty");

function draw() {
  const value = props.value ?? {};
  table.replaceChildren();
  empty.hidden = !value.empty;
  empty.textContent = value.empty ?? "";
  table.hidden = !value.rows;
  if (!value.rows) return;
  const head = node("tr");
  const corner = node("th");
  corner.scope = "col";
  corner.append(node("span", "", value.metric), node("small", "", value.items));
  head.append(corner);
  for (const column of value.columns) {
    const cell = node("th", "tb-number");
    cell.scope = "col";
    const heading = node("span", "tb-probe-name", column.name);
    heading.title = column.name;
    cell.append(heading, node("small", "", column.note));
    head.append(cell);
  }
  table.append(node("thead"), node("tbody"));
  table.tHead.append(head);
  for (const row of value.rows) {
    const line = node("tr", row.merge ? "tb-merge-row" : "");
    const name = node("th", "tb-row-name");
    name.scope = "row";
    const dot = node("span", "tb-dot");
    dot.style.background = `var(${row.colour})`;
    dot.setAttribute("aria-hidden", "true");
    const words = node("span", "tb-model-name", row.name);
    words.title = row.name;
    name.append(dot, words);
    line.append(name);
    for (const cell of row.cells) {
      const made = node("td", "tb-number");
      made.append(node("span", "", cell.score), node("small", "", cell.interval));
      line.append(made);
    }
    table.tBodies[0].append(line);
  }
}

watch("value", draw);
draw();
