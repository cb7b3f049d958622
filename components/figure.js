// Draws a Plotly figure made on the server. "var(--name)" in it is looked up in the page's style, so that one
// figure serves light and dark; it is drawn again when the page changes between them.

const place = element.querySelector(".tb-figure");

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

function draw() {
  const figure = props.value;
  place.hidden = !figure;
  if (!figure || !window.Plotly) return;
  const { data, layout } = resolved(figure, getComputedStyle(element));
  place.style.height = `${layout.height}px`;
  Plotly.react(place, data, layout, {
    displayModeBar: false,
    responsive: true,
    showSendToCloud: false,
    plotlyServerURL: "",
  });
}

watch("value", draw);
new MutationObserver(draw).observe(document.body, { attributes: true, attributeFilter: ["class"] });
draw();
