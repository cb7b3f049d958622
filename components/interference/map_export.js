// The map to keep: PNG and SVG of what is shown, CSV of every number at this density, of both settings where two are compared.

// A spreadsheet runs a field that starts like a formula: names are strangers' text.
function csvField(text) {
  const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

// The numbers of one cell at one setting: { column: number or null }. Every cell of a map has the same columns.
function csvNumbers(map, number, share, own) {
  const { counts, chance } = lookAt(map, "cell", number, share, own);
  const found = { density: shareOfCell(number, share, own) };
  for (const name of MAP_CURVES) found[name] = Math.round(counts[name]);
  Object.assign(found, { conflict_of_contested: rateOf(counts), chance: rateOf(chance) });
  if (map.off) {
    found.weights_read = map.cells[number].sampled;
    for (const name of MAP_CURVES) {
      found[`${name}_low`] = Math.round(counts[name] - counts.off[name][0]);
      found[`${name}_high`] = Math.round(counts[name] + counts.off[name][1]);
    }
    [found.conflict_low, found.conflict_high] = shareRange(counts, "conflicted", "contested") ?? [rateOf(counts), rateOf(counts)];
  }
  if (!map.byModel) return found;
  const by = counts.by();
  const each = (part, values) => map.models.forEach(({ name }, model) => (found[`${name} ${part}`] = values[model]));
  each("moved", by.energy.map((energy) => (by.base > 0 ? Math.sqrt(energy / by.base) : null)));
  if (map.byModel.elections) {
    each("outvoted", ratios(by.lost, by.mass));
    each("wins", winsOf(by) ?? map.models.map(() => null));
  }
  return found;
}

const csvNumber = (value) => (value === null || value === undefined ? "" : Number.isInteger(value) ? value : Number(value.toFixed(6)));

// One line per cell; while A is kept, its numbers and B's beside each other, and their differences.
function csvOf({ map, share, own, kept }) {
  const places = kept && new Map(kept.map.cells.map((cell, number) => [cell.key, number]));
  const lines = map.cells.map((cell, number) => {
    const place = { layer: cell.row < 0 ? "" : map.rows[cell.row].title, module: cell.label, weights: cell.numel };
    const now = csvNumbers(map, number, share, own);
    if (!kept) return { ...place, ...now };
    const other = places.get(cell.key);
    const then = other === undefined ? {} : csvNumbers(kept.map, other, kept.share, kept.own);
    const named = (word, numbers) => Object.fromEntries(Object.entries(numbers).map(([name, value]) => [`${word} ${name}`, value]));
    const apart = {};
    for (const [name, value] of Object.entries(now)) {
      if (/_(low|high)$|_read$/.test(name)) continue; // ends of intervals do not subtract
      const before = then[name] ?? null;
      apart[name] = value === null || before === null ? null : value - before;
    }
    return { ...place, ...named("A", then), ...named("B", now), ...named("B - A", apart) };
  });
  const names = [...new Set(lines.flatMap((line) => Object.keys(line)))];
  const field = (value) => (typeof value === "string" ? csvField(value) : csvNumber(value));
  return [names.map(csvField), ...lines.map((line) => names.map((name) => field(line[name])))].map((line) => `${line.join(",")}\r\n`).join("");
}

// `spoken`: the sentence above the map; `compare`: keeps what is shown to compare it.
function makeExports(root, table, spoken, compare) {
  const place = root.querySelector(".tb-map-keep");
  const { state } = shared;

  function save(blob, ending) {
    const link = node("a");
    link.href = URL.createObjectURL(blob);
    link.download = `tiebreak-${state.mode.replaceAll(" ", "-")}-${String(shared.percent()).replace(".", "_")}.${ending}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  }

  // What decides the picture, by the name it has on the page.
  function settings() {
    const { kept, view } = state;
    if (!kept) return [["", titled(settingFacts(state).join(" · "))]];
    const said = (what) => comparedFacts(what).join(" · ");
    return [["A", said(kept)], ["B", said(state)]].filter(([name]) => view.length > 1 || name.toLowerCase() === view);
  }

  function heading({ mode }) {
    const { label, unit } = MEASURES[state.mode];
    if (mode !== state.mode) return `${label}, B − A`;
    return unit ? `${label}: share ${unit}` : label;
  }

  async function image(format) {
    if (!state.map) return;
    const shown = [...root.querySelectorAll(".tb-map-plot")].map((plot) => plot.shown);
    const said = { heading: heading(shown[0]), words: spoken(), settings: settings(), corners: ownCells(state) };
    const figure = figureOf(shown, said, getComputedStyle(root));
    save(format === "svg" ? svgOf(figure) : await pngOf(figure), format);
  }

  function csv() {
    if (state.map) save(new Blob([csvOf(state)], { type: "text/csv" }), "csv");
  }

  function button(text, title, act) {
    const made = node("button", "tb-link-button", text);
    made.type = "button";
    made.title = title;
    made.addEventListener("click", () => act(made));
    return made;
  }

  const toggle = button("Table", "The same numbers as a table", (made) =>
    made.setAttribute("aria-expanded", table.toggle()),
  );
  toggle.setAttribute("aria-expanded", "false");
  const begin = button("Compare", "Keep this as A, change anything, and see both", compare);
  begin.classList.add("tb-map-begin");
  place.append(
    button("PNG", "Save the picture as PNG", () => image("png")),
    button("SVG", "Save the picture as SVG", () => image("svg")),
    button("CSV", "Save every number at this density", csv),
    toggle,
    begin,
  );
}
