// Each model's part in a cell: what of it survives the trim, what of that the election outvotes, and how far it moved.

const BY_MODEL = ["kept", "mass", "survived", "lost"];

// map_payload.py's `by_model` → arrays: energy [models × cells], base [cells], and with `elections` what its curves say
// at every few densities [models × cells × steps].
function readByModel(value) {
  if (!value) return null;
  const found = { energy: unpacked(value.energy, Float64Array), base: unpacked(value.base, Float64Array), elections: null, known: [] };
  for (const name of ["inner", "same", "both"]) found[name] = unpacked(value[name], Float64Array);
  if (value.elections) {
    const { election, steps, lowest, bins, ...packed } = value.elections;
    const curves = Object.fromEntries(Object.entries(packed).map(([name, text]) => [name, unpacked(text, Float32Array)]));
    found.elections = { election, steps, lowest, bins, ...curves };
  }
  return found;
}

// "elected by mass", "no election".
const electionWords = ({ election }) => (election === "none" ? "no election" : `elected by ${election}`);

// One number per model of a cell: energy, and its base's; where elections are known, what survives at a density: kept
// entries, mass Σ|τ̂|, energy, and the mass that is lost to the election.
function byModel(map, number, share) {
  const known = map.byModel.known[number]; // rows and sums ask again for what their cells have just asked for
  if (known?.share === share) return known.found;
  const found = reckoned(map, number, share);
  map.byModel.known[number] = { share, found };
  return found;
}

function reckoned(map, number, share) {
  const { energy, base, elections } = map.byModel;
  const cells = map.cells.length;
  const each = (of) => map.models.map((_, model) => of(model * cells + number));
  const found = { energy: each((series) => energy[series]), base: base[number] };
  if (!elections) return found;
  const place = placeOf(elections, share);
  const at = (curve) => each((series) => along(curve, series, elections.steps, place));
  return {
    ...found, kept: at(elections.kept), mass: at(elections.kept_mass), survived: at(elections.kept_energy), lost: at(elections.outvoted),
  };
}

function addByModel(sum, one) {
  if (!sum) return Object.fromEntries(Object.entries(one).map(([name, value]) => [name, Array.isArray(value) ? [...value] : value]));
  sum.base += one.base;
  for (const name of ["energy", ...BY_MODEL]) {
    for (let model = 0; one[name] && model < one[name].length; model++) sum[name][model] += one[name][model];
  }
  return sum;
}

// Of a cell, a row, or all, at everybody's density `share` where the recipe says nothing else.
function byModelOf(map, kind, series, share, own) {
  if (kind === "cell") return byModel(map, series, shareOfCell(series, share, own));
  let sum = null;
  for (const number of cellsOf(map, kind, series)) sum = addByModel(sum, byModel(map, number, shareOfCell(number, share, own)));
  return sum;
}

const total = (values) => values.reduce((sum, value) => sum + value, 0);

// Share of the elected mass that each model has; null where nothing is elected.
function winsOf({ mass, lost }) {
  if (!mass) return null;
  const won = mass.map((value, model) => Math.max(0, value - lost[model]));
  const all = total(won);
  return all > 0 ? won.map((value) => value / all) : null;
}

// "tops 45 %" from what the mode "winner" shows.
function winnerText(value) {
  const { models } = shared.state.map;
  const even = 1 / models.length;
  return `${models[Math.floor(value)].name} ${percent(even + ((value % 1) / 0.999) ** 2 * (1 - even))}`;
}

const ofModels = (of) => (counts) => {
  const by = counts.by?.();
  return by ? of(by, counts) : null;
};
const lostShare = ofModels(({ mass, lost }) => (mass && total(mass) > 0 ? total(lost) / total(mass) : null));
const keptShare = ofModels(({ kept }, { numel }) => (kept && numel > 0 ? total(kept) / (kept.length * numel) : null));
const movedShare = ofModels(({ energy, base }) => (base > 0 ? Math.sqrt(total(energy) / energy.length / base) : null));
const mostWon = ofModels((by) => {
  const wins = winsOf(by);
  return wins && Math.max(...wins);
});
const winner = ofModels((by) => {
  const wins = winsOf(by);
  if (!wins) return null;
  const first = wins.indexOf(Math.max(...wins));
  const even = 1 / wins.length;
  // The model, and how clearly it wins: from an even share, 0, to all, 1; rooted, since most leads are small.
  return first + 0.999 * Math.sqrt(Math.max(0, wins[first] - even) / (1 - even || 1));
});

