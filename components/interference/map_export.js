// The map to keep: PNG and SVG of the whole picture with its labels and legend, CSV of every number at this density.

const EXPORT_WIDTH = 1100;

// A spreadsheet runs a field that starts like a formula: names are strangers' text.
function csvField(text) {
  const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

function csvOf(map, share) {
  const lines = [["layer", "module", "weights", "density", ...MAP_CURVES, "conflict_of_contested", "chance"]];
  if (map.off) lines[0].push("weights_read", ...MAP_CURVES.flatMap((name) => [`${name}_low`, `${name}_high`]), "conflict_low", "conflict_high");
  const parts = map.byModel ? (map.byModel.elections ? ["moved", "outvoted", "wins"] : ["moved"]) : [];
  lines[0].push(...parts.flatMap((part) => map.models.map(({ name }) => csvField(`${name} ${part}`))));
  map.cells.forEach((cell, number) => {
    const { counts, chance } = lookAt(map, "cell", number, share);
    lines.push([
      csvField(cell.row < 0 ? "" : map.rows[cell.row].title),
      csvField(cell.label),
      cell.numel,
      Math.round(shareOfCell(number, share) * 1e4) / 1e4,
      ...MAP_CURVES.map((name) => Math.round(counts[name])),
      rateOf(counts)?.toFixed(6) ?? "",
      rateOf(chance)?.toFixed(6) ?? "",
    ]);
    if (map.byModel) {
      const by = counts.by();
      const shares = { moved: by.energy.map((energy) => (by.base > 0 ? Math.sqrt(energy / by.base) : null)) };
      if (map.byModel.elections) {
        shares.outvoted = ratios(by.lost, by.mass);
        shares.wins = winsOf(by) ?? map.models.map(() => null);
      }
      lines.at(-1).push(...parts.flatMap((part) => shares[part].map((value) => value?.toFixed(6) ?? "")));
    }
    if (!map.off) return;
    const ends = MAP_CURVES.flatMap((name) => [counts[name] - counts.off[name][0], counts[name] + counts.off[name][1]]);
    const rate = rateOf(counts);
    const range = shareRange(counts, "conflicted", "contested") ?? [rate, rate];
    lines.at(-1).push(cell.sampled, ...ends.map(Math.round), ...range.map((end) => end?.toFixed(6) ?? ""));
  });
  return `${lines.map((line) => line.join(",")).join("\r\n")}\r\n`;
}

// The whole picture as one figure: strips and layers are rows of the same heatmap, with their labels as axis and text.
function figureOf(map, state, said, style) {
  const { mode, values } = looked(state);
  const { fitted } = state;
  const range = rangeOf(mode, fitted, values.cells, values.solid);
  const stops = stopsOf(mode, map);
  const ink = style.getPropertyValue("--tb-ink").trim();
  const soft = style.getPropertyValue("--tb-soft").trim();
  const { diverging, label, unit, models } = MEASURES[mode];
  const words = said.map(([text]) => text).join("");
  const rowHeight = map.rows.length > 40 ? 9 : 26;
  const strips = [["before", map.before], ["after", map.after]].filter(([, cells]) => cells.length);
  const stripHeight = 58;
  const inside = map.rows.length * rowHeight;
  const head = 96;
  const turned = map.columns.length > 12;
  const labels = map.rows.length ? (turned ? 92 : 30) : 0;
  const total = head + labels + inside + strips.length * stripHeight + 20;
  const room = (from, size) => [1 - (from + size - head) / (total - head - 20), 1 - (from - head) / (total - head - 20)];
  const data = [];
  const layout = {
    width: EXPORT_WIDTH, height: total, margin: { l: 110, r: 110, t: head, b: 20 },
    paper_bgcolor: style.getPropertyValue("--tb-panel").trim(), plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: "IBM Plex Sans, DejaVu Sans, sans-serif", size: 12, color: soft },
    title: {
      text: `<b>${plain(label)}</b><br><span style="font-size:13px">${plain(broken(words, 150)).replaceAll("\n", "<br>")}</span>`,
      x: 0, xref: "container", xanchor: "left", pad: { l: 24, t: 20 }, y: 1, yanchor: "top", font: { size: 16, color: ink },
    },
  };
  const heat = (z, axis, more) => ({
    type: "heatmap", z, zmin: range[0], zmax: range[1], colorscale: stops, xgap: 2, ygap: rowHeight > 12 ? 2 : 0,
    showscale: false, xaxis: `x${axis}`, yaxis: `y${axis}`, ...more,
  });
  let next = head;
  const addStrip = (side, cells, number) => {
    layout[`xaxis${number}`] = {
      domain: [0, 1], anchor: `y${number}`, showgrid: false, zeroline: false, side: side === "before" ? "top" : "bottom",
      tickvals: cells.map((_, place) => place), ticktext: cells.map((one) => plain(cut(one.label, Math.floor(130 / cells.length)))),
    };
    const [low, high] = room(next, stripHeight);
    const pad = 30 / (total - head - 20);
    layout[`yaxis${number}`] = {
      domain: side === "before" ? [low + pad / 3, high - pad / 1.5] : [low + pad, high - pad / 3],
      anchor: `x${number}`, showgrid: false, zeroline: false, tickvals: [0], ticktext: [side],
    };
    data.push(heat([cells.map(({ cell }) => values.cells[cell])], number));
    next += stripHeight;
  };
  if (map.before.length) addStrip("before", map.before, 2);
  if (map.rows.length) {
    next += labels;
    layout.xaxis = {
      domain: [0, 1], side: "top", showgrid: false, zeroline: false, tickvals: map.columns.map((_, place) => place),
      ticktext: map.columns.map((column) => plain(cut(column.label, 22))), tickangle: turned ? -55 : 0,
    };
    layout.yaxis = {
      domain: room(next, inside), showgrid: false, zeroline: false, range: [map.rows.length - 0.5, -0.5],
      tickvals: map.rows.map((_, place) => place).filter((place) => rowHeight > 12 || place % 4 === 0),
      ticktext: map.rows.filter((_, place) => rowHeight > 12 || place % 4 === 0).map((row) => plain(row.label)),
    };
    const z = map.rows.map((row, at) =>
      map.columns.map((column, place) => {
        const cell = map.grid[at * map.columns.length + place];
        return cell < 0 ? null : values.cells[cell];
      }),
    );
    data.push(heat(z, "", {}));
    next += inside;
  }
  if (map.after.length) addStrip("after", map.after, 3);
  if (!data.length) return null;
  for (const [name, axis] of Object.entries(layout)) if (/^[xy]axis/.test(name)) axis.ticks = "";
  Object.assign(data[0], {
    showscale: true,
    colorbar: {
      title: { text: models ? "" : `${diverging ? "points" : "%"} ${plain(unit)}`, side: "right", font: { size: 11 } }, thickness: 12, outlinewidth: 0,
      tickformat: "",
      ...(models
        ? { tickvals: map.models.map((_, model) => model + 0.5), ticktext: map.models.map(({ name }) => plain(cut(name, 12))) }
        : { tickvals: ticksOf(range), ticktext: ticksOf(range).map((tick) => (diverging ? points(tick, 1) : (100 * tick).toFixed(1))) }),
    },
  });
  return { data, layout };
}

