"""What the models' norms and angles give reason to look into: one finding per cause, with the models it concerns.

Of a sample only what its 95 % intervals support is told, and where everything that was read agrees, that it did.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from merge_core.interference.report import InterferenceReport

FAR_APART = 3.0  # ratio of norms; merges collapse at 5 to 7
HARDLY = 1e-4  # ‖τ‖ / ‖θ0‖; common fine-tunes move a hundred times further
SAME = 1e-6

Cause = Literal["equals base", "hardly moved", "norms far apart", "equal", "one direction", "other base"]


@dataclass(frozen=True)
class ModelWarning:
    """A finding.

    Args:
        cause: which.
        models: whom it concerns, as the report spells them.
        message: one sentence or two for a person.
    """

    cause: Cause
    models: tuple[str, ...]
    message: str


def warnings_of(report: InterferenceReport, called: Mapping[str, str] | None = None) -> list[ModelWarning]:
    """What is out of the ordinary with the models of `report`.

    Args:
        report: of one inspection.
        called: what messages call each model; default as the report spells it.
    """
    names = called or {model: model for model in report.models}
    found = [*_still(report, names), *_far_apart(report, names), *_too_close(report, names)]
    return [ModelWarning(cause, models, message) for cause, models, message in found]


_Found = tuple[Cause, tuple[str, ...], str]


def _still(report: InterferenceReport, called: Mapping[str, str]) -> list[_Found]:
    """Models that are the base, or nearly."""
    found: list[_Found] = []
    equal = tuple(m.model for m in report.norms if m.norm == 0)
    if equal:
        many = len(equal) > 1
        text = f"{_listed(equal, called)} {'equal' if many else 'equals'} the base{_read(report)}: "
        found.append(
            ("equals base", equal, text + f"{'they add' if many else 'it adds'} nothing to the merge.")
        )
    moving = [m for m in report.norms if m.norm > 0]
    hardly = {m.model: _high(m.relative, m.relative_high) for m in moving if m.relative is not None}
    hardly = {model: relative for model, relative in hardly.items() if relative < HARDLY}
    if hardly:
        many = len(hardly) > 1
        text = f"{_listed(tuple(hardly), called)} hardly {'differ' if many else 'differs'} from the base: "
        most = f"{'at most ' if many or report.sampled else ''}{max(hardly.values()):.4%}"
        text += f"{'they' if many else 'it'} moved by {most} of the base's norm."
        found.append(("hardly moved", tuple(hardly), text))
    return found


def _far_apart(report: InterferenceReport, called: Mapping[str, str]) -> list[_Found]:
    """The longest task vector beside the shortest, where their norms differ much."""
    moving = [m for m in report.norms if m.norm > 0]
    if len(moving) < 2:
        return []
    far, near = max(moving, key=lambda m: m.norm), min(moving, key=lambda m: m.norm)
    ratio = far.norm / near.norm
    least = _low(far.norm, far.norm_low) / _high(near.norm, near.norm_high)
    if least <= FAR_APART:
        return []
    shortest = _low(near.norm, near.norm_low)
    most = f"{_high(far.norm, far.norm_high) / shortest:.1f}" if shortest > 0 else "more"
    times = f"{ratio:.1f}× ({least:.1f} to {most})" if report.sampled else f"{ratio:.1f}×"
    text = (
        f"{called[far.model]} moved {times} further from the base than {called[near.model]}: "
        "it wins most elections. Consider a lower weight for it."
    )
    return [("norms far apart", (far.model, near.model), text)]


def _too_close(report: InterferenceReport, called: Mapping[str, str]) -> list[_Found]:
    """Groups of models that are alike: equal, of one direction, or nearer to each other than to the base."""
    norm = {m.model: m for m in report.norms}
    alike: dict[Cause, list[set[str]]] = {"equal": [], "one direction": [], "other base": []}
    for pair in report.pairs:
        if pair.cosine is None:
            continue
        short, long = sorted((norm[pair.a], norm[pair.b]), key=lambda m: m.norm)
        a, b, cosine = short.norm, long.norm, _low(pair.cosine, pair.cosine_low)
        apart = math.sqrt(max(0.0, a * a + b * b - 2 * a * b * cosine))
        if apart <= SAME * b:
            alike["equal"].append({pair.a, pair.b})
        elif cosine >= 1 - SAME:
            alike["one direction"].append({pair.a, pair.b})
        # |b − a| < |a| where b < 2a·cos
        elif _high(b, long.norm_high) < 2 * _low(a, short.norm_low) * cosine:
            alike["other base"].append({pair.a, pair.b})
    say: dict[Cause, Callable[[str, int], str]] = {
        "equal": lambda names, many: (
            f"{names} are equal{_read(report)}: together they count {_times(many)} in every election."
        ),
        "one direction": lambda names, many: (
            f"{names} moved in the same direction, some further than others."
            if many > 2
            else f"{names} moved in the same direction, one further than the other."
        ),
        "other base": lambda names, many: (
            f"{names} are nearer to each other than to the base: perhaps they were "
            "fine-tuned from another model than this base."
        ),
    }
    found: list[_Found] = []
    for cause, pairs in alike.items():
        for group in _joined(pairs):
            models = tuple(model for model in report.models if model in group)
            found.append((cause, models, say[cause](_listed(models, called), len(models))))
    return found


def _low(value: float, low: float | None) -> float:
    return value if low is None else low


def _high(value: float, high: float | None) -> float:
    return value if high is None else high


def _read(report: InterferenceReport) -> str:
    """What "equal" is true of."""
    return " in all that was read" if report.sampled else ""


def _times(many: int) -> str:
    return {2: "twice", 3: "three times"}.get(many, f"{many} times")


def _listed(models: Sequence[str], called: Mapping[str, str]) -> str:
    """a · a and b · a, b and c."""
    names = [called[model] for model in models]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _joined(pairs: Sequence[set[str]]) -> list[set[str]]:
    """Groups of models that a chain of pairs connects."""
    groups: list[set[str]] = []
    for pair in pairs:
        touched = [group for group in groups if group & pair]
        groups = [group for group in groups if not group & pair]
        groups.append(pair.union(*touched))
    return groups
