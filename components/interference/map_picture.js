// The picture itself: heatmap by Plotly, with labels, strips and layer means around it, all placed by `geometryOf`.

const measuring = document.createElement("canvas").getContext("2d");

function widthOf(text, font) {
  measuring.font = font;
  return measuring.measureText(text).width;
}

// Column labels: as they are where they fit, else without what they share with a neighbour, else turned.
function columnLabels(columns, room, font) {
  const labels = columns.map((column) => column.label);
  const fits = (texts) => texts.every((text) => widthOf(text, font) <= room - 6);
  if (fits(labels)) return { labels, turned: false };
  const short = labels.map((label) => label.replace(/^(attn|mlp|cross|experts)\./, ""));
  if (fits(short) && new Set(short).size === short.length) return { labels: short, turned: false };
  return { labels, turned: true };
}

function geometryOf(map, width, font) {
  const rows = map.rows.length;
  const columns = map.columns.length;
  const narrow = width < 480;
  const labelRoom = Math.min(
    narrow ? 76 : 128,
    Math.ceil(Math.max(34, ...map.rows.map((row) => widthOf(row.label, font)))) + 10,
  );
  const means = narrow ? 44 : rows <= 40 ? 112 : 78;
  const left = rows ? labelRoom : 0;
  const right = rows ? means + 10 : 0;
  const plotWidth = Math.max(60, width - left - right);
  const rowHeight = rows ? Math.max(5, Math.min(38, (rows > 60 ? 560 : 430) / rows)) : 0;
  const columnWidth = columns ? plotWidth / columns : 0;
  const { labels, turned } = columnLabels(map.columns, columnWidth, font);
  const longest = Math.max(0, ...labels.map((label) => widthOf(label, font)));
  // Turned by 55°: a label reaches right of its column, so the last one sets how far all may reach.
  const columnsHeight = !columns ? 0 : turned ? Math.min(96, Math.ceil(longest * 0.82) + 16) : 24;
  const gap = Math.min(columnWidth, rowHeight) > 12 ? 2 : Math.min(columnWidth, rowHeight) > 7 ? 1 : 0;
  return {
    width, rows, columns, left, right, means, plotWidth, rowHeight, columnWidth, columnsHeight, gap, labels, turned,
    plotHeight: Math.round(rowHeight * rows), narrow,
    everyRow: Math.max(1, Math.ceil(15 / Math.max(rowHeight, 1))),
    everyColumn: Math.max(1, Math.ceil(12 / Math.max(columnWidth, 1))),
  };
}

// What every cell and row shows at a density, with its 95 % interval where it comes from a sample.
function mapValues(map, mode, share, own) {
  const { of, whole } = MEASURES[mode];
  const cells = map.cells.map((cell, number) => lookAt(map, "cell", number, share, own));
  const rows = map.rows.map((row, number) => lookAt(map, "row", number, share, own));
  return {
    cells: cells.map(({ counts, chance }) => of(counts, chance)),
    solid: cells.map(({ counts }) => counts[whole] >= FEW),
    rows: rows.map(({ counts, chance }) => of(counts, chance)),
    ranges: cells.map((look) => rangeIn(mode, look)),
    rowRanges: rows.map((look) => rangeIn(mode, look)),
  };
}

