// The map as one picture to keep: a list of simple marks, from which an SVG or a PNG is made. It holds what the page shows
// at this moment: the sentence, the setting, the cells with their hatching and corners, the means, and the legend.

const FIGURE = { width: 1100, pad: 28, between: 36, size: 12.5, line: 19 };

// Marks: { rect: [x, y, width, height], fill } · { path, fill | stroke, wide, opacity } · { text, x, y, size, fill, anchor, bold, turn };
// `turn` in degrees about (x, y). Texts stand on their baseline.
function makeSheet(style) {
  const colour = (name) => style.getPropertyValue(`--tb-${name}`).trim();
  const family = style.getPropertyValue("--tb-font").trim();
  const marks = [];
  const font = (size, bold) => `${bold ? 700 : 400} ${size}px ${family}`;
  const sheet = {
    marks, colour, family, font,
    rect: (x, y, width, height, fill) => marks.push({ rect: [x, y, width, height], fill }),
    path: (path, more) => path && marks.push({ path, ...more }),
    text(text, x, y, more = {}) {
      marks.push({ text, x, y, size: FIGURE.size, fill: colour("soft"), anchor: "start", ...more });
    },
    // As much of a text as there is room for.
    fitted(text, room, size = FIGURE.size) {
      if (widthOf(text, font(size)) <= room) return text;
      let most = text.length - 1;
      while (most > 1 && widthOf(cut(text, most), font(size)) > room) most--;
      return cut(text, most);
    },
    // [text, isBold] parts in lines of at most `room`; the height that they take.
    flow(parts, x, y, room, size, fill) {
      const space = widthOf(" ", font(size));
      let [across, down, glued, run] = [0, y, true, null]; // glued: the next word belongs to the one before it
      for (const [text, bold] of parts) {
        run = null;
        for (const [place, word] of text.split(" ").entries()) {
          if (place > 0) glued = false;
          if (!word) continue;
          const width = widthOf(word, font(size, bold));
          const gap = glued || !across ? 0 : space;
          if (!glued && across + gap + width > room) [across, down, run] = [0, down + size * 1.5, null];
          else across += gap;
          if (run) run.text += gap ? ` ${word}` : word;
          else {
            sheet.text(word, x + across, down, { size, fill, bold });
            run = marks.at(-1);
          }
          across += width;
          glued = true;
        }
        glued = !text.endsWith(" ");
      }
      return down - y;
    },
  };
  return sheet;
}

// Slanted lines over one cell, as the page hatches it.
function slants({ x, y, width, height }, apart = 8.5) {
  let d = "";
  for (let start = apart / 2; start < width + height; start += apart) {
    const [from, to] = [Math.max(0, start - height), Math.min(start, width)];
    d += `M${(x + from).toFixed(1)} ${(y + start - from).toFixed(1)}L${(x + to).toFixed(1)} ${(y + start - to).toFixed(1)}`;
  }
  return d;
}

