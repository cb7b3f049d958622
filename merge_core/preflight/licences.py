"""What well-known licences of models ask of whoever passes a merge on, and which of them get in each other's way.

Never legal advice: it says what a licence is known for, so that its reader knows where to look. A licence that is not
in this table stays unknown.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from merge_core.preflight.stated import Licence


class Kind(Enum):
    """How a licence stands to a merge of what it covers."""

    PERMISSIVE = "permissive"
    SHARE_ALIKE = "share-alike"
    NON_COMMERCIAL = "non-commercial"
    NO_CHANGES = "no changed versions"
    USE_RULES = "with rules of use"
    OF_ITS_OWN = "of its own"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Terms:
    """What a licence is known for.

    Args:
        kinds: how it stands to a merge.
        asks: what it asks of whoever passes a merge on, a clause that follows "it"; "" where that is not known.
    """

    kinds: frozenset[Kind]
    asks: str

    def has(self, kind: Kind) -> bool:
        """True for a licence of this kind, perhaps among others."""
        return kind in self.kinds


def _of(asks: str, *kinds: Kind) -> Terms:
    return Terms(frozenset(kinds), asks)


UNKNOWN = _of("", Kind.UNKNOWN)
OWN = _of("has terms of its own, which its text tells", Kind.OF_ITS_OWN)

_NOTICE = _of("asks to keep its notice", Kind.PERMISSIVE)
_CREDIT = _of("asks to credit its authors and to say that changes were made", Kind.PERMISSIVE)
_FREE = _of("asks for nothing", Kind.PERMISSIVE)
_COPYLEFT = _of("asks that what is made from it be passed on under the same licence", Kind.SHARE_ALIKE)
_NO_COMMERCE = _of("allows no commercial use, neither of it nor of a merge made from it", Kind.NON_COMMERCIAL)
_RAIL = _of(
    "forbids a list of uses, and asks that whoever gets the merge be bound by that list", Kind.USE_RULES
)
_META = (
    "asks to pass on its text, to keep to its list of forbidden uses, {}; the largest companies need another"
)
_BUILT = "to show “Built with {0}”, and to begin the merge's name with “{1}”"

_TERMS: Mapping[str, Terms] = {
    **dict.fromkeys(
        ("mit", "isc", "zlib", "ncsa", "bsd", "postgresql", "ecl-2.0", "ms-pl", "afl-3.0"), _NOTICE
    ),
    **dict.fromkeys(
        ("bsd-2-clause", "bsd-3-clause", "bsd-3-clause-clear", "bsl-1.0", "artistic-2.0"), _NOTICE
    ),
    **dict.fromkeys(("cdla-permissive-1.0", "cdla-permissive-2.0", "odc-by", "openmdw-1.0"), _NOTICE),
    "apache-2.0": _of("asks to keep its notices and to say that files were changed", Kind.PERMISSIVE),
    **dict.fromkeys(("cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0"), _CREDIT),
    **dict.fromkeys(("cc0-1.0", "unlicense", "wtfpl", "0bsd", "pddl"), _FREE),
    **dict.fromkeys(("gpl", "gpl-2.0", "gpl-3.0", "agpl-3.0", "lgpl", "lgpl-2.1", "lgpl-3.0"), _COPYLEFT),
    **dict.fromkeys(("mpl-2.0", "epl-1.0", "epl-2.0", "eupl-1.1", "eupl-1.2", "osl-3.0", "odbl"), _COPYLEFT),
    **dict.fromkeys(("cc-by-sa-3.0", "cc-by-sa-4.0", "gfdl", "cdla-sharing-1.0"), _COPYLEFT),
    **dict.fromkeys(("cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0"), _NO_COMMERCE),
    **dict.fromkeys(("fair-noncommercial-research-license", "apple-amlr", "intel-research"), _NO_COMMERCE),
    **dict.fromkeys(
        ("cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0"),
        _of(
            "allows no commercial use, and asks that what is made from it be passed on under the same licence",
            Kind.NON_COMMERCIAL,
            Kind.SHARE_ALIKE,
        ),
    ),
    "cc-by-nd-4.0": _of("allows no changed version to be passed on, and a merge is one", Kind.NO_CHANGES),
    **dict.fromkeys(
        ("cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0"),
        _of(
            "allows no commercial use, and no changed version to be passed on: a merge is one",
            Kind.NON_COMMERCIAL,
            Kind.NO_CHANGES,
        ),
    ),
    **dict.fromkeys(("openrail", "openrail++", "creativeml-openrail-m", "bigscience-openrail-m"), _RAIL),
    **dict.fromkeys(("bigscience-bloom-rail-1.0", "bigcode-openrail-m"), _RAIL),
    "llama2": _of(_META.format("and not to improve other language models with it"), Kind.OF_ITS_OWN),
    "llama3": _of(_META.format(_BUILT.format("Meta Llama 3", "Llama 3")), Kind.OF_ITS_OWN),
    **{
        name: _of(_META.format(_BUILT.format("Llama", "Llama")), Kind.OF_ITS_OWN)
        for name in ("llama3.1", "llama3.2", "llama3.3", "llama4")
    },
    "gemma": _of(
        "asks to pass on its terms with a note of what was changed, and to bind whoever gets the merge to its list of "
        "forbidden uses",
        Kind.OF_ITS_OWN,
    ),
}


def terms_of(licence: Licence | None) -> Terms:
    """What is known of a licence; `UNKNOWN` where that is nothing."""
    if licence is None:
        return UNKNOWN
    if licence.identifier == "other":
        named = re.sub(r"[^a-z0-9.+-]+", "-", (licence.name or "").lower()).strip("-")
        return _TERMS.get(named, OWN if licence.name or licence.link else UNKNOWN)
    return _TERMS.get(licence.identifier, OWN)


def asked(names: Sequence[str], licence: Licence | None, *, gated: bool = False) -> str:
    """What a licence and a model's owner ask, in one or two sentences.

    Args:
        names: the models under that licence.
        licence: which their cards name.
        gated: their files are open only to accounts that their owners have let in.
    """
    terms = terms_of(licence)
    one = len(names) == 1
    who, are = listed(names), "is" if one else "are"
    if licence is None:
        said = (
            f"{who} {'names' if one else 'name'} no licence, so what it allows is not known: ask its owner."
        )
    elif terms is UNKNOWN:
        said = f"{who} {are} under a licence that the card does not name: ask its owner."
    else:
        said = f"{who} {are} under {licence}, which {terms.asks}."
    agreed = f"{'It is' if one else 'They are'} gated: what was agreed to for access holds too."
    return f"{said} {agreed}" if gated else said


def listed(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def in_each_others_way(named: Sequence[tuple[str, Licence | None]]) -> tuple[str, ...]:
    """Why what some models ask may not be met together, one sentence each; none where nothing is known to be so.

    Args:
        named: (name, licence) of every model that is merged.
    """
    known = [(name, licence, terms_of(licence)) for name, licence in named if licence is not None]
    found: list[tuple[str, str, str]] = []
    for name, licence, terms in known:
        if not terms.has(Kind.SHARE_ALIKE):
            continue
        for other, its, others in known:
            if its == licence or other == name:
                continue
            both = f"{name} ({licence}) and {other} ({its})"
            if others.has(Kind.SHARE_ALIKE):
                if (other, name) not in [(a, b) for a, b, _ in found]:
                    found.append(
                        (name, other, f"{both} each ask that a merge be passed on under their own licence.")
                    )
            elif others.has(Kind.NON_COMMERCIAL) and not terms.has(Kind.NON_COMMERCIAL):
                why = (
                    "the first asks for its own licence, which allows commercial use, the second forbids it."
                )
                found.append((name, other, f"{both} pull apart: {why}"))
            elif others.has(Kind.OF_ITS_OWN) or others.has(Kind.USE_RULES):
                why = "the first asks for its own licence alone, the second for rules of its own beside it."
                found.append((name, other, f"{both} may pull apart: {why}"))
    return tuple(sentence for _, _, sentence in found)


def together(named: Sequence[tuple[str, Licence | None]]) -> str:
    """Whether models may be combined, as far as their licences' names tell.

    Args:
        named: (name, licence) of every model that is merged.
    """
    apart = in_each_others_way(named)
    if apart:
        return f"Whether they may be combined is doubtful: {' '.join(apart)} Read both licences before you publish."
    kinds = {kind for _, licence in named for kind in terms_of(licence).kinds}
    if Kind.UNKNOWN in kinds:
        return "Whether they may be combined is not known: not every model names a licence."
    if Kind.NO_CHANGES in kinds:
        return "A merge may be made, and not passed on: one licence allows no changed versions."
    if kinds == {Kind.PERMISSIVE}:
        return "As far as the licences' names tell, they may be combined and passed on."
    if Kind.OF_ITS_OWN in kinds or Kind.USE_RULES in kinds:
        return "They may be combined as far as their own terms allow, which have to be read; all of them then apply."
    limits = []
    if Kind.NON_COMMERCIAL in kinds:
        limits.append("for no commercial use")
    if Kind.SHARE_ALIKE in kinds:
        limits.append("under the same share-alike licence")
    return f"As far as the licences' names tell, they may be combined and passed on {' and '.join(limits)}."
