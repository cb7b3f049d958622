"""What the models' norms and angles give reason to look into, in plain words."""

from __future__ import annotations

import math
from collections.abc import Sequence

from components import wording
from merge_core.interference import InterferenceReport

FAR_APART = 3.0  # ratio of norms; merges collapse at 5 to 7
HARDLY = 1e-4  # ‖τ‖ / ‖θ0‖; common fine-tunes move a hundred times further
SAME = 1e-6


def model_warnings(report: InterferenceReport, names: Sequence[str]) -> list[str]:
    """One sentence or two per finding.

    Args:
        names: of the report's models, as the page calls them.
    """
    norm = {model.model: model.norm for model in report.norms}
    called = dict(zip(report.models, names, strict=True))
    return [*_still(report, called), *_far_apart(norm, called), *_too_close(report, norm, called)]


def _still(report: InterferenceReport, called: dict[str, str]) -> list[str]:
    found = []
    for model in report.norms:
        if model.norm == 0:
            found.append(f"{called[model.model]} equals the base: it adds nothing to the merge.")
        elif model.relative is not None and model.relative < HARDLY:
            moved = wording.percent(model.relative, 4)
            found.append(
                f"{called[model.model]} hardly differs from the base: it moved by {moved} of the base's norm."
            )
    return found


def _far_apart(norm: dict[str, float], called: dict[str, str]) -> list[str]:
    moving = {model: length for model, length in norm.items() if length > 0}
    if len(moving) < 2:
        return []
    far, near = max(moving, key=lambda m: moving[m]), min(moving, key=lambda m: moving[m])
    ratio = moving[far] / moving[near]
    if ratio <= FAR_APART:
        return []
    return [
        f"{called[far]} moved {ratio:.1f}× further from the base than {called[near]}: it wins most elections. "
        "Consider a lower weight for it."
    ]


def _too_close(report: InterferenceReport, norm: dict[str, float], called: dict[str, str]) -> list[str]:
    found: list[str] = []
    near: list[set[str]] = []
    for pair in report.pairs:
        if pair.cosine is None:
            continue
        a, b = norm[pair.a], norm[pair.b]
        apart = math.sqrt(max(0.0, a * a + b * b - 2 * a * b * pair.cosine))
        if apart <= SAME * max(a, b):
            found.append(
                f"{called[pair.a]} and {called[pair.b]} are equal: together they count twice in every election."
            )
        elif pair.cosine >= 1 - SAME:
            found.append(
                f"{called[pair.a]} and {called[pair.b]} moved in the same direction, one further than the other."
            )
        elif apart < min(a, b):
            near.append({pair.a, pair.b})
    for group in _joined(near):
        names = [called[model] for model in report.models if model in group]
        found.append(
            f"{', '.join(names[:-1])} and {names[-1]} are nearer to each other than to the base: perhaps they "
            "were fine-tuned from another model than this base."
        )
    return found


def _joined(pairs: Sequence[set[str]]) -> list[set[str]]:
    """Groups of models that a chain of pairs connects."""
    groups: list[set[str]] = []
    for pair in pairs:
        touched = [group for group in groups if group & pair]
        groups = [group for group in groups if not group & pair]
        groups.append(pair.union(*touched))
    return groups