Object.assign(MEASURES, {
  lost: { family: "lost", label: "Outvoted", unit: "of the surviving mass", whole: "numel", of: lostShare, rate: lostShare },
  kept: { family: "kept", label: "Kept", unit: "of all changes", whole: "numel", of: keptShare, rate: keptShare },
  moved: { family: "moved", label: "Size", unit: "of the base’s norm", whole: "numel", of: movedShare, rate: movedShare, still: true },
  winner: { family: "winner", label: "Winner", unit: "of the elected mass", whole: "numel", of: winner, rate: mostWon, curve: "the winner’s share", models: true },
});
Object.assign(FAMILIES, {
  lost: {
    label: "Outvoted", needs: "elections",
    about:
      "Of all that survives the trim, by absolute value and as the models’ weights count it: the share whose sign loses " +
      "the recipe’s own election and is thrown away. Counted exactly at every fifth density; in between, on a straight line.",
  },
  kept: {
    label: "Kept", needs: "whole model",
    about: "The share of the models’ changes that survives the trim in this cell. Over the whole model it is the density.",
  },
  moved: {
    label: "Size", needs: "energy",
    about:
      "How far the models moved, before any trim: the norm of their changes (the models’ root mean square) over the norm of " +
      "the base. Each cell counts its own weights, the sentence above all of them.",
  },
  winner: {
    label: "Winner", needs: "elections",
    about: "The model with most of the elected mass, as the models’ weights count it. The stronger the colour, the farther it is above an even share.",
  },
});

// What is offered for a map: nothing of single models where it was only sampled, elections among several models, and
// what is kept where a trim over the whole model lets it differ.
function offered(map, family) {
  const { needs } = FAMILIES[family];
  if (!needs) return true;
  if (!map?.byModel) return false;
  if (needs === "elections") return map.models.length > 1;
  return needs === "energy" || map.whole_model;
}

// Whether it must be counted first.
const lacking = (map, family) => ["elections", "whole model"].includes(FAMILIES[family].needs) && !map.byModel.elections;

// "tops 12 %, shoes 9 %": of each model.
const eachModel = (map, values, digits = 0) => map.models.map(({ name }, model) => `${name} ${percent(values[model], digits)}`).join(", ");
const ratios = (parts, wholes) => parts.map((part, model) => (wholes[model] > 0 ? part / wholes[model] : null));

const sizes = (map, { energy, base }) => eachModel(map, energy.map((one) => Math.sqrt(one / base)), 1);

const electionless = (map) => map.byModel.elections.election === "none";

function modelWords(map, family, counts) {
  const by = counts.by();
  if (family === "lost") {
    const share = lostShare(counts);
    if (share === null) return ["Nothing survives.", ""];
    if (electionless(map)) return ["Nobody is outvoted:", " there is no election, and what is opposed cancels out."];
    return [`${finely(share)} outvoted`, ` of what survives, ${electionWords(map.byModel.elections)}. Of its own: ${eachModel(map, ratios(by.lost, by.mass))}.`];
  }
  if (family === "kept") return [`${finely(keptShare(counts))} kept.`, ` ${titled(eachModel(map, by.kept.map((kept) => kept / counts.numel)))}.`];
  if (family === "moved") {
    const share = movedShare(counts);
    if (share === null) return ["The base is zero here.", ""];
    return [`${finely(share)} of the base’s norm`, ` in this cell: ${sizes(map, by)}.`];
  }
  const wins = winsOf(by);
  if (!wins) return ["Nothing survives.", ""];
  const first = wins.indexOf(Math.max(...wins));
  return [`${map.models[first].name} wins`, ` ${finely(wins[first])} of ${electionless(map) ? "what survives" : "the elected mass"}. All: ${eachModel(map, wins)}.`];
}

// The sentence above the map for these modes.
function modelSentence(map, family, { counts }, rows, start, where) {
  const by = counts.by();
  if (family === "moved") {
    const far = extremeLayers(map, rows, false);
    const share = movedShare(counts);
    if (share === null) return [["The base is zero: nothing to compare sizes with."]];
    const where = far ? ` They moved farthest in ${far}.` : "";
    return [["Before any trim, the models moved by "], [finely(share), true], [` of the base’s norm over all weights: ${sizes(map, by)}.${where}`]];
  }
  if (family === "kept") {
    start.push([" of each model’s changes keeps "], [finely(keptShare(counts)), true], [" over all cells."]);
    return where("Most are kept in", false);
  }
  if (family === "lost") {
    if (electionless(map)) return [...start, [", "], ["nobody is outvoted", true], [": there is no election, and what is opposed cancels out."]];
    const shares = ratios(by.lost, by.mass);
    const worst = shares.indexOf(Math.max(...shares.map((share) => share ?? 0)));
    const who = worst < 0 ? "" : ` ${titled(map.models[worst].name)} loses most, ${percent(shares[worst])} of its own.`;
    start.push([`, the election by ${map.byModel.elections.election} throws away `], [finely(lostShare(counts)), true], [` of what survives.${who}`]);
    return where("Most is lost in", false);
  }
  const wins = winsOf(by);
  if (!wins) return [...start, [", nothing survives."]];
  const first = wins.indexOf(Math.max(...wins));
  const leads = rows.filter((value) => value !== null && Math.floor(value) === first).length;
  const layers = rows.length ? `, and leads in ${leads} of ${counted(rows.length, "layer")}` : "";
  return [...start, [", "], [map.models[first].name, true], [electionless(map) ? " has most of what survives, " : " wins the largest share of the elected mass, "], [finely(wins[first]), true], [layers], ["."]];
}
