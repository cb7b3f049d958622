// Search as you type. Names, licences and errors come from strangers: they go in as text, never as markup.

const input = element.querySelector(".tb-hub-input");
const said = element.querySelector(".tb-hub-said");
const results = element.querySelector(".tb-hub-results");
const offers = element.querySelector(".tb-hub-offers");
const RECENT = "tiebreak-recent-models";
const PAUSE = 250; // ms without a key before the Hub is asked
const KEPT = 6;

let waiting = 0;
let asked = "";

function recent() {
  try {
    const kept = JSON.parse(localStorage.getItem(RECENT) ?? "[]");
    return Array.isArray(kept) ? kept.filter((id) => typeof id === "string").slice(0, KEPT) : [];
  } catch {
    return [];
  }
}

function remember(id) {
  const kept = [id, ...recent().filter((other) => other !== id)].slice(0, KEPT);
  localStorage.setItem(RECENT, JSON.stringify(kept));
}

function search() {
  clearTimeout(waiting);
  asked = input.value.trim();
  said.textContent = asked.length > 1 ? "Asking the Hub …" : "";
  trigger("search", { text: asked });
}

function choose(id, role) {
  const revision = asked.includes(id) ? (props.value?.revision ?? "") : "";
  remember(id);
  said.textContent = `Reading the headers of ${id} …`;
  trigger("choose", { id, revision, role });
}

function makeRow(model) {
  const row = node("li", "tb-hub-row");
  const head = node("div", "tb-hub-name");
  head.append(node("b", "", model.id));
  for (const mark of model.marks) head.append(node("span", "tb-chip", mark));
  row.append(head, node("span", "tb-hub-facts", model.facts));
  if (model.bases.length) row.append(node("span", "tb-hub-facts", `made from ${model.bases.join(", ")}`));
  const acts = node("div", "tb-hub-acts");
  const tune = button("Add as fine-tune", () => choose(model.id, "model"));
  const base = button("Use as base", () => choose(model.id, "base"));
  tune.setAttribute("aria-label", `Add ${model.id} as fine-tune`);
  base.setAttribute("aria-label", `Use ${model.id} as base`);
  tune.disabled = base.disabled = !model.usable;
  acts.append(tune, base);
  if (model.bases.length) acts.append(button("Find its base", () => ask("bases", model.id)));
  else acts.append(button("Its fine-tunes", () => ask("fine-tunes", model.id)));
  row.append(acts);
  return row;
}

function ask(kind, id) {
  said.textContent = "Asking the Hub …";
  trigger("related", { kind, id });
}

function draw() {
  const value = props.value ?? {};
  saySentence(said, value.said);
  if (value.models !== null) results.replaceChildren(...(value.models ?? []).map(makeRow)); // null: leave what is there
  offers.replaceChildren(
    ...(value.offers ?? []).map((offer) => button(offer.words, () => ask(offer.kind, offer.id))),
  );
  if (results.childElementCount || input.value.trim().length > 1) return;
  for (const id of recent()) {
    offers.append(
      button(id, () => {
        input.value = id;
        search();
      }),
    );
  }
}

input.addEventListener("input", () => {
  clearTimeout(waiting);
  waiting = setTimeout(search, PAUSE);
});
input.addEventListener("keydown", (event) => {
  if (event.key === "Enter") search();
  if (event.key === "Escape" && input.value) {
    event.preventDefault(); // it closes the panel only where there is nothing to clear
    input.value = "";
    search();
  }
});
watch("value", draw);
draw();
