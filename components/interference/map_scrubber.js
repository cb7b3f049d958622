// The scrubber under the map: one drags along the measured curve. It says what the density control says.

const NARROW_WINDOW = "(max-width: 760px)"; // where the scrubber stays in sight, see map.css
const HOLD = 600; // milliseconds for which the density control's echo is not listened to

function makeScrubber(root) {
  const line = root.querySelector(".tb-scrub-line");
  const curve = makeCurve(line.querySelector("svg"));
  const { state } = shared;
  let dragging = false;
  let commit = 0;

  function curves(map) {
    const { rate, part, whole } = MEASURES[state.mode];
    const steps = map.density.map((share) => lookAt(map, "all", 0, share));
    return [
      steps.map(({ counts }) => rate(counts)),
      steps.map(({ chance }) => rate(chance)),
      map.off && part && steps.map(({ counts }) => shareRange(counts, part, whole)),
    ];
  }

  function draw() {
    const width = line.clientWidth;
    if (!state.map || !width) return;
    const [values, chance, ranges] = curves(state.map);
    curve.draw(values, chance, { width, height: matchMedia(NARROW_WINDOW).matches ? 66 : 92 }, ranges);
    mark();
  }

  function mark() {
    if (!state.map) return;
    curve.mark(state.share);
    const value = MEASURES[state.mode].rate(lookAt(state.map, "all", 0, state.share).counts);
    line.setAttribute("aria-valuenow", shared.percent());
    line.setAttribute("aria-valuetext", `${density(state.share)} kept: ${finely(value)} ${unit()}`);
  }

  const unit = () => MEASURES[state.mode].unit.replace(", against chance", "");

  function set(share) {
    const steps = Math.round(Math.min(Math.max(share, 0.01), 1) * 100) / 100;
    if (steps === state.share) return;
    state.heldUntil = performance.now() + HOLD;
    shared.change({ share: steps });
    if (shared.trims()) trigger("slide", { share: steps });
  }

  function done() {
    clearTimeout(commit);
    state.heldUntil = performance.now() + HOLD;
    if (shared.trims()) trigger("density", { share: state.share });
  }

  line.addEventListener("pointerdown", (event) => {
    if (!state.map || event.button) return;
    dragging = true;
    line.setPointerCapture(event.pointerId);
    set(curve.shareAt(event.offsetX));
  });
  line.addEventListener("pointermove", (event) => {
    if (dragging) set(curve.shareAt(event.clientX - line.getBoundingClientRect().x));
  });
  for (const end of ["pointerup", "pointercancel"]) {
    line.addEventListener(end, () => {
      if (dragging) done();
      dragging = false;
    });
  }
  line.addEventListener("keydown", (event) => {
    const now = state.share;
    const to = {
      ArrowLeft: now - 0.01, ArrowDown: now - 0.01, ArrowRight: now + 0.01, ArrowUp: now + 0.01,
      PageDown: now - 0.1, PageUp: now + 0.1, Home: 0.01, End: 1,
    }[event.key];
    if (to === undefined || !state.map) return;
    event.preventDefault();
    set(to);
    clearTimeout(commit);
    commit = setTimeout(done, 300); // after the last of several presses
  });
  return { draw, mark };
}
