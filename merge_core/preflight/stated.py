"""What a model's own card says of it in its front matter: its licence, and what it was made from.

Cards are strangers' texts: what is not of the expected form counts as not said.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from merge_core.checkpoint import Checkpoint
from merge_core.errors import UserError
from merge_core.recipe.yaml_source import Fields, Items, Node, Text, parse_yaml

CARD = "README.md"
LARGEST_CARD = 1 << 18  # bytes read of a card; its front matter stands first
MOST_BASES = 32
_FRONT_MATTER = re.compile(r"\A\s*---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|\Z)", re.DOTALL)
_IDENTIFIER = re.compile(r"[a-z0-9][a-z0-9.+-]{0,63}", re.ASCII)  # the Hub's spelling: apache-2.0, llama3.1
_REPOSITORY = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}", re.ASCII)


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
class Stated:
    """What a card says.

    Args:
        licence: None where it names none, or none clearly.
        bases: repositories that the model was made from, `owner/name`.
    """

    licence: Licence | None = None
    bases: tuple[str, ...] = ()


def stated(checkpoint: Checkpoint) -> Stated:
    """What the model's card says; nothing where there is none, or none that can be read."""
    if checkpoint.adapted is not None:
        return _of_both(stated(checkpoint.adapted.base), stated(checkpoint.adapted.adapter), checkpoint)
    text = checkpoint.start_of(CARD, LARGEST_CARD)
    return Stated() if text is None else read_card(text)


def _of_both(base: Stated, adapter: Stated, checkpoint: Checkpoint) -> Stated:
    """What an adapter's card says; its own settings name its base where the card does not."""
    assert checkpoint.adapted is not None
    trained_on = checkpoint.adapted.adapter.config.get("base_model_name_or_path")
    named = isinstance(trained_on, str) and _REPOSITORY.fullmatch(trained_on)
    bases = adapter.bases or ((str(trained_on),) if named else ())
    return Stated(adapter.licence or base.licence, bases)


@lru_cache(maxsize=256)
def read_card(text: bytes) -> Stated:
    """What a card, or its first bytes, says."""
    found = _FRONT_MATTER.match(text.decode(errors="replace"))
    if found is None:
        return Stated()
    try:
        metadata = parse_yaml(found[1], CARD)
    except UserError:
        return Stated()
    return Stated(_licence(metadata), _bases(metadata.get("base_model")))


def _licence(metadata: Fields) -> Licence | None:
    identifier = (_line(metadata.get("license")) or "").lower()
    if not _IDENTIFIER.fullmatch(identifier) or identifier == "unknown":
        return None
    if identifier != "other":
        return Licence(identifier)
    return Licence("other", _line(metadata.get("license_name")), _link(metadata.get("license_link")))


def _bases(node: Node | None) -> tuple[str, ...]:
    items = node.items[:MOST_BASES] if isinstance(node, Items) else (node,)
    names = [_line(item) for item in items]
    return tuple(dict.fromkeys(name for name in names if name and _REPOSITORY.fullmatch(name)))


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
