// The tensor of the chosen cell that is shown by heads or rows: choosing it, asking the server, and drawing the answer.

function makeCellTensor(root, ask) {
  const place = root.querySelector(".tb-cell-blocks");
  const [title, note, work, alert, open, say, bars] = [
    ".tb-h3", ".tb-blocks-note", ".tb-blocks-work", ".tb-alert", ".tb-blocks-open", ".tb-blocks-say", ".tb-blocks-bars",
  ].map((name) => place.querySelector(name));
  const picture = makeBlockPicture(place);
  const { state } = shared;
  const SAMPLED = {
    message: "This map is of a sample; heads and rows are counted from whole weights.",
    hint: "Choose “Download and count exactly” above the map.",
  };
  let linked = new URLSearchParams(location.search).get("tensor"); // for the first map, if its cell has it
  let blocks = null; // what is drawn
  let picks = new Map(); // tensor → its button in the table
  let width = 0;

  // A tensor's name in the table, as a button.
  function pick(name) {
    const made = node("button", "tb-tensor-pick");
    made.type = "button";
    name.split(/(?<=\.)/).forEach((word) => made.append(word, node("wbr"))); // breaks at its dots
    made.addEventListener("click", () => choose(state.tensor === name ? null : name));
    picks.set(name, made);
    return made;
  }

  function choose(name) {
    const cell = state.map.cells[state.cell];
    shared.change({ tensor: name, picked: name === null ? state.picked : null });
    request(name);
    if (name !== null) address(cell.key, name);
    else address(state.picked ? null : cell.key, null);
  }

  function request(name) {
    blocks = null;
    picture.clear();
    if (name === null) ask("");
    else if (state.map.sampled) receive({ state: "problem", tensor: name, ...SAMPLED });
    else {
      receive({ state: "loading", tensor: name, fraction: 0, message: "Counting" });
      ask(name);
    }
    show();
  }

  function address(cell, tensor) {
    const query = new URLSearchParams(location.search);
    for (const [name, value] of Object.entries({ cell, tensor })) {
      if (value) query.set(name, value);
      else query.delete(name);
    }
    const search = query.toString();
    history.replaceState(history.state, "", location.pathname + (search ? `?${search}` : ""));
  }

  // Another map, or another cell: a tensor that it has stays chosen, and is asked for anew where the map is another.
  function renew(names, another) {
    const [first, key] = [linked, state.cell >= 0 && !state.picked ? state.map.cells[state.cell].key : null];
    linked = null;
    if (first !== null && key !== null && names.includes(first)) {
      shared.change({ tensor: first });
      request(first);
    } else if (first !== null) address(key, null);
    else if (state.tensor !== null && !names.includes(state.tensor)) {
      shared.change({ tensor: null });
      address(key, null);
      request(null);
    } else if (state.tensor !== null && another) request(state.tensor);
    show();
  }

  // What the server says; of another tensor than the one that is chosen by now, nothing.
  function receive(value) {
    const is = (name) => value?.state === name && value.tensor === state.tensor;
    if (is("blocks") && value.payload) blocks = readBlocks(JSON.parse(value.payload));
    work.hidden = !is("loading");
    if (is("loading")) {
      const bar = work.querySelector("progress");
      bar.value = value.fraction;
      bar.setAttribute("aria-label", "Counting the tensor");
      work.querySelector("span").textContent = value.message || "Counting";
    }
    alert.hidden = !is("problem");
    saySentence(alert.querySelector("b"), is("problem") ? value.message : "");
    saySentence(alert.querySelector("span"), is("problem") ? value.hint : "");
    show();
  }

  function show() {
    const { tensor, map, cell } = state;
    place.hidden = tensor === null || !map || cell < 0;
    for (const [name, made] of picks) made.setAttribute("aria-pressed", name === tensor);
    open.hidden = blocks === null;
    note.hidden = !blocks?.note;
    if (place.hidden) return;
    const by = { heads: "By head", tokens: "By blocks of tokens", rows: "By blocks of rows" }[blocks?.kind] ?? "By heads or rows";
    title.replaceChildren(`${by}: `);
    tensor.split(/(?<=\.)/).forEach((word) => title.append(word, node("wbr")));
    if (!blocks) return;
    title.append(` (${blocks.shape.map(whole).join("\u00a0×\u00a0")})`);
    note.textContent = blocks.note;
    picture.draw(map, blocks);
    follow();
  }

  function follow() {
    if (!blocks || place.hidden || !bars.clientWidth) return;
    const share = shareOfCell(state.cell, state.share);
    picture.follow(state.mode, share);
    say.replaceChildren(...picture.sentence(share).map(([text, bold]) => (bold ? node("b", "", text) : text)));
    bars.setAttribute("aria-label", `${title.textContent}. Arrow keys move between its parts.`);
  }

  place.querySelector(".tb-blocks-close").addEventListener("click", () => {
    const back = picks.get(state.tensor);
    choose(null);
    back?.focus();
  });
  new ResizeObserver(() => {
    if (bars.clientWidth === width) return;
    width = bars.clientWidth;
    if (blocks && width) show();
  }).observe(bars);

  return {
    pick, renew, receive, follow,
    begin: () => (picks = new Map()),
  };
}
