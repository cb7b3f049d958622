"""The parts of a model card, each Markdown, or "" where there is nothing to say."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from merge_core import __version__
from merge_core.card.hub_links import model_link
from merge_core.card.licence import shown as licence_shown
from merge_core.card.map_picture import FILE as MAP
from merge_core.card.markdown import block, code, listed, table
from merge_core.card.verdict import Measured, mean_of, verdict
from merge_core.interference.chance import chance
from merge_core.interference.report import InterferenceReport
from merge_core.interference.summary import Counts, recipe_density, summarise
from merge_core.plan import MergePlan
from merge_core.preflight.stated import Licence
from merge_core.recipe import Recipe, write_recipe
from merge_core.recipe.published import PublishedModel
from merge_core.recipe.writer import OUR_OWN

Score = Mapping[str, Any]

ACCURACY = "accuracy"
RECIPE_FILE = "mergekit_config.yml"  # the engine writes it beside the weights


def shown(model: PublishedModel) -> str:
    """A model's name: with a link where everybody can follow it."""
    if model.adapter is not None:
        return " with the adapter ".join(shown(part) for part in model.parts)
    if not model.on_hub or model.commit is None:
        return code(model.name)
    return f"[{code(model.name)}]({model_link(model.name, model.commit)})"


def reference(text: str) -> str:
    """A method's reference, with a link to the paper where it names one."""
    return re.sub(r"arXiv:(\d{4}\.\d{5})", r"[arXiv:\1](https://arxiv.org/abs/\1)", text)


def parents_section(
    parents: Sequence[PublishedModel], stated: Sequence[Licence | None], *, has_base: bool
) -> str:
    """Each parent, under which licence, where it is to be found, and at which commit.

    Args:
        parents: the base first, where there is one.
        stated: their licences.
        has_base: whether the first is the base.
    """
    roles = ["base", *["fine-tune"] * (len(parents) - 1)] if has_base else ["model"] * len(parents)
    rows = [
        (shown(model), role, "none named" if licence is None else licence_shown(licence), _commit(model))
        for model, role, licence in zip(parents, roles, stated, strict=True)
    ]
    return f"## Parents\n\n{table(('model', 'role', 'licence', 'commit'), rows, words=4)}"


def recipe_section(recipe: Recipe) -> str:
    """The recipe, which a reader can copy."""
    own = [name for name in OUR_OWN if name in recipe.parameters]
    note = (
        f"\n\nmergekit reads this recipe too, but does not know {listed([code(o) for o in own])}."
        if own
        else ""
    )
    return f"## Recipe\n\n{block(write_recipe(recipe), 'yaml')}{note}"


def disagreement_section(plan: MergePlan, report: InterferenceReport | None) -> str:
    """Where the task vectors contradict each other, in a few numbers beside what chance gives."""
    if report is None or len(report.models) < 2:
        return ""
    found = summarise(report, recipe_density(plan))
    expected = chance(len(report.models), [found.density])
    layers = [counts for counts in found.layers if counts.layer is not None and counts.entries]
    stacks = {counts.stack for counts in layers}
    rows = [("whole model", *_shares(found.total))]
    if len(layers) > 1:
        ranked = sorted(layers, key=lambda counts: counts.conflicted / counts.entries)
        for word, counts in (("most: ", ranked[-1]), ("least: ", ranked[0])):
            rows.append((word + _layer(counts, several=len(stacks) > 1), *_shares(counts)))
    rows.append(("by chance", "–", *_percents(expected.contested[0], expected.conflicted[0])))
    trimmed = "untrimmed" if not plan.method.draws else "whole, before entries are dropped at random"
    if found.density < 1:
        trimmed = f"each trimmed to its largest {100 * found.density:g} % of entries" + _averaged(plan)
    return (
        f"## Where the parents disagree\n\nA task vector is a fine-tune minus the base. Of the {len(report.models)} "
        f"task vectors ({trimmed}), an entry is contested where at least two are nonzero, and in conflict where "
        "two of them have opposite signs. *By chance* is what random, unrelated task vectors of that density give.\n\n"
        + table(("", "entries", "contested", "in conflict", "in conflict, of contested"), rows)
        + (f"\n\n![Share of contested entries in conflict, by layer and module]({MAP})" if layers else "")
    )


