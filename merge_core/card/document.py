"""MergePlan and what was measured → a model card, which says what is known and no more."""

from __future__ import annotations

from collections.abc import Sequence

from merge_core.card import sections
from merge_core.card.licence import combined
from merge_core.card.markdown import code, listed
from merge_core.card.metadata import front_matter
from merge_core.card.sections import Score
from merge_core.interference.report import InterferenceReport
from merge_core.plan import MergePlan
from merge_core.preflight.stated import stated
from merge_core.recipe.published import published_models, published_recipe

MOST_NAMED = 4  # models in the title


def model_card(
    plan: MergePlan, *, scores: Sequence[Score] = (), report: InterferenceReport | None = None
) -> str:
    """The card of a merge: front matter for the Hub, then prose. No path of this machine is in it.

    Folders are called by their names alone, here and in the folder's `mergekit_config.yml`: what is published with a
    merge must not tell how its author's disk is laid out. Whoever has the same folders side by side can merge again.

    Args:
        plan: what was merged.
        scores: probe results of the base, the parents and the merge, as a merge job's result has them.
        report: where the parents disagree; None where that was not looked at.
    """
    commits = plan.commits
    models = published_models(plan.recipe, commits)
    named = {str(ref): model for ref, model in models.items()}
    base = named[str(plan.recipe.base)] if plan.base is not None else None
    merged = [named[plan.names[m]] for m in plan.listed]
    parents = [*([base] if base else []), *merged]
    checkpoints = [*([plan.base] if plan.base else []), *(plan.models[m] for m in plan.listed)]
    licences = [stated(checkpoint).licence for checkpoint in checkpoints]
    licence = combined([(parent.name, found) for parent, found in zip(parents, licences, strict=True)])
    ours = [score for score in scores if score["role"] == "merge"]
    subject = [parent.name for parent in merged] if len(merged) <= MOST_NAMED else []
    what = f"{plan.method.title} merge of "
    title = what + (listed(subject) or f"{len(merged)} models")
    heading = what + (listed([code(name) for name in subject]) or f"{len(merged)} models")
    names = {spelling: sections.shown(model) for spelling, model in named.items()}
    parts = (
        f"# {heading}",
        _introduction(plan, sections.shown(base) if base else None, len(merged)),
        sections.parents_section(parents, licences, has_base=base is not None),
        sections.recipe_section(published_recipe(plan.recipe, commits)),
        sections.disagreement_section(plan, report),
        sections.scores_section(scores, names),
        sections.limits_section(plan, base or merged[0], ours),
        f"## Licence\n\n{licence.reason}",
        sections.reproduce_section(parents),
    )
    return (
        front_matter(plan, title, parents, licence.licence, ours)
        + "\n"
        + "\n\n".join(filter(None, parts))
        + "\n"
    )


def _introduction(plan: MergePlan, base: str | None, count: int) -> str:
    what = f"{count} fine-tunes of {base}" if base else f"{count} models"
    if count == 1:
        what = f"one fine-tune of {base}" if base else "one model"
    return (
        f"These weights were computed from {what}, without training. The method is "
        f"{plan.method.title} ({sections.reference(plan.method.reference)})."
    )
