// One of several, in the browser's own list. What stands in it may come from strangers: it goes in as text.

const words = element.querySelector(".tb-choice > span");
const select = element.querySelector("select");

function draw() {
  words.textContent = props.words;
  const options = (props.choices ?? []).map(([text, value]) => {
    const option = node("option", "", text);
    option.value = value;
    return option;
  });
  if (!options.some((option) => option.value === props.value)) {
    const none = node("option", "", options.length ? "Choose one" : "There is none");
    none.disabled = true;
    none.value = "";
    options.unshift(none);
  }
  select.replaceChildren(...options);
  select.value = props.value ?? "";
}

select.addEventListener("change", () => {
  props.value = select.value;
  trigger("input");
});
watch(["value", "choices"], draw);
draw();
