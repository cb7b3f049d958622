// Draws a Plotly figure made on the server. "var(--name)" in it is looked up in the page's style, so that one
// figure serves light and dark; it is drawn again when the page changes between them.

const place = element.querySelector(".tb-figure");
const failure = element.querySelector(".tb-figure-failure");

function resolved(part, style) {
  if (typeof part === "string") {
    const name = part.match(/^var\((--[\w-]+)\)$/);
    return name ? style.getPropertyValue(name[1]).trim() : part;
  }
  if (Array.isArray(part)) return part.map((inner) => resolved(inner, style));
  if (part && typeof part === "object") {
    return Object.fromEntries(Object.entries(part).map(([key, inner]) => [key, resolved(inner, style)]));
  }
  return part;
}

async function draw() {
  place.hidden = !props.value;
  failure.hidden = true;
  if (!props.value) return;
  try {
    const Plotly = await loadPlotly();
    const figure = props.value; // what is wanted by now, not when the wait began
    if (!figure) return;
    const { data, layout } = resolved(figure, getComputedStyle(element));
    place.style.height = `${layout.height}px`;
    await Plotly.react(place, data, layout, {
      displayModeBar: false,
      responsive: true,
      showSendToCloud: false,
      plotlyServerURL: "",
    });
  } catch {
    place.hidden = true;
    failure.hidden = false;
  }
}

watch("value", draw);
new MutationObserver(draw).observe(document.body, { attributes: true, attributeFilter: ["class"] });
draw();