// One picture of the map at (x, y); the height that it takes. `corners`: cells with settings of their own.
function sketch(sheet, { map, mode, values, range, stops, poor }, x, y, width, corners) {
  const { colour } = sheet;
  const shade = shaded(stops, range);
  const geometry = geometryOf(map, width, sheet.font(FIGURE.size));
  const { left, plotWidth, plotHeight, rowHeight, columnWidth, gap, labels, turned, columnsHeight, narrow } = geometry;
  const { models } = MEASURES[mode];
  const boxes = new Map();
  let down = y;

  function block(number, box) {
    boxes.set(number, box);
    const value = values.cells[number];
    if (value === null) return;
    const fill = shade(value);
    sheet.rect(box.x, box.y, box.width, box.height, fill);
    if (!models || !fitsLetter(box.width, box.height)) return;
    const middle = { x: box.x + box.width / 2, y: box.y + box.height / 2 + LETTER * 0.36 };
    sheet.text(letterIn(map, mode, value), middle.x, middle.y, { size: LETTER, bold: true, anchor: "middle", fill: legible(fill) });
  }

  function strip(side) {
    const cells = map[side];
    if (!cells.length) return;
    const each = plotWidth / cells.length;
    const before = side === "before";
    sheet.text(side, x + left - 10, down + (before ? 34 : 14), { anchor: "end" });
    cells.forEach(({ label, cell }, place) => {
      const start = x + left + place * each;
      sheet.text(sheet.fitted(label, each - 6), start + each / 2, down + (before ? 14 : 34), { anchor: "middle" });
      block(cell, { x: start, y: down + (before ? 20 : 0), width: each - 2, height: 20 });
    });
    down += 44;
  }

  strip("before");
  if (map.rows.length) {
    down += columnsHeight;
    labels.forEach((label, column) => {
      if (column % geometry.everyColumn) return;
      const middle = x + left + (column + 0.5) * columnWidth;
      if (turned) sheet.text(label, middle + 4, down - 6, { turn: -55 });
      else sheet.text(label, middle, down - 8, { anchor: "middle" });
    });
    const beside = x + left + plotWidth + 10;
    sheet.text(meansHead(mode, narrow), models ? x + width : beside, down - 8, { anchor: models ? "end" : "start" });
    let since = 0;
    map.rows.forEach((row, number) => {
      const starts = number === 0 || map.rows[number - 1].stack !== row.stack;
      since = starts ? 0 : since + 1;
      const middle = down + (number + 0.5) * rowHeight;
      if (since % geometry.everyRow === 0) sheet.text(sheet.fitted(row.label, left - 10), x + left - 10, middle + 4, { anchor: "end" });
      const value = values.rows[number];
      const { length, thick, withNumbers } = barOf(geometry);
      const bar = barIn(value, range, mode);
      if (!models) sheet.rect(beside, middle - thick / 2, length, thick, colour("track"));
      if (bar) sheet.rect(beside + bar.from * length, middle - thick / 2, Math.max(bar.size * length, 1), thick, colour("soft"));
      if (withNumbers) {
        sheet.text(meanText(map, mode, value, values.rowRanges[number], range[1]), x + width, middle + 4, { size: 12, anchor: "end", fill: colour("ink") });
      }
    });
    map.cells.forEach((cell, number) => {
      if (cell.row < 0) return;
      const place = { x: x + left + cell.column * columnWidth, y: down + cell.row * rowHeight };
      block(number, { ...place, width: columnWidth - gap, height: rowHeight - gap });
    });
    down += plotHeight + 10;
  }
  strip("after");
  let hatching = "";
  for (const number of poor) hatching += slants(boxes.get(number));
  sheet.path(hatching, { stroke: colour("hatch"), wide: 2.5, opacity: 0.72 });
  let marked = "";
  for (const number of corners) marked += cornerOf(boxes.get(number));
  sheet.path(marked, { fill: colour("ink"), stroke: colour("panel"), wide: 1.5 });
  return { height: down - y, hatched: hatching !== "", cornered: marked !== "" };
}

// What the colours and marks mean, in one line.
function key(sheet, { map, mode, values, range, stops }, x, y, { hatched, cornered }) {
  const { colour, font } = sheet;
  let across = x;
  const say = (text, more) => {
    sheet.text(text, across, y, more);
    across += widthOf(text, font(FIGURE.size)) + 8;
  };
  if (MEASURES[mode].models) {
    for (const { name, letter, colour: its } of map.models) {
      const full = sheet.colour(its.replace("--tb-", ""));
      sheet.rect(across, y - 12, 15, 15, full);
      sheet.text(letter, across + 7.5, y - 0.5, { size: LETTER, bold: true, anchor: "middle", fill: legible(full) });
      across += 21;
      say(name);
      across += 6;
    }
  } else {
    const { low, high } = legendWords(mode, range, values.cells);
    const shade = shaded(stops, [0, 1]);
    say(low);
    for (let step = 0; step < 60; step++) sheet.rect(across + 2 * step, y - 9, 2.1, 9, shade((step + 0.5) / 60));
    const chance = chanceOn(range, values.chance);
    if (chance && chance.at !== null) {
      const at = across + 120 * chance.at;
      sheet.path(`M${at.toFixed(1)} ${y - 12}v15`, { stroke: colour("ink"), wide: 2 });
      sheet.text(chance.words, at, y + 15, { size: 11, anchor: "middle" });
    }
    across += 128;
    say(`${high} ${MEASURES[mode].unit}`);
    if (chance && chance.at === null) say(chance.words);
  }
  if (hatched) {
    across += 12;
    sheet.rect(across, y - 10, 18, 12, colour("faint"));
    sheet.path(slants({ x: across, y: y - 10, width: 18, height: 12 }), { stroke: colour("panel"), wide: 2.5 });
    across += 24;
    say(HATCHED);
  }
  if (cornered) {
    across += 12;
    sheet.path(cornerOf({ x: across, y: y - 10, width: 12, height: 12 }), { fill: colour("ink") });
    across += 18;
    say(CORNERED);
  }
}

