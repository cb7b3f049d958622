// The tray of runs: one row each, updated in place so that nothing jumps and focus stays where it was.

const list = element.querySelector(".tb-runs");
const empty = element.querySelector(".tb-runs-empty");
const rows = new Map();

function makeRow(id) {
  const parts = {
    row: node("li", "tb-run"),
    pick: node("button", "tb-run-pick"),
    title: node("span", "tb-run-title"),
    chip: node("span", "tb-chip"),
    bar: node("progress", "tb-bar"),
    detail: node("span", "tb-run-detail"),
    cancel: button("Cancel", () => trigger("cancel", { id })),
    again: button("Run again", () => trigger("again", { id })),
  };
  parts.pick.type = "button";
  parts.pick.append(parts.title, parts.chip);
  parts.pick.addEventListener("click", () => trigger("pick", { id }));
  parts.bar.max = 1;
  const foot = node("div", "tb-run-foot");
  foot.append(parts.detail, parts.cancel, parts.again);
  parts.foot = foot;
  parts.row.append(parts.pick, parts.bar, foot);
  return parts;
}

function fill(parts, run) {
  parts.title.textContent = run.title;
  parts.pick.title = `${run.title}, ${run.hint}`; // the title may be cut
  parts.chip.textContent = run.chip;
  parts.chip.dataset.tone = run.tone;
  parts.row.dataset.selected = run.selected;
  parts.pick.setAttribute("aria-pressed", run.selected);
  parts.bar.hidden = run.fraction === null;
  if (run.fraction !== null) parts.bar.value = run.fraction;
  parts.bar.setAttribute("aria-label", `${run.title}: ${run.chip}`);
  saySentence(parts.detail, [run.detail, run.until && `Kept until ${moment(run.until)}`].filter(Boolean).join(" · "));
  parts.cancel.hidden = !run.can_cancel;
  parts.cancel.setAttribute("aria-label", `Cancel ${run.title}`);
  parts.again.hidden = !run.can_repeat;
  parts.again.setAttribute("aria-label", `Run ${run.title} again`);
  parts.foot.hidden = !parts.detail.textContent && !run.can_cancel && !run.can_repeat;
}

function draw() {
  const runs = props.value?.runs ?? [];
  const wanted = new Set(runs.map((run) => run.id));
  for (const [id, parts] of rows) {
    if (wanted.has(id)) continue;
    parts.row.remove();
    rows.delete(id);
  }
  runs.forEach((run, place) => {
    let parts = rows.get(run.id);
    if (!parts) {
      parts = makeRow(run.id);
      rows.set(run.id, parts);
    }
    fill(parts, run);
    if (list.children[place] !== parts.row) list.insertBefore(parts.row, list.children[place] ?? null);
  });
  empty.hidden = runs.length > 0;
}

watch("value", draw);
draw();
