// Elements from data. Whatever a stranger may have named goes in as text, never as markup.

function node(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

// Text in a place, what stands between backticks as code.
function saySentence(place, text) {
  place.replaceChildren(...String(text ?? "").split(/`([^`\n]+)`/).map((part, number) => (number % 2 ? node("code", "", part) : part)));
}

function button(label, act) {
  const made = node("button", "tb-small", label);
  made.type = "button";
  made.addEventListener("click", act);
  return made;
}

// A time of the server, on the visitor's own clock: "22:10" today, "Wed 22:10" on another day.
function moment(seconds) {
  const at = new Date(seconds * 1000);
  const today = at.toDateString() === new Date().toDateString();
  const time = { hour: "2-digit", minute: "2-digit" };
  return at.toLocaleString(undefined, today ? time : { weekday: "short", ...time });
}