// `shown`: what each picture on the page shows, B before A; `words`: the sentence; `settings`: [name, words] of each.
function figureOf(shown, { heading, words, settings, corners }, style) {
  const { width, pad, between, line } = FIGURE;
  const sheet = makeSheet(style);
  const ink = sheet.colour("ink");
  let y = pad + 14;
  sheet.text(heading, pad, y, { size: 16, bold: true, fill: ink });
  y += 26;
  y += sheet.flow(words, pad, y, width - 2 * pad, 14, ink) + line + 4;
  for (const [name, said] of settings) {
    y += sheet.flow([[name ? `${name} ` : "", true], [said]], pad, y, width - 2 * pad, FIGURE.size, sheet.colour("soft")) + line;
  }
  y += 4;
  const pictures = [...shown].reverse();
  const each = (width - 2 * pad - (pictures.length - 1) * between) / pictures.length;
  const found = pictures.map((one, place) => {
    const left = pad + place * (each + between);
    if (pictures.length > 1) sheet.text("AB"[place], left, y + 12, { size: 14, bold: true, fill: ink });
    return sketch(sheet, one, left, y, each, one === shown[0] ? corners : []);
  });
  y += Math.max(...found.map(({ height }) => height)) + 24;
  key(sheet, shown[0], pad, y, { hatched: found.some((one) => one.hatched), cornered: found.some((one) => one.cornered) });
  return { width, height: Math.ceil(y + pad - 8), marks: sheet.marks, family: sheet.family, ground: sheet.colour("panel") };
}

function svgOf({ width, height, marks, family, ground }) {
  const root = document.createElementNS(SVG, "svg");
  const add = (tag, said) => {
    const made = drawn(tag, "", root);
    for (const [name, value] of Object.entries(said)) if (value !== undefined) made.setAttribute(name, value);
    return made;
  };
  root.setAttribute("xmlns", SVG);
  root.setAttribute("viewBox", `0 0 ${width} ${height}`);
  root.setAttribute("width", width);
  root.setAttribute("height", height);
  root.setAttribute("font-family", family);
  add("rect", { width, height, fill: ground });
  for (const { rect, path, text, fill, stroke, wide, opacity, x, y, size, anchor, bold, turn } of marks) {
    if (rect) {
      const [left, top, across, down] = rect.map((value) => Number(value.toFixed(2)));
      add("rect", { x: left, y: top, width: across, height: down, fill });
    } else if (path) add("path", { d: path, fill: fill ?? "none", stroke, "stroke-width": wide, opacity });
    else {
      const turned = turn && `rotate(${turn} ${x.toFixed(1)} ${y.toFixed(1)})`;
      const at = { x: x.toFixed(1), y: y.toFixed(1), "font-size": size, "font-weight": bold ? 700 : undefined };
      add("text", { ...at, fill, "text-anchor": anchor === "start" ? undefined : anchor, transform: turned }).textContent = text;
    }
  }
  return new Blob([new XMLSerializer().serializeToString(root)], { type: "image/svg+xml" });
}

function pngOf({ width, height, marks, family, ground }, scale = 2) {
  const canvas = document.createElement("canvas");
  canvas.width = width * scale;
  canvas.height = height * scale;
  const pen = canvas.getContext("2d");
  pen.scale(scale, scale);
  pen.fillStyle = ground;
  pen.fillRect(0, 0, width, height);
  for (const { rect, path, text, fill, stroke, wide, opacity = 1, x, y, size, anchor, bold, turn } of marks) {
    pen.globalAlpha = opacity;
    pen.fillStyle = fill;
    if (rect) pen.fillRect(...rect);
    else if (path) {
      const shape = new Path2D(path);
      if (fill) pen.fill(shape);
      [pen.strokeStyle, pen.lineWidth] = [stroke, wide];
      if (stroke) pen.stroke(shape);
    } else {
      pen.save();
      pen.translate(x, y);
      if (turn) pen.rotate((turn * Math.PI) / 180);
      pen.font = `${bold ? 700 : 400} ${size}px ${family}`;
      pen.textAlign = anchor === "middle" ? "center" : anchor;
      pen.fillText(text, 0, 0);
      pen.restore();
    }
  }
  return new Promise((done) => canvas.toBlob(done, "image/png"));
}
