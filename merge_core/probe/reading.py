"""Probe files: read line by line, everything checked, nothing trusted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from merge_core.errors import UserError
from merge_core.probe.causal_language_modelling import CausalLanguageModelling
from merge_core.probe.fields import Fields
from merge_core.probe.image_classification import ImageClassification
from merge_core.probe.multiple_choice import MultipleChoice
from merge_core.probe.probe_set import Kind, ProbeSet
from merge_core.probe.text_classification import TextClassification

LARGEST_FILE = 64 << 20  # bytes
LONGEST_LINE = 8 << 20  # bytes
MOST_ITEMS = 20_000
LONGEST_NAME = 60  # characters
LONGEST_LABEL = 200

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (ImageClassification(), TextClassification(), MultipleChoice(), CausalLanguageModelling())
}


def load_probe(path: Path) -> ProbeSet:
    """Read and check a probe file; `merge_core.probe` says what it looks like.

    Raises:
        UserError: names file, line and key, what was expected and what was found.
    """
    source = str(path)
    lines = _lines(path, source)
    first = next(lines, None)
    if first is None:
        raise UserError(f"{source} is empty; expected a probe's header in its first line.")
    name, kind, labels = _header(first)
    items: list[Any] = []
    for fields in lines:
        if len(items) == MOST_ITEMS:
            fields.fail(f"expected at most {MOST_ITEMS:,} items.", "Keep a sample of them.")
        items.append(kind.read(fields, labels))
    if len(items) < kind.least_items:
        raise UserError(
            f"{source}: expected {kind.least_items} items or more, found {len(items)}.",
            "Write one item a line under the header.",
        )
    return ProbeSet(name, kind, labels, tuple(items))


def _lines(path: Path, source: str) -> Iterator[Fields]:
    """The objects of a file, one a line; no more than one line is held."""
    try:
        if not path.exists():
            raise UserError(
                f"There is no probe file {source}.", "Relative paths start at the working directory."
            )
        if not path.is_file():
            raise UserError(f"{source} is not a file.", "Name a JSONL file.")
        if path.stat().st_size > LARGEST_FILE:
            raise UserError(
                f"{source} is larger than {LARGEST_FILE >> 20} MiB.", "Keep a sample of its items."
            )
        with path.open("rb") as file:
            number = 0
            while raw := file.readline(LONGEST_LINE + 1):
                number += 1
                if len(raw) > LONGEST_LINE:
                    raise UserError(f"{source}, line {number}: expected at most {LONGEST_LINE >> 20} MiB.")
                if raw.strip():
                    yield Fields.parse(source, number, raw)
    except OSError as error:
        raise UserError(f"{source} cannot be read: {error.strerror}.", "Make it readable.") from None


def _header(fields: Fields) -> tuple[str, Kind, tuple[str, ...]]:
    """(name, kind, labels) from a file's first object."""
    if "probe" not in fields.values:
        fields.wrong("probe", "the probe's name", 'The first line is a header: {"probe": …, "kind": …}.')
    fields.only("probe", "kind", "labels", "about")
    name = fields.text("probe", LONGEST_NAME)
    if not name.isprintable() or not name.strip():
        fields.wrong("probe", "a name of printable characters")
    spelled = fields.values.get("kind")
    kind = KINDS.get(spelled) if isinstance(spelled, str) else None
    if kind is None:
        fields.wrong("kind", f"one of {', '.join(KINDS)}")
    if "about" in fields.values:
        fields.text("about")
    if kind.has_labels:
        return name, kind, fields.texts("labels", 2, LONGEST_LABEL)
    if "labels" in fields.values:
        fields.fail(f"labels: a probe of kind {kind.name} has none.", "Leave the key out.")
    return name, kind, ()