const ticksOf = ([low, high]) => [0, 0.25, 0.5, 0.75, 1].map((part) => low + part * (high - low));
const cut = (text, most) => (text.length > most ? `${text.slice(0, Math.max(most - 1, 1))}…` : text);

function broken(text, most) {
  let line = 0;
  return text
    .split(" ")
    .map((word) => {
      line += word.length + 1;
      if (line <= most) return word;
      line = word.length + 1;
      return `\n${word}`;
    })
    .join(" ");
}

// `spoken`: the sentence above the map; `compare`: keeps what is shown to compare it.
function makeExports(root, table, spoken, compare) {
  const place = root.querySelector(".tb-map-keep");
  const { state } = shared;

  function save(href, ending) {
    const link = node("a");
    link.href = href;
    link.download = `tiebreak-${state.mode.replaceAll(" ", "-")}-${String(shared.percent()).replace(".", "_")}.${ending}`;
    link.click();
  }

  async function image(format) {
    if (!state.map) return;
    const Plotly = await window.tiebreakPlotly;
    const figure = figureOf(state.map, state, spoken(), getComputedStyle(root));
    if (!figure) return;
    const { width, height } = figure.layout;
    save(await Plotly.toImage({ ...figure, config: PLOTLY_CONFIG }, { format, width, height, scale: 2 }), format);
  }

  function csv() {
    if (!state.map) return;
    const href = URL.createObjectURL(new Blob([csvOf(state.map, state.share)], { type: "text/csv" }));
    save(href, "csv");
    setTimeout(() => URL.revokeObjectURL(href), 10_000);
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
