// Gradio follows the system by putting `dark` on the body; a visitor's own choice stands above that.

const button = element.querySelector("button");
const STORED = "tiebreak-appearance";

function show() {
  button.textContent = document.body.classList.contains("dark") ? "Light" : "Dark";
  button.setAttribute("aria-label", `Switch to ${button.textContent.toLowerCase()}`);
}

function choose(dark) {
  document.body.classList.toggle("dark", dark);
  show();
}

const chosen = localStorage.getItem(STORED);
if (chosen) choose(chosen === "dark");
button.addEventListener("click", () => {
  const dark = !document.body.classList.contains("dark");
  localStorage.setItem(STORED, dark ? "dark" : "light");
  choose(dark);
});
new MutationObserver(show).observe(document.body, { attributes: true, attributeFilter: ["class"] });
show();
