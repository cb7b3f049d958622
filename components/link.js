// Keeps the address bar telling what is on the page, and copies it. The server sends the query, already encoded.

const button = element.querySelector("button");

function show() {
  const query = new URLSearchParams(location.search);
  query.delete("recipe");
  query.delete("run");
  for (const [name, text] of Object.entries(props.value ?? {})) query.set(name, text);
  const search = query.toString();
  history.replaceState(history.state, "", location.pathname + (search ? `?${search}` : ""));
}

async function copy() {
  let copied = true;
  try {
    await navigator.clipboard.writeText(location.href);
  } catch {
    copied = false; // no clipboard outside https and localhost: leave the address where it can be copied by hand
    window.prompt("Copy this link", location.href);
  }
  if (!copied) return;
  button.textContent = "Copied";
  setTimeout(() => (button.textContent = "Copy link"), 1600);
}

button.addEventListener("click", copy);
watch("value", show);