function makePicture(root, legend) {
  const part = (name) => root.querySelector(`.tb-map-${name}`);
  const [drawnArea, columnsRow, rowsColumn, plot] = ["drawn", "columns", "rows", "plot"].map(part);
  const [meansSvg, tracks, bars, shares] = ["means", "tracks", "bars", "shares"].map(part);
  const strips = [...drawnArea.querySelectorAll(".tb-map-strip")];
  const picture = { geometry: null, blocks: new Map(), ready: false };
  let numbers = [];
  let shownScale = "";

  function placeLabels(map, geometry) {
    columnsRow.style.height = `${geometry.columnsHeight}px`;
    columnsRow.dataset.turned = geometry.turned;
    const heads = map.columns.map((column, number) => {
      const label = node("span", "", number % geometry.everyColumn ? "" : geometry.labels[number]);
      label.style.left = `${geometry.left + (number + 0.5) * geometry.columnWidth}px`;
      return label;
    });
    if (geometry.rows) {
      const head = node("span", "tb-map-means-head", geometry.narrow ? "mean" : "layer mean");
      head.style.left = `${geometry.left + geometry.plotWidth + 10}px`;
      heads.push(head);
    }
    columnsRow.replaceChildren(...heads);
    let since = 0;
    rowsColumn.style.width = `${geometry.left}px`;
    rowsColumn.replaceChildren(
      ...map.rows.map((row, number) => {
        const starts = number === 0 || map.rows[number - 1].stack !== row.stack;
        since = starts ? 0 : since + 1;
        const label = node("span", starts ? "tb-map-stack" : "", since % geometry.everyRow ? "" : row.label);
        label.style.top = `${(number + 0.5) * geometry.rowHeight}px`;
        return label;
      }),
    );
  }

  function placeStrips(map, geometry) {
    picture.blocks.clear();
    for (const strip of strips) {
      const side = strip.dataset.side;
      strip.hidden = !map[side].length;
      const head = node("span", "tb-map-strip-head", side);
      head.style.width = `${geometry.left}px`;
      const cells = node("div", "tb-map-strip-cells");
      for (const { label, cell } of map[side]) {
        const block = node("i");
        const box = node("div", "tb-map-strip-cell");
        const name = node("span", "", label);
        box.append(...(side === "before" ? [name, block] : [block, name]));
        cells.append(box);
        picture.blocks.set(cell, block);
      }
      cells.style.marginRight = `${geometry.right}px`;
      strip.replaceChildren(head, cells);
    }
  }

  function placeMeans(geometry) {
    const { rows, rowHeight, plotHeight, means } = geometry;
    const withNumbers = rowHeight >= 13 && !geometry.narrow;
    const length = means - (withNumbers ? 50 : 0);
    const thick = Math.min(6, Math.max(2, rowHeight - 2));
    picture.bar = { length, thick, withNumbers };
    meansSvg.style.left = `${geometry.left + geometry.plotWidth + 10}px`;
    meansSvg.setAttribute("width", length);
    meansSvg.setAttribute("height", plotHeight);
    let d = "";
    for (let row = 0; row < rows; row++) d += `M0 ${((row + 0.5) * rowHeight).toFixed(1)}h${length}`;
    tracks.setAttribute("d", d);
    tracks.setAttribute("stroke-width", thick);
    bars.setAttribute("stroke-width", thick);
    shares.replaceChildren();
    numbers = [];
    for (let row = 0; withNumbers && row < rows; row++) {
      const number = node("span");
      number.style.top = `${row * rowHeight}px`;
      number.style.lineHeight = `${rowHeight}px`;
      numbers.push(number);
    }
    shares.append(...numbers);
  }

  // Lays everything out anew: a new map, or another width.
  picture.place = (map) => {
    const width = drawnArea.clientWidth;
    if (!width) return false;
    const style = getComputedStyle(root);
    const geometry = (picture.geometry = geometryOf(map, width, `12.5px ${style.getPropertyValue("--tb-font")}`));
    placeLabels(map, geometry);
    placeStrips(map, geometry);
    part("middle").style.height = `${geometry.plotHeight}px`;
    plot.style.left = `${geometry.left}px`;
    placeMeans(geometry);
    picture.ready = false;
    shownScale = "";
    return true;
  };

  // Where a cell stands inside the drawn area: {x, y, width, height}.
  picture.boxOf = (map, number) => {
    const cell = map.cells[number];
    const { geometry } = picture;
    const outer = drawnArea.getBoundingClientRect();
    if (cell.row < 0) {
      const box = picture.blocks.get(number).getBoundingClientRect();
      return { x: box.x - outer.x, y: box.y - outer.y, width: box.width, height: box.height };
    }
    const top = plot.getBoundingClientRect().y - outer.y;
    return {
      x: geometry.left + cell.column * geometry.columnWidth,
      y: top + cell.row * geometry.rowHeight,
      width: geometry.columnWidth,
      height: geometry.rowHeight,
    };
  };

  // Draws what `looked` gives, in the colours of `range`.
  picture.draw = async (map, { mode, values }, range) => {
    if (!picture.geometry) return;
    const stops = stopsOf(mode, map);
    legend(mode, range, stops, values.cells);
    for (const [cell, block] of picture.blocks) {
      const value = values.cells[cell];
      block.dataset.empty = value === null;
      block.style.background = value === null ? "" : colourAt(stops, (value - range[0]) / (range[1] - range[0]));
    }
    drawMeans(values, range, mode);
    hatch(map, values.ranges, range);
    if (map.rows.length) await drawHeat(map, values, range, stops);
  };

  // Cells whose interval takes half of the colours: their colour says little.
  function hatch(map, ranges, [low, high]) {
    let d = "";
    for (const [number, range] of ranges.entries()) {
      if (!range || range[1] - range[0] < (high - low) / 2) continue;
      const { x, y, width, height } = picture.boxOf(map, number);
      d += `M${x.toFixed(1)} ${y.toFixed(1)}h${width.toFixed(1)}v${height.toFixed(1)}h${(-width).toFixed(1)}Z`;
    }
    part("hatched").setAttribute("d", d);
    const key = part("hatch-key");
    if (key) key.hidden = d === "";
  }

  function drawMeans(values, [low, high], mode) {
    const { length, withNumbers } = picture.bar;
    const { rowHeight } = picture.geometry;
    const { diverging, models } = MEASURES[mode];
    const part = (value) => Math.min(Math.max((value - low) / (high - low), 0), 1);
    const zero = diverging ? part(0) : 0;
    let d = "";
    values.rows.forEach((value, row) => {
      if (value !== null && !models) {
        const end = part(value);
        const from = Math.min(zero, end) * length;
        const size = Math.max(Math.abs(end - zero) * length, 1);
        d += `M${from.toFixed(1)} ${((row + 0.5) * rowHeight).toFixed(1)}h${size.toFixed(1)}`;
      }
      if (!withNumbers) return;
      const half = values.rowRanges[row] ? 50 * (values.rowRanges[row][1] - values.rowRanges[row][0]) : 0;
      const off = half ? ` ±${half.toFixed(half < 0.5 ? 1 : 0)}` : "";
      const text = models && value !== null ? cut(shared.state.map.models[Math.floor(value)].name, 6) : value === null ? "–" : diverging ? `${points(value, off ? 0 : 1)}${off}` : off ? `${(100 * value).toFixed(0)}${off}` : percent(value, high < 0.1 ? 1 : 0);
      if (numbers[row].textContent !== text) numbers[row].textContent = text;
    });
    bars.setAttribute("d", d);
  }

  async function drawHeat(map, values, range, stops) {
    const { columns, rows } = picture.geometry;
    const z = Array.from({ length: rows }, (_, row) =>
      Array.from({ length: columns }, (_, column) => {
        const cell = map.grid[row * columns + column];
        return cell < 0 ? null : values.cells[cell];
      }),
    );
    const scale = `${range} ${stops}`;
    const Plotly = window.Plotly ?? (await window.tiebreakPlotly);
    if (!picture.ready) {
      picture.ready = true;
      shownScale = scale;
      return Plotly.react(plot, [heatTrace(z, range, stops)], heatLayout(), PLOTLY_CONFIG);
    }
    const update = { z: [z] };
    if (scale !== shownScale) {
      Object.assign(update, { zmin: range[0], zmax: range[1], colorscale: [stops] });
      shownScale = scale;
    }
    return Plotly.restyle(plot, update, [0]);
  }

  function heatTrace(z, range, stops) {
    const { gap } = picture.geometry;
    return {
      type: "heatmap", z, zmin: range[0], zmax: range[1], colorscale: stops, xgap: gap, ygap: gap,
      showscale: false, hoverinfo: "skip", zsmooth: false,
    };
  }

  function heatLayout() {
    const { plotWidth, plotHeight, rows, columns } = picture.geometry;
    const axis = { visible: false, fixedrange: true };
    return {
      width: Math.round(plotWidth), height: plotHeight, margin: { l: 0, r: 0, t: 0, b: 0 },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      xaxis: { ...axis, range: [-0.5, columns - 0.5] }, yaxis: { ...axis, range: [rows - 0.5, -0.5] },
    };
  }
  return picture;
}
