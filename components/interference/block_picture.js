// One tensor by its heads or rows: a bar for each, chance dashed across, and the same numbers as a table.

const BLOCK_CURVES = [...MAP_CURVES, "kept"];

// tensor_blocks.py's payload → the same with its curves as arrays.
function readBlocks(payload) {
  const all = unpacked(payload.curves, Float32Array);
  const size = all.length / BLOCK_CURVES.length;
  const curves = Object.fromEntries(BLOCK_CURVES.map((name, place) => [name, all.subarray(place * size, (place + 1) * size)]));
  return { ...payload, curves };
}

function makeBlockPicture(root) {
  const [place, foot, details, body] = [".tb-blocks-bars", ".tb-blocks-axis", ".tb-blocks-table", ".tb-blocks-table tbody"].map((name) => root.querySelector(name));
  const HEIGHT = 168;
  const [LEFT, RIGHT, TOP, BOTTOM, GAP] = [44, 8, 10, 34, 14];
  const tip = node("div", "tb-tip");
  const id = `tb-block-${Math.random().toString(36).slice(2)}`;
  let drawn = null; // the blocks, their bars and where they stand
  let at = -1; // the bar under the keyboard
  let hovered = -1;
  tip.append(node("b"), node("div"), node("div"));

  const named = ({ group, label }) => (group ? `${group} ${label}` : label);
  const span = ({ start, stop }, axis) => (stop - start === 1 ? `${axis.slice(0, -1)} ${whole(start)}` : `${axis} ${whole(start)}–${whole(stop - 1)}`);

  function made(tag, attributes, parent) {
    const one = drawnIn(tag, attributes);
    parent.append(one);
    return one;
  }

  function drawnIn(tag, attributes) {
    const one = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) one.setAttribute(name, value);
    return one;
  }

  // Another tensor, or another width.
  function draw(map, blocks) {
    const width = place.clientWidth;
    if (!width) return;
    const groups = blocks.blocks.map(({ group }, number) => number > 0 && group !== blocks.blocks[number - 1].group);
    const gaps = groups.filter(Boolean).length;
    const step = (width - LEFT - RIGHT - gaps * GAP) / blocks.blocks.length;
    let x = LEFT;
    const xs = blocks.blocks.map((_, number) => {
      if (groups[number]) x += GAP;
      x += step;
      return x - step;
    });
    const svg = drawnIn("svg", { class: "tb-curve", viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT });
    const grid = made("path", { class: "tb-curve-grid" }, svg);
    const bars = blocks.blocks.map((_, number) => made("path", { class: "tb-block-bar", role: "option", id: `${id}-${number}` }, svg));
    const line = made("path", { class: "tb-curve-chance" }, svg);
    const words = made("g", { class: "tb-curve-words" }, svg);
    place.replaceChildren(svg);
    drawn = { map, blocks, xs, step, width, bars, grid, line, words, groups };
    at = Math.min(at, bars.length - 1);
    body.replaceChildren(
      ...blocks.blocks.map((block) => {
        const row = node("tr");
        const head = node("th", "tb-row-name", named(block));
        head.scope = "row";
        row.append(head, ...[0, 1, 2, 3, 4].map(() => node("td", "tb-number")));
        return row;
      }),
    );
  }

  function word(x, y, text, anchor) {
    const one = made("text", { x, y, "text-anchor": anchor }, drawn.words);
    one.textContent = text;
  }

  // What the bars show: the map's measure where it is one of counts, else the conflict of contested weights.
  const measureIn = (mode) => (MEASURES[mode].part ? mode : "conflict of contested");

  function lookAtBlock(number, share) {
    const place = placeOf(drawn.map, share);
    const counts = { numel: drawn.blocks.blocks[number].numel };
    for (const name of BLOCK_CURVES) counts[name] = along(drawn.blocks.curves[name], number, drawn.map.steps, place);
    return { counts, chance: chanceAt(drawn.map, place) };
  }

  // Moves with the density and the map's mode.
  function follow(mode, share) {
    if (!drawn) return;
    drawn.mode = measureIn(mode);
    drawn.looks = drawn.bars.map((_, number) => lookAtBlock(number, share));
    const measure = MEASURES[drawn.mode];
    const { looks, bars, xs, step, width } = drawn;
    const values = looks.map(({ counts, chance }) => measure.of(counts, chance));
    const known = values.filter((value) => value !== null);
    const expected = measure.diverging ? null : measure.rate(looks[0].chance);
    const top = topOf(Math.max(0.0005, ...known.map(Math.abs), expected ?? 0));
    const low = measure.diverging ? -top : 0;
    const y = (value) => TOP + ((HEIGHT - TOP - BOTTOM) * (top - value)) / (top - low);
    const inset = step > 6 ? 1.5 : step > 3 ? 0.75 : 0.25;
    bars.forEach((bar, number) => {
      const value = values[number];
      const [from, to] = value === null ? [y(0), y(0)] : [y(Math.max(value, 0)), y(Math.min(value, 0))];
      const height = Math.max(to - from, value === null ? 0 : 1);
      bar.setAttribute("d", `M${(xs[number] + inset).toFixed(2)} ${from.toFixed(2)}h${(step - 2 * inset).toFixed(2)}v${height.toFixed(2)}h${(2 * inset - step).toFixed(2)}Z`);
      bar.dataset.few = value !== null && looks[number].counts.contested < FEW;
      bar.setAttribute("aria-label", spoken(number));
    });
    drawn.grid.setAttribute("d", [low, 0, top].map((value) => `M${LEFT} ${y(value)}H${width - RIGHT}`).join(""));
    drawn.line.setAttribute("d", expected === null ? "" : `M${LEFT} ${y(expected)}H${width - RIGHT}`);
    drawn.words.replaceChildren();
    for (const value of new Set([low, 0, top])) word(LEFT - 6, y(value) + 4, measure.diverging ? points(value) : percent(value, top < 0.05 ? 1 : 0), "end");
    labels();
    fillTable();
    mark();
    if (hovered >= 0) fillTip();
  }

  // Names beneath the bars, as many as there is room for, and what each group is beneath these.
  function labels() {
    const { blocks, xs, step, groups } = drawn;
    const short = ({ label }) => label.replace(/^\D+/, "").replace(/–.*/, "");
    const widest = Math.max(...blocks.blocks.map((block) => short(block).length)) * 6.6 + 6;
    const every = Math.max(1, Math.ceil(widest / step));
    let first = 0;
    blocks.blocks.forEach((block, number) => {
      if (groups[number] || number === 0) {
        first = number;
        if (groups.some(Boolean)) word(xs[number], HEIGHT - 2, block.group, "start");
      }
      if ((number - first) % every === 0) word(xs[number] + step / 2, HEIGHT - BOTTOM + 15, short(block), "middle");
    });
    const { kind, axis } = blocks;
    const which = groups.some(Boolean) ? "" : `${blocks.blocks[0].group} `;
    const few = drawn.bars.some((bar) => bar.dataset.few === "true") ? "; pale: so few weights tell little" : "";
    foot.textContent = (kind === "heads" ? `${which}heads, ${axis} of the weight` : `first of the ${kind} in each block`) + few;
  }

  const spoken = (number) => {
    const { title, words, facts } = about(number);
    return `${title}. ${words.join("")} ${facts}`;
  };

  function about(number) {
    const { blocks, looks, map, mode } = drawn;
    const block = blocks.blocks[number];
    const { counts } = looks[number];
    const few = counts.contested > 0 && counts.contested < FEW ? " So few weights tell little." : "";
    const kept = counts.kept / Math.max(1, counts.numel * map.models.length);
    return {
      title: titled(named(block)),
      words: inWords(mode, looks[number]),
      facts: `${counted(block.numel, "weight")}, ${span(block, blocks.axis)}. Of the models’ changes ${finely(kept)} are kept here.${few}`,
    };
  }

  function fillTable() {
    if (!details.open) return;
    drawn.looks.forEach(({ counts }, number) => {
      const rate = rateOf(counts);
      const texts = [
        whole(counts.numel), percent(counts.numel ? counts.kept / (counts.numel * drawn.map.models.length) : null, 1),
        whole(counts.contested), whole(counts.conflicted), percent(rate, 1),
      ];
      [...body.children[number].children].slice(1).forEach((cell, column) => (cell.textContent = texts[column]));
    });
  }

  // [bold, rest]… of the sentence above the bars.
  function sentence(share) {
    const { looks, blocks, mode } = drawn;
    const measure = MEASURES[mode];
    const values = looks.map(({ counts, chance }, number) => ({ number, value: measure.of(counts, chance), counts }));
    const firm = values.filter(({ value, counts }) => value !== null && (mode === "touched" || counts.contested >= FEW));
    const start = [[`Keeping the largest ${density(share)}, `]];
    if (!firm.length) return [...start, ["in no block do enough weights meet to tell."]];
    const said = (value) => (measure.diverging ? `${points(value, 1)} points` : percent(value, 1));
    const what = { contested: "contested weights", touched: "touched weights", all: "weights" }[measure.base] ?? "weights";
    const [does, most] = {
      touched: ["weights are touched", "most"], beyond: ["conflict lies against chance", "highest"],
    }[measure.family] ?? [`${what} conflict`, "most"];
    const chance = measure.diverging ? "" : ` Chance: ${percent(measure.rate(looks[0].chance), 1)}.`;
    const sorted = firm.sort((one, other) => other.value - one.value);
    const [first, last] = [sorted[0], sorted.at(-1)];
    const bold = ({ number }) => [named(blocks.blocks[number]), true];
    return [
      ...start, [`${does} ${most} in `], bold(first), [`, ${said(first.value)}`],
      ...(sorted.length > 1 ? [[`, and ${most === "most" ? "least" : "lowest"} in `], bold(last), [`, ${said(last.value)}`]] : []),
      [`.${chance}`],
    ];
  }

  // Pointing -----------------------------------------------------------------------------------------------------------

  function mark() {
    drawn?.bars.forEach((bar, number) => {
      const chosen = number === (hovered >= 0 ? hovered : document.activeElement === place ? at : -1);
      bar.toggleAttribute("data-at", chosen);
      bar.setAttribute("aria-selected", number === at);
    });
    if (at >= 0) place.setAttribute("aria-activedescendant", `${id}-${at}`);
  }

  function fillTip(number = hovered) {
    const { title, words, facts } = about(number);
    tip.children[0].textContent = title;
    tip.children[1].replaceChildren(node("b", "", words[0]), words[1]);
    tip.children[2].textContent = facts;
  }

  function showTip(number, x, y) {
    fillTip(number);
    document.body.append(tip);
    const { offsetWidth: wide, offsetHeight: high } = tip;
    tip.style.left = `${Math.max(4, x + 16 + wide > innerWidth ? x - 16 - wide : x + 16)}px`;
    tip.style.top = `${Math.max(4, y + 18 + high > innerHeight ? y - 18 - high : y + 18)}px`;
  }

  function hide() {
    tip.remove();
    hovered = -1;
    mark();
  }

  function under(event) {
    const x = event.clientX - place.getBoundingClientRect().x;
    return drawn.xs.findIndex((left) => x >= left && x < left + drawn.step);
  }

  function point(event) {
    if (!drawn?.looks) return;
    hovered = under(event);
    if (hovered < 0) return hide();
    showTip(hovered, event.clientX, event.clientY);
    mark();
  }

  function atBar() {
    const box = drawn.bars[at].getBoundingClientRect();
    showTip(at, box.right - 16, box.bottom - 12);
    mark();
  }

  place.addEventListener("pointermove", (event) => event.pointerType === "mouse" && point(event));
  place.addEventListener("click", point); // a finger's way to point
  place.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && hide());
  place.addEventListener("blur", hide);
  place.addEventListener("focus", () => {
    if (!drawn?.looks || !place.matches(":focus-visible")) return;
    at = Math.max(at, 0);
    atBar();
  });
  place.addEventListener("keydown", (event) => {
    if (!drawn?.looks || event.ctrlKey || event.metaKey || event.altKey) return;
    const last = drawn.bars.length - 1;
    const moves = { ArrowLeft: at - 1, ArrowRight: at + 1, ArrowUp: at - 1, ArrowDown: at + 1, Home: 0, End: last, PageUp: at - 10, PageDown: at + 10 };
    if (event.key === "Escape") return hide();
    if (!(event.key in moves)) return;
    hovered = -1;
    at = Math.min(Math.max(moves[event.key], 0), last);
    atBar();
    event.preventDefault();
  });
  addEventListener("scroll", () => tip.isConnected && hide(), { passive: true, capture: true });
  details.addEventListener("toggle", () => drawn?.looks && fillTable());

  return {
    draw, follow, sentence,
    clear() {
      drawn = null;
      at = -1;
      hide();
      place.replaceChildren();
    },
  };
}
