"""The licence of a merge, as far as its parents' own model cards tell it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from merge_core.card.markdown import code, listed
from merge_core.preflight.stated import Licence


@dataclass(frozen=True)
class Verdict:
    """The merge's licence, and why, in Markdown."""

    licence: Licence
    reason: str


def combined(parents: Sequence[tuple[str, Licence | None]]) -> Verdict:
    """The licence of a merge of `parents`, (name, licence) each: theirs where all name the same, else none."""
    silent = [code(name) for name, licence in parents if licence is None]
    named = {licence for _, licence in parents if licence is not None}
    if not silent and len(named) == 1:
        licence = named.pop()
        if licence.identifier != "other" or licence.name or licence.link:
            return Verdict(licence, f"All parents are under {shown(licence)}, and so is this merge.")
    parts = [
        f"{listed([code(n) for n, found in parents if found == licence])} under {shown(licence)}"
        for licence in dict.fromkeys(found for _, found in parents if found is not None)
    ]
    if silent:
        parts.append(f"{listed(silent)} {'names' if len(silent) == 1 else 'name'} none")
    why = (
        "No parent's card names a licence."
        if not named
        else f"The parents' cards differ: {'; '.join(parts)}."
    )
    return Verdict(
        Licence("other"),
        f"{why} So none is chosen here: the terms of every parent apply, and whoever publishes or uses this merge "
        "has to see whether they can be met together.",
    )


def shown(licence: Licence) -> str:
    """A licence's name, as Markdown."""
    if licence.identifier != "other":
        return code(licence.identifier)
    if licence.name is None and licence.link is None:
        return "a licence of its own"
    return code(licence.name or str(licence.link))
