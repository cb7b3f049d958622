"""The licence of a merge, as far as its parents' own model cards tell it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from merge_core.card.markdown import code, listed
from merge_core.errors import UserError
from merge_core.recipe.yaml_source import Fields, Items, Node, Text, parse_yaml

LARGEST_CARD = 1 << 18  # bytes read of a parent's card; its front matter stands first
_FRONT_MATTER = re.compile(r"\A\s*---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|\Z)", re.DOTALL)
_IDENTIFIER = re.compile(r"[a-z0-9][a-z0-9.+-]{0,63}", re.ASCII)  # the Hub's spelling: apache-2.0, llama3.1


@dataclass(frozen=True)
class Licence:
    """A licence as a model card's metadata names it.

    Args:
        identifier: the Hub's name of it; "other" for one that the Hub has no name for.
        name, link: which, where the identifier is "other"; None where that is not said.
    """

    identifier: str
    name: str | None = None
    link: str | None = None

    def __str__(self) -> str:
        return self.name or self.identifier


@dataclass(frozen=True)
class Verdict:
    """The merge's licence, and why, in Markdown."""

    licence: Licence
    reason: str


def stated_licence(folder: Path | None) -> Licence | None:
    """The licence that the model card in `folder` names; None where there is no card, or none that says it clearly."""
    metadata = _front_matter(folder / "README.md") if folder is not None else None
    if metadata is None:
        return None
    identifier = (_line(metadata.get("license")) or "").lower()
    if not _IDENTIFIER.fullmatch(identifier) or identifier == "unknown":
        return None
    if identifier != "other":
        return Licence(identifier)
    return Licence("other", _line(metadata.get("license_name")), _link(metadata.get("license_link")))


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


def _front_matter(card: Path) -> Fields | None:
    """The metadata of a stranger's model card; None where there is none that can be read."""
    try:
        if not card.is_file():
            return None
        with card.open("rb") as file:
            text = file.read(LARGEST_CARD).decode(errors="replace")
        found = _FRONT_MATTER.match(text)
        return parse_yaml(found[1], card.name) if found else None
    except (OSError, UserError):
        return None


def _line(node: Node | None) -> str | None:
    """Text on one line, also where it stands alone in a list; None of anything else."""
    if isinstance(node, Items) and len(node.items) == 1:
        node = node.items[0]
    clean = " ".join(node.text.split()) if isinstance(node, Text) and not node.is_null else ""
    return clean[:120] if clean and clean.isprintable() else None


def _link(node: Node | None) -> str | None:
    """A web address, or the name of a file beside the card; the Hub takes both."""
    text = _line(node)
    return text if text and re.fullmatch(r"https://[^\s<>\"'`]+|LICENSE[\w.]*", text) else None
