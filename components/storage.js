// What takes room, each with a button that asks once more before it removes.

const list = element.querySelector(".tb-kept");
const empty = element.querySelector(".tb-kept-empty");
const SURE = 4000; // ms to press again

function makeRow(item) {
  const row = node("li", "tb-kept-row");
  const words = node("div");
  words.append(node("b", "tb-kept-name", item.name), node("span", "tb-kept-facts", item.until ? `${item.facts}, kept until ${moment(item.until)}` : item.facts));
  let sure = 0;
  const remove = button("Remove", () => {
    if (!sure) {
      remove.textContent = "Really remove";
      sure = setTimeout(() => {
        sure = 0;
        remove.textContent = "Remove";
      }, SURE);
      return;
    }
    clearTimeout(sure);
    remove.disabled = true;
    trigger("remove", { kind: item.kind, id: item.id });
  });
  remove.setAttribute("aria-label", `Remove ${item.name}`);
  row.append(words, remove);
  return row;
}

function draw() {
  const value = props.value ?? {};
  empty.textContent = value.said ?? "";
  empty.hidden = !value.said;
  list.replaceChildren(...(value.rows ?? []).map(makeRow));
}

watch("value", draw);
draw();
