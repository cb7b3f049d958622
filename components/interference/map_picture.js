// The picture itself: Plotly's heatmap, with labels, strips and layer means around it, all placed by `geometryOf`.

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
  const { of, whole, family, rate } = MEASURES[mode];
  const cells = map.cells.map((cell, number) => lookAt(map, "cell", number, share, own));
  const rows = map.rows.map((row, number) => lookAt(map, "row", number, share, own));
  return {
    cells: cells.map(({ counts, chance }) => of(counts, chance)),
    solid: cells.map(({ counts }) => counts[whole] >= FEW),
    rows: rows.map(({ counts, chance }) => of(counts, chance)),
    ranges: cells.map((look) => rangeIn(mode, look)),
    rowRanges: rows.map((look) => rangeIn(mode, look)),
    chance: family === "conflict" ? rate(lookAt(map, "all", 0, share, own).chance) : null,
  };
}

// Cells whose colour says little: so few weights meet there that it is mostly luck, or their interval takes half of the colours.
function poorlyKnown({ cells, solid, ranges }, [low, high]) {
  const wide = (range) => range && range[1] - range[0] >= (high - low) / 2;
  return cells.flatMap((value, number) => (value !== null && (!solid[number] || wide(ranges[number])) ? [number] : []));
}

// The bars of the layers' means: how long the colours' whole range is, how thick, and whether numbers stand beside them.
function barOf({ rowHeight, means, narrow }) {
  const withNumbers = rowHeight >= 13 && !narrow;
  return { length: means - (withNumbers ? 50 : 0), thick: Math.min(6, Math.max(2, rowHeight - 2)), withNumbers };
}

// The part of such a bar that a mean takes; none where there is no amount to show.
function barIn(value, [low, high], mode) {
  const { diverging, models } = MEASURES[mode];
  if (value === null || models) return null;
  const part = (at) => Math.min(Math.max((at - low) / (high - low), 0), 1);
  const [zero, end] = [diverging ? part(0) : 0, part(value)];
  return { from: Math.min(zero, end), size: Math.abs(end - zero) };
}

// What stands over the column beside the map; names do not fit a narrow one.
const meansHead = (mode, narrow) => (MEASURES[mode].models ? (narrow ? "" : "winner") : narrow ? "mean" : "layer mean");

// The mean of a layer, as short as the column beside the map asks for; `high`: end of the colours.
function meanText(map, mode, value, range, high) {
  const { models, diverging } = MEASURES[mode];
  if (value === null) return "–";
  if (models) return cut(map.models[Math.floor(value)].name, 6);
  const half = range ? 50 * (range[1] - range[0]) : 0;
  const off = half ? ` ±${half.toFixed(half < 0.5 ? 1 : 0)}` : "";
  if (diverging) return `${points(value, off ? 0 : 1)}${off}`;
  return off ? `${(100 * value).toFixed(0)}${off}` : percent(value, high < 0.2 ? 1 : 0);
}

// Colours alone do not tell models apart for everybody: cells say by a letter which one they mean.
const LETTER = 11; // pixels
const fitsLetter = (width, height) => width >= 16 && height >= 15;
const letterIn = (map, mode, value) => (MEASURES[mode].models ? map.models[Math.floor(value)].letter : "");

// Slanted lines that a cell is filled with over its colour.
function hatchingOf(pen, colour, scale) {
  const tile = document.createElement("canvas");
  tile.width = tile.height = Math.round(6 * scale);
  const ink = tile.getContext("2d");
  ink.globalAlpha = 0.72;
  ink.fillStyle = colour;
  ink.fillRect(0, 0, 2.5 * scale, tile.height);
  const pattern = pen.createPattern(tile, "repeat");
  pattern.setTransform(new DOMMatrix().rotate(45));
  return pattern;
}

const STILL = { displayModeBar: false, staticPlot: true, showSendToCloud: false, plotlyServerURL: "" };

