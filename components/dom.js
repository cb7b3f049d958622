// Elements from data. Whatever a stranger may have named goes in as text, never as markup.

function node(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function button(label, act) {
  const made = node("button", "tb-small", label);
  made.type = "button";
  made.addEventListener("click", act);
  return made;
}
