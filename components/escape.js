// Escape closes one panel, and the focus goes back to what opened it, as it does where the panel's own button closes it.

// What lies above the rest comes first. `words`: an editor whose words go with its panel; `taken`: the button that takes them.
const PANELS = [
  { panel: "#tb-notice .tb-notice", close: "#tb-notice button" },
  { panel: "#tb-card", opener: "#tb-card-open", close: "#tb-card-close", words: "#tb-card-editor", taken: "#tb-card-save" },
  { panel: "#tb-recipe-panel", opener: "#tb-recipe-button", close: "#tb-recipe-close", words: "#tb-recipe-text", taken: "#tb-apply" },
  { panel: "#tb-add-panel", opener: "#tb-add", close: "#tb-add" },
  { panel: ".tb-map-about", opener: ".tb-map-ask", close: ".tb-map-ask" },
];

const part = (selector) => document.querySelector(selector);
const isShown = (selector) => Boolean(part(selector)?.getClientRects().length);
let written = ""; // the editor that holds words of which nothing was made yet

for (const type of ["input", "paste"]) {
  document.addEventListener(type, ({ target }) => {
    written = PANELS.find(({ words }) => words && target.closest?.(words))?.words ?? written;
  });
}

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || event.defaultPrevented) return;
  const open = PANELS.filter(({ panel }) => isShown(panel));
  const top = open.find(({ panel }) => part(panel).contains(document.activeElement)) ?? open[0];
  if (!top) return;
  // No key throws words away; but it leads out of the editor, where Tab writes a tab.
  if (top.words && top.words === written) return part(top.close).focus();
  part(top.close).click();
  if (top.opener) part(top.opener).focus();
});

document.addEventListener("click", ({ target }) => {
  const at = (selector) => selector && target.closest?.(selector);
  if (PANELS.some(({ close, taken, words }) => words && (at(close) || at(taken)))) written = "";
  const closed = PANELS.find(({ close, opener }) => opener && opener !== close && at(close));
  if (closed) part(closed.opener).focus();
});
