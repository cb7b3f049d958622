// The list of models: base first, then the fine-tunes, each with its colour, facts, verdict and weight.
// Everything a stranger may have named (models, reasons) goes in as text, never as markup.

const list = element.querySelector(".tb-models");
const rows = new Map();

function makeRow(model) {
  const row = node("li", "tb-model");
  const parts = {
    row,
    dot: node("span", "tb-dot"),
    name: node("b", "tb-model-name"),
    chip: node("span", "tb-chip"),
    eye: node("button", "tb-eye"),
    remove: node("button", "tb-remove", "×"),
    facts: node("span", "tb-model-facts"),
    why: node("span", "tb-model-why"),
    weight: node("div", "tb-weight-row"),
    weightText: node("span"),
    output: node("input", "tb-weight-number"),
    slider: node("input", "tb-weight-slider"),
  };
  parts.dot.setAttribute("aria-hidden", "true");
  parts.eye.type = "button";
  parts.eye.append(eye());
  parts.eye.addEventListener("click", () => trigger("toggle", { key: parts.key }));
  parts.remove.type = "button";
  parts.remove.addEventListener("click", () => trigger("remove", { key: parts.key }));
  parts.slider.type = "range";
  parts.output.type = "number";
  parts.output.step = "any";
  const send = (value) => {
    if (Number.isFinite(value)) trigger("weight", { key: parts.key, weight: value });
  };
  parts.slider.addEventListener("input", () => {
    parts.output.value = Number(parts.slider.value).toFixed(2);
  });
  parts.slider.addEventListener("change", () => send(Number(parts.slider.value)));
  parts.output.addEventListener("change", () => {
    parts.slider.value = parts.output.value;
    send(parts.output.valueAsNumber);
  });
  parts.weight.append(parts.weightText, parts.slider, parts.output);
  row.append(parts.dot, parts.name, parts.chip, parts.eye, parts.remove, parts.facts, parts.why, parts.weight);
  return parts;
}

// An open eye; its stroke is struck through where the model is left out.
function eye() {
  const made = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  made.setAttribute("viewBox", "0 0 20 20");
  made.setAttribute("aria-hidden", "true");
  for (const [name, d] of [
    ["tb-eye-lid", "M2 10c2-3.7 4.7-5.5 8-5.5s6 1.8 8 5.5c-2 3.7-4.7 5.5-8 5.5S4 13.7 2 10Z"],
    ["tb-eye-ball", "M10 7.6a2.4 2.4 0 1 0 0 4.8 2.4 2.4 0 0 0 0-4.8Z"],
    ["tb-eye-stroke", "M3.5 16.5l13-13"],
  ]) {
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("class", name);
    path.setAttribute("d", d);
    made.append(path);
  }
  return made;
}

function fill(parts, model) {
  parts.key = model.key;
  parts.dot.style.background = `var(${model.colour})`;
  parts.name.textContent = model.name;
  parts.name.title = model.spelled;
  parts.chip.textContent = model.chip;
  parts.chip.dataset.tone = model.tone;
  parts.chip.title = model.why;
  parts.facts.textContent = model.facts;
  parts.facts.title = model.facts;
  parts.facts.hidden = !model.facts;
  parts.why.textContent = model.tone === "bad" ? model.why : "";
  parts.why.hidden = model.tone !== "bad";
  parts.remove.setAttribute("aria-label", model.role === "base" ? `Remove ${model.full} as base` : `Remove ${model.full}`);
  parts.remove.title = "Remove";
  parts.row.dataset.out = model.left_out;
  parts.eye.hidden = model.role === "base";
  parts.eye.setAttribute("aria-pressed", model.left_out);
  parts.eye.setAttribute("aria-label", `Leave ${model.full} out`);
  parts.eye.title = model.left_out ? "Left out: weight 0. Bring it back" : "Leave it out: weight 0";
  const weighted = model.weight !== null;
  parts.weight.hidden = !weighted;
  if (!weighted) return;
  parts.weightText.textContent = model.weight_note ? `weight ${model.weight_note}` : "weight";
  const name = `Weight of ${model.full}`;
  parts.slider.setAttribute("aria-label", name);
  parts.output.setAttribute("aria-label", `${name}, exact number`);
  parts.slider.min = Math.min(0, model.weight);
  parts.slider.max = Math.max(2, model.weight);
  parts.slider.step = 0.05;
  if (document.activeElement !== parts.output) parts.output.value = model.weight.toFixed(2);
  parts.slider.value = model.weight;
}

function draw() {
  const models = props.value?.models ?? [];
  const wanted = new Set(models.map((model) => model.key));
  for (const [key, parts] of rows) {
    if (!wanted.has(key)) {
      parts.row.remove();
      rows.delete(key);
    }
  }
  models.forEach((model, place) => {
    let parts = rows.get(model.key);
    if (!parts) {
      parts = makeRow(model);
      rows.set(model.key, parts);
    }
    fill(parts, model);
    if (list.children[place] !== parts.row) list.insertBefore(parts.row, list.children[place] ?? null);
  });
  element.querySelector(".tb-models-empty").hidden = models.length > 0;
}

watch("value", draw);
draw();