function makePicture(root, legend) {
  const part = (name) => root.querySelector(`.tb-map-${name}`);
  const [drawnArea, columnsRow, rowsColumn, under, plot, over] = ["drawn", "columns", "rows", "under", "plot", "over"].map(part);
  const [meansSvg, tracks, bars, shares] = ["means", "tracks", "bars", "shares"].map(part);
  const strips = [...drawnArea.querySelectorAll(".tb-map-strip")];
  const picture = { geometry: null, blocks: new Map() };
  let numbers = [];
  let boxes = []; // of every cell: reading them from the page for every frame would lay it out anew each time
  let heat = ""; // the colours that Plotly has, once it has this map

  function placeLabels(map, geometry) {
    columnsRow.style.height = `${geometry.columnsHeight}px`;
    columnsRow.dataset.turned = geometry.turned;
    const heads = map.columns.map((column, number) => {
      const label = node("span", "", number % geometry.everyColumn ? "" : geometry.labels[number]);
      label.style.left = `${geometry.left + (number + 0.5) * geometry.columnWidth}px`;
      return label;
    });
    if (geometry.rows) {
      const head = node("span", "tb-map-means-head");
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
    const { rows, rowHeight, plotHeight } = geometry;
    const { length, thick, withNumbers } = barOf(geometry);
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
    for (const one of [under, plot, over]) {
      one.style.left = `${geometry.left}px`;
      one.style.width = `${geometry.plotWidth}px`;
      one.style.height = `${geometry.plotHeight}px`;
    }
    heat = "";
    placeMeans(geometry);
    boxes = measured(map);
    return true;
  };

  function measured(map) {
    const { left, columnWidth, rowHeight } = picture.geometry;
    const outer = drawnArea.getBoundingClientRect();
    picture.top = plot.getBoundingClientRect().y - outer.y;
    return map.cells.map((cell, number) => {
      if (cell.row < 0) {
        const { x, y, width, height } = picture.blocks.get(number).getBoundingClientRect();
        return { x: x - outer.x, y: y - outer.y, width, height };
      }
      return { x: left + cell.column * columnWidth, y: picture.top + cell.row * rowHeight, width: columnWidth, height: rowHeight };
    });
  }

  // Where a cell stands inside the drawn area: {x, y, width, height}.
  picture.boxOf = (number) => boxes[number];

  // Draws what `looked` gives, in the colours of `range`.
  picture.draw = (map, { mode, values }, range) => {
    if (!picture.geometry) return;
    const stops = stopsOf(mode, map);
    const shade = shaded(stops, range);
    const poor = new Set(poorlyKnown(values, range));
    plot.shown = { map, mode, values, range, stops, poor }; // what an export holds too
    legend(mode, range, stops, values);
    for (const [cell, block] of picture.blocks) {
      const value = values.cells[cell];
      block.dataset.empty = value === null;
      block.dataset.hatched = poor.has(cell);
      block.style.backgroundColor = value === null ? "" : shade(value);
      const letter = value === null ? "" : letterIn(map, mode, value);
      if (block.textContent !== letter) block.textContent = letter;
      block.style.color = letter && legible(shade(value));
    }
    drawMeans(values, range, mode);
    if (!heat) drawUnder(plot.shown, shade);
    else if (under.width) under.width = 0; // Plotly has drawn this map by now
    if (map.rows.length) drawHeat(plot.shown);
    drawOver(plot.shown, shade);
    const key = part("hatch-key");
    if (key) key.hidden = !poor.size;
  };

  function drawMeans(values, range, mode) {
    const { rowHeight } = picture.geometry;
    const { length, withNumbers } = barOf(picture.geometry);
    let d = "";
    const head = columnsRow.querySelector(".tb-map-means-head");
    if (head) head.textContent = meansHead(mode, picture.geometry.narrow);
    values.rows.forEach((value, row) => {
      const bar = barIn(value, range, mode);
      if (bar) {
        const size = Math.max(bar.size * length, 1);
        d += `M${(bar.from * length).toFixed(1)} ${((row + 0.5) * rowHeight).toFixed(1)}h${size.toFixed(1)}`;
      }
      if (!withNumbers) return;
      const text = meanText(plot.shown.map, mode, value, values.rowRanges[row], range[1]);
      if (numbers[row].textContent !== text) numbers[row].textContent = text;
    });
    bars.setAttribute("d", d);
  }

  // The cells of a new map at once, under Plotly's, which has to load first, and whose picture must be decoded.
  function drawUnder({ map, values }, shade) {
    const pen = sized(under).getContext("2d");
    for (const [number, cell] of map.cells.entries()) {
      if (cell.row < 0 || values.cells[number] === null) continue;
      pen.fillStyle = shade(values.cells[number]);
      pen.fillRect(...insideOf(cell));
    }
  }

  // A canvas as large as the plot in the screen's own pixels, with nothing on it.
  function sized(canvas) {
    const { plotWidth, plotHeight } = picture.geometry;
    [canvas.width, canvas.height] = [plotWidth, plotHeight].map((size) => Math.round(size * devicePixelRatio));
    return canvas;
  }

  // What a cell fills of it: [x, y, width, height], without the gap to its neighbours.
  function insideOf({ row, column }) {
    const { columnWidth, rowHeight, gap } = picture.geometry;
    const box = [column * columnWidth + gap / 2, row * rowHeight + gap / 2, columnWidth - gap, rowHeight - gap];
    return box.map((size) => size * devicePixelRatio);
  }

  function drawHeat({ map, values, range, stops }) {
    const { Plotly } = window;
    if (!Plotly) {
      loadPlotly().then(() => drawHeat(plot.shown), () => (plot.textContent = "plotly.js did not load. Reload the page."));
      return;
    }
    const { rows, columns } = picture.geometry;
    const at = (row, column) => values.cells[map.grid[row * columns + column]] ?? null;
    const z = Array.from({ length: rows }, (_, row) => Array.from({ length: columns }, (_, column) => at(row, column)));
    const colours = { zmin: range[0], zmax: range[1], colorscale: stops };
    const wanted = JSON.stringify(colours);
    if (!heat) Plotly.react(plot, [heatTrace(z, colours)], heatLayout(), STILL);
    else Plotly.restyle(plot, { z: [z], ...(heat === wanted ? {} : { ...colours, colorscale: [stops] }) }, [0]);
    heat = wanted;
  }

  function heatTrace(z, colours) {
    const { gap } = picture.geometry;
    return { type: "heatmap", z, ...colours, xgap: gap, ygap: gap, showscale: false, hoverinfo: "skip", zsmooth: false };
  }

  function heatLayout() {
    const { plotWidth, plotHeight, rows, columns } = picture.geometry;
    const axis = { visible: false, fixedrange: true };
    return {
      width: plotWidth, height: plotHeight, margin: { l: 0, r: 0, t: 0, b: 0 },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      xaxis: { ...axis, range: [-0.5, columns - 0.5] }, yaxis: { ...axis, range: [rows - 0.5, -0.5] },
    };
  }

  // What colours do not say, over them: hatching, and letters.
  function drawOver({ map, mode, values, poor }, shade) {
    const { columnWidth, rowHeight } = picture.geometry;
    const scale = devicePixelRatio;
    const pen = sized(over).getContext("2d");
    const lettered = MEASURES[mode].models && fitsLetter(columnWidth, rowHeight);
    if (!lettered && !poor.size) return;
    pen.font = `700 ${LETTER * scale}px ${getComputedStyle(root).getPropertyValue("--tb-font")}`;
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    const hatching = hatchingOf(pen, getComputedStyle(root).getPropertyValue("--tb-hatch"), scale);
    for (const [number, cell] of map.cells.entries()) {
      const value = values.cells[number];
      if (cell.row < 0 || value === null) continue;
      const [x, y, width, height] = insideOf(cell);
      if (poor.has(number)) {
        pen.fillStyle = hatching;
        pen.fillRect(x, y, width, height);
      }
      if (!lettered) continue;
      pen.fillStyle = legible(shade(value));
      pen.fillText(letterIn(map, mode, value), x + width / 2, y + height / 2);
    }
  }
  return picture;
}
