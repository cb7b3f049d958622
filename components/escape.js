// Escape closes one panel, and the focus goes back to what opened it, as it does where the panel's own button closes it.

// What lies above the rest comes first. `words`: an editor whose words go with its panel; `taken`: the button that takes them.
const NOTICE = { panel: "#tb-notice .tb-notice", close: "#tb-notice button" };
const PANELS = [
  NOTICE,
  { panel: "#tb-card", opener: "#tb-card-open", close: "#tb-card-close", words: "#tb-card-editor", taken: "#tb-card-save" },
  { panel: "#tb-recipe-panel", opener: "#tb-recipe-button", close: "#tb-recipe-close", words: "#tb-recipe-text", taken: "#tb-apply" },
  { panel: "#tb-add-panel", opener: "#tb-add", close: "#tb-add" },
  { panel: ".tb-map-about", opener: ".tb-map-ask", close: ".tb-map-ask" },
];

const part = (selector) => document.querySelector(selector);
const isShown = (selector) => Boolean(part(selector)?.getClientRects().length);
const FIELDS = "input:not([type=range], [type=radio], [type=checkbox]), textarea, select";

// An editor's words by its selector: as they stood before the visitor's hand, as that left them, and as they were
// given to the server, which may yet refuse them. What the server writes over them is no longer the visitor's.
const before = new Map();
const mine = new Map();
const offered = new Map();
const editorOf = (target) => PANELS.find(({ words }) => words && target.closest?.(words))?.words;

// CodeMirror draws only the lines in sight; its document has them all.
function textOf(words) {
  const content = part(`${words} .cm-content`);
  const view = (content?.cmTile ?? content?.cmView)?.view;
  return view?.state.doc.toString() ?? content?.innerText;
}

function note(words) {
  if (textOf(words) === before.get(words)) mine.delete(words);
  else mine.set(words, textOf(words));
}

function wouldLose(words) {
  if (part(words)?.contains(document.activeElement)) note(words);
  return mine.has(words) && mine.get(words) === textOf(words);
}

function refuse() {
  for (const [words, text] of offered) mine.set(words, text);
  offered.clear();
}

document.addEventListener("focusin", ({ target }) => {
  const words = editorOf(target);
  if (words && !(mine.has(words) && mine.get(words) === textOf(words))) before.set(words, textOf(words));
});

document.addEventListener("focusout", ({ target }) => {
  const words = editorOf(target);
  if (words && textOf(words) !== undefined) note(words);
});

new MutationObserver(() => {
  if (isShown(NOTICE.panel)) refuse();
}).observe(document.body, { subtree: true, attributeFilter: ["hidden"] });

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || event.defaultPrevented) return;
  const open = PANELS.filter(({ panel }) => isShown(panel));
  const around = open.find(({ panel }) => part(panel).contains(document.activeElement));
  // A field outside every panel keeps the focus: from there only the notice closes, which has nothing to lose.
  if (open[0] === NOTICE) return part(NOTICE.close).click();
  const top = around ?? (document.activeElement.matches(FIELDS) ? undefined : open[0]);
  if (!top) return;
  // No key throws words away; but it leads out of the editor, where Tab writes a tab.
  if (top.words && wouldLose(top.words)) return part(top.close).focus();
  part(top.close).click();
  if (top.opener) part(top.opener).focus();
});

document.addEventListener("click", ({ target }) => {
  const at = (selector) => selector && target.closest?.(selector);
  if (at(NOTICE.close)) refuse();
  for (const { opener, close, words, taken } of PANELS.filter(({ words }) => words)) {
    if (at(taken) && mine.has(words)) offered.set(words, mine.get(words));
    if (at(opener) || at(close)) offered.delete(words);
    if (at(opener) || at(close) || at(taken)) mine.delete(words);
  }
  const closed = PANELS.find(({ close, opener }) => opener && opener !== close && at(close));
  if (closed) part(closed.opener).focus();
});