def scores_section(scores: Sequence[Score], names: Mapping[str, str]) -> str:
    """Probe results with their intervals and numbers of items, the base and the parents beside the merge.

    Args:
        scores: as a merge job's result has them.
        names: the base and each parent, as scores name them → its public name, Markdown.
    """
    if not scores:
        return ""
    probes = list(dict.fromkeys((str(s["probe"]), str(s["metric"])) for s in scores))
    found = {(s["role"], s["model"], str(s["probe"]), str(s["metric"])): s for s in scores}
    head = [f"{code(p)}, {_words(m)} (n = {_items(scores, p)})" for p, m in probes]
    averaged = [probe for probe in probes if probe[1] == ACCURACY]
    head += ["mean accuracy"] * (len(averaged) > 1)
    models = list(dict.fromkeys((s["role"], s["model"]) for s in scores))
    rows = []
    for role, model in models:
        cells = [_cell(found.get((role, model, *probe))) for probe in probes]
        if len(averaged) > 1:
            cells.append(_mean([found.get((role, model, *probe)) for probe in averaged]))
        rows.append(("**this merge**" if role == "merge" else names.get(model, code(model)), *cells))
    accuracies: dict[str, dict[str, dict[str, Measured]]] = {"base": {}, "parent": {}, "merge": {}}
    for (role, model, probe, metric), s in found.items():
        if metric == ACCURACY:
            known = accuracies[role].setdefault(names.get(model, code(model)), {})
            known[probe] = (s["score"], s["low"], s["high"])
    ours, base = (next(iter(accuracies[role].values()), {}) for role in ("merge", "base"))
    left_out = [shown for model, shown in names.items() if all(s["model"] != model for s in scores)]
    said = verdict(ours, base, accuracies["parent"], unmeasured=bool(left_out))
    lower = [code(p) for p, m in probes if _is_bits(m)]
    notes = [
        said.rule,
        "Brackets are 95 % intervals over the n items.",
        f"Lower is better for {listed(lower)}." if lower else "",
        f"{listed(left_out)} {'were' if len(left_out) > 1 else 'was'} not measured." if left_out else "",
    ]
    parts = ("## Measured", said.sentence, table(("", *head), rows), " ".join(filter(None, notes)))
    return "\n\n".join(filter(None, parts))


def limits_section(plan: MergePlan, template: PublishedModel, scores: Sequence[Score]) -> str:
    """What a reader must not conclude."""
    tried = (
        "Only the probes above were run; how the merge does elsewhere is not known."
        if scores
        else "Nothing has been measured: how well this merge does anything is not known."
    )
    kept = f"Configuration, tokenizer and other files are those of {shown(template)}."
    lines = [
        tried,
        "What its parents get wrong, this merge may get wrong too; their own cards say more.",
        kept,
    ]
    return "## Limits\n\n" + "\n".join(f"- {line}" for line in lines)


def reproduce_section(parents: Sequence[PublishedModel]) -> str:
    """One command that makes these weights again."""
    parts = [part for parent in parents for part in parent.parts]
    local = [code(name) for name in dict.fromkeys(part.name for part in parts if not part.on_hub)]
    folders = f" and the folder{'s' * (len(local) > 1)} {listed(local)}" if local else ""
    where = f"{code(RECIPE_FILE)}{folders} lie{'s' * (not local)}"
    return f"## Reproduce\n\nWith Tiebreak {__version__}, run where {where}:\n\n" + block(
        f"python -m merge_core merge {RECIPE_FILE} merged", "sh"
    )


def _averaged(plan: MergePlan) -> str:
    """What to add to one density that stands for several."""
    densities = {float(q) for t in plan.tensors if t.trim is not None for q in t.trim.density}
    return ", the mean of the recipe's densities" if len(densities) > 1 else ""


def _commit(model: PublishedModel) -> str:
    if model.adapter is not None:
        return listed([_commit(part) for part in model.parts])
    return code(model.commit) if model.commit is not None else "not on the Hub"


def _layer(counts: Counts, several: bool) -> str:
    return code(f"{counts.stack}.{counts.layer}") if several else f"layer {counts.layer}"


def _shares(counts: Counts) -> tuple[str, ...]:
    entries = max(counts.entries, 1)
    return f"{counts.entries:,}", *_percents(counts.contested / entries, counts.conflicted / entries)


def _percents(contested: float, conflicted: float) -> tuple[str, str, str]:
    return _percent(contested), _percent(conflicted), _percent(conflicted / contested) if contested else "–"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _is_bits(metric: str) -> bool:
    return metric.startswith("bits")


def _words(metric: str) -> str:
    return re.sub(r"[^\w ]|_", " ", metric)[:60]


def _items(scores: Sequence[Score], probe: str) -> str:
    return " or ".join(f"{n:,}" for n in dict.fromkeys(s["n"] for s in scores if str(s["probe"]) == probe))


def _cell(score: Score | None) -> str:
    if score is None:
        return "–"
    if _is_bits(str(score["metric"])):
        return f"{score['score']:.3f} ({score['low']:.3f}–{score['high']:.3f})"
    return f"{100 * score['score']:.1f} % ({100 * score['low']:.1f}–{100 * score['high']:.1f})"


def _mean(scores: Sequence[Score | None]) -> str:
    """The mean accuracy with its interval, where every probe has one."""
    known = [(s["score"], s["low"], s["high"]) for s in scores if s is not None]
    if len(known) < len(scores):
        return "–"
    mean = mean_of(known)
    low, high = max(0.0, mean.value - mean.half), min(1.0, mean.value + mean.half)
    return f"{100 * mean.value:.1f} % ({100 * low:.1f}–{100 * high:.1f})"
