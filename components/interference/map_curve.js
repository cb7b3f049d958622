// A curve over density with the chance curve dashed beside it and the present density marked: the scrubber, and the
// drill-down's picture of one cell.

const SVG = "http://www.w3.org/2000/svg";

function drawn(tag, className, parent) {
  const made = document.createElementNS(SVG, tag);
  if (className) made.setAttribute("class", className);
  parent.append(made);
  return made;
}

// The next of 5, 10, 20, 40, 60, 80, 100 % that holds `most`: the top of an axis that starts at 0.
function topOf(most) {
  return [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1].find((top) => most <= top * 0.96) ?? 1;
}

function makeCurve(svg) {
  const parts = {
    band: drawn("path", "tb-curve-band", svg),
    grid: drawn("path", "tb-curve-grid", svg),
    kept: drawn("path", "tb-curve-kept", svg),
    chance: drawn("path", "tb-curve-chance", svg),
    line: drawn("path", "tb-curve-line", svg),
    stem: drawn("path", "tb-curve-stem", svg),
    dot: drawn("circle", "tb-curve-dot", svg),
    value: drawn("text", "tb-curve-value", svg),
    words: drawn("g", "tb-curve-words", svg),
  };
  parts.dot.setAttribute("r", 6);
  let at = null; // what is drawn: size, curves, scale

  function words(x, y, text, anchor) {
    const made = drawn("text", "", parts.words);
    made.setAttribute("x", x);
    made.setAttribute("y", y);
    made.setAttribute("text-anchor", anchor);
    made.textContent = text;
  }

  // `values` and `chance`: a share or null at each of the densities 1/n … n/n; `ranges`: their 95 % intervals.
  function draw(values, chance, size, ranges) {
    const { width, height } = size;
    const left = 40;
    const right = 12;
    const bottom = 18;
    const top = 8;
    const most = Math.max(0.0005, ...values.filter((v) => v !== null), ...chance.filter((v) => v !== null));
    const scale = topOf(most);
    const x = (share) => left + ((width - left - right) * (share - 0.01)) / 0.99;
    const y = (value) => height - bottom - (height - bottom - top) * (value / scale);
    at = { values, chance, x, y, height, bottom, width, left, right };
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.setAttribute("width", width);
    svg.setAttribute("height", height);
    const path = (series) => {
      let d = "";
      series.forEach((value, step) => {
        if (value === null) return;
        d += `${d ? "L" : "M"}${x((step + 1) / series.length).toFixed(1)} ${y(value).toFixed(1)}`;
      });
      return d;
    };
    parts.line.setAttribute("d", path(values));
    parts.chance.setAttribute("d", path(chance));
    const marks = [0.01, 0.2, 0.4, 0.6, 0.8, 1];
    const known = (ranges ?? []).flatMap((range, step) => (values[step] === null ? [] : [{ range: range ?? [values[step], values[step]], step }]));
    const edge = (end, { range, step }) => `${x((step + 1) / values.length).toFixed(1)} ${y(Math.min(range[end], scale)).toFixed(1)}`;
    parts.band.setAttribute("d", known.length ? `M${[...known.map((one) => edge(0, one)), ...known.reverse().map((one) => edge(1, one))].join("L")}Z` : "");
    parts.grid.setAttribute(
      "d",
      `M${left} ${y(0)}H${width - right}M${left} ${y(scale)}H${width - right}M${left} ${y(scale / 2)}H${width - right}` +
        marks.map((mark) => `M${x(mark)} ${y(0)}v4`).join(""),
    );
    parts.words.replaceChildren();
    const digits = scale < 0.01 ? 2 : scale < 0.05 ? 1 : 0;
    words(left - 6, y(0) + 4, "0", "end");
    words(left - 6, y(scale) + 4, percent(scale, digits), "end");
    marks.forEach((mark) => words(x(mark), height - 3, percent(mark), mark === 1 ? "end" : mark < 0.1 ? "start" : "middle"));
  }

  // Moves the mark; the line keeps still.
  function mark(share) {
    if (!at) return;
    const steps = at.values.length;
    const place = Math.min(Math.max(share * steps - 1, 0), steps - 1);
    const low = Math.floor(place);
    const high = Math.min(low + 1, steps - 1);
    const known = at.values[low] !== null && at.values[high] !== null;
    const value = known ? at.values[low] + (place - low) * (at.values[high] - at.values[low]) : null;
    const x = at.x(Math.min(Math.max(share, 0.01), 1));
    const y = at.y(value ?? 0);
    parts.stem.setAttribute("d", `M${x} ${at.y(0)}V8`);
    parts.dot.setAttribute("cx", x);
    parts.dot.setAttribute("cy", y);
    parts.kept.setAttribute("d", `M${at.left} ${at.y(0)}H${x}`);
    // Curves rise: there is room to the upper left, and near the left end, where that is outside, to the upper right.
    const right = x < at.left + 60;
    parts.value.setAttribute("x", x + (right ? 9 : -9));
    parts.value.setAttribute("y", Math.max(y - 8, 12));
    parts.value.setAttribute("text-anchor", right ? "start" : "end");
    parts.value.textContent = value === null ? "" : finely(value); // as the sentences say it
  }

  const shareAt = (x) => 0.01 + (0.99 * (x - at.left)) / (at.width - at.left - at.right);
  return { draw, mark, shareAt };
}
