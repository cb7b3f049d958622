"""How a merge stands against the models it is made of by mean accuracy, and what of that may be luck."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Measured = tuple[float, float, float]  # an accuracy from 0 to 1, and the ends of its 95 % interval


@dataclass(frozen=True)
class Mean:
    """A mean accuracy from 0 to 1, and half of its 95 % interval's width."""

    value: float
    half: float


@dataclass(frozen=True)
class Verdict:
    """What is known of a merge in one sentence, and by which rule; both empty where nothing is."""

    sentence: str = ""
    rule: str = ""


def mean_of(scores: Sequence[Measured]) -> Mean:
    """The mean over probes; their items are taken as drawn independently of each other.

    Args:
        scores: of every probe, at least one.
    """
    half = math.sqrt(sum(((high - low) / 2) ** 2 for _, low, high in scores)) / len(scores)
    return Mean(sum(score for score, _, _ in scores) / len(scores), half)


def verdict(
    merge: Mapping[str, Measured],
    base: Mapping[str, Measured],
    tuned: Mapping[str, Mapping[str, Measured]],
    *,
    unmeasured: bool = False,
) -> Verdict:
    """How the merge's mean stands against the base's and the best fine-tune's, over the probes that the merge has.

    The interval of a difference of means is put together from the probes' intervals as if every model had its own
    items. All answer the same ones, which makes differences surer than that: the interval errs on the wide side.

    Args:
        merge, base: probe → accuracy; a base that lacks one of the merge's probes is left out.
        tuned: the name of each fine-tune → the same of it.
        unmeasured: whether there are models without scores, among which a better one may be.
    """
    probes = sorted(merge)
    if not probes:
        return Verdict()

    def mean(found: Mapping[str, Measured]) -> Mean | None:
        return mean_of([found[probe] for probe in probes]) if all(p in found for p in probes) else None

    ours = mean_of([merge[probe] for probe in probes])
    means = {name: known for name, found in tuned.items() if (known := mean(found)) is not None}
    against: list[tuple[str, str, Mean]] = []
    if (known := mean(base)) is not None:
        against.append(("the base", "", known))
    if means:
        best = max(means, key=lambda name: means[name].value)
        against.append((f"the best fine-tune{' measured' * unmeasured}", f", {best}", means[best]))
    if not against:
        return Verdict()
    average = "On average the merge" if len(probes) > 1 else "The merge"
    stands = _joined([_stands(ours, other, who, name) for who, name, other in against])
    halves = [
        f"± {100 * math.hypot(ours.half, other.half):.1f} points against {who}" for who, _, other in against
    ]
    what = "A difference of averages" if len(probes) > 1 else "A difference"
    return Verdict(
        f"{average} is {stands}.",
        f"{what} is clear where it is larger than its 95 % interval, here {' and '.join(halves)}; a smaller one may be "
        "luck. The interval is put together from those of the probes as if each model had answered other items, so it "
        "is rather too wide than too narrow.",
    )


_LUCK = "too little to tell from luck"


def _stands(ours: Mean, other: Mean, who: str, name: str) -> tuple[str, str]:
    """(words, what is to be said of luck) of one comparison, in points that agree with the means as they are shown."""
    shown, theirs = round(100 * ours.value, 1), round(100 * other.value, 1)
    points, which = f"{abs(shown - theirs):.1f} points", "above" if shown > theirs else "below"
    numbers = f"({shown:.1f} against {theirs:.1f})"
    if shown == theirs:
        return f"level with {who}{name} ({shown:.1f})", ""
    if abs(ours.value - other.value) > math.hypot(ours.half, other.half):
        return f"clearly {which} {who}{name}{',' * bool(name)} by {points} {numbers}", ""
    return f"{points} {which} {who}{name} {numbers}", _LUCK


def _joined(parts: Sequence[tuple[str, str]]) -> str:
    words = [text for text, _ in parts]
    if all(luck for _, luck in parts):
        return f"{' and '.join(words)}: {'both ' * (len(parts) > 1)}{_LUCK}"
    said = [f"{text}, which is {luck}" if luck else text for text, luck in parts]
    return (", and " if parts[0][1] else " and ").join(said)
