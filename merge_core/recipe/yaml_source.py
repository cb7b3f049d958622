"""YAML from strangers → a tree that knows its lines. Only what a recipe needs: no tags, no anchors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import yaml

from merge_core.errors import UserError

LONGEST = 1_000_000  # characters
DEEPEST = 12  # a recipe nests 6 levels: slices, sources, parameters, a parameter, its rules, a gradient
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NUMBER = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_WORDS = {
    **dict.fromkeys(("true", "yes", "on"), True),
    **dict.fromkeys(("false", "no", "off"), False),
    **dict.fromkeys((".inf", "+.inf", "inf", "+inf", "infinity"), float("inf")),
    **dict.fromkeys(("-.inf", "-inf", "-infinity"), float("-inf")),
    **dict.fromkeys((".nan", "nan"), float("nan")),
}


@dataclass(frozen=True)
class Text:
    """A scalar as it was written; what it means depends on where it stands (a revision may be `1.0`)."""

    text: str
    quoted: bool
    line: int

    @property
    def is_null(self) -> bool:
        """True for nothing at all, `~` and `null`."""
        return not self.quoted and self.text in ("", "~", "null", "Null", "NULL")

    @property
    def value(self) -> float | int | bool | str | None:
        """Number, truth value or text. Infinities and NaN are returned as such, for the caller to refuse."""
        if self.quoted:
            return self.text
        if self.is_null:
            return None
        if _NUMBER.fullmatch(self.text):
            number = float(self.text)
            whole = number.is_integer() and abs(number) < 2**53 and self.text.lstrip("+-").isdigit()
            return int(number) if whole else number
        return _WORDS.get(self.text.lower(), self.text)


@dataclass(frozen=True)
class Items:
    """A list."""

    items: tuple[Node, ...]
    line: int


@dataclass(frozen=True)
class Fields:
    """A mapping, in the order written; its keys are unique."""

    entries: tuple[tuple[Text, Node], ...]
    line: int

    def get(self, key: str) -> Node | None:
        """The value of `key`; None where it is absent or null."""
        found = next((node for name, node in self.entries if name.text == key), None)
        return None if isinstance(found, Text) and found.is_null else found


Node = Text | Items | Fields


def describe(node: Node) -> str:
    """What was found, for an error."""
    if isinstance(node, Items):
        return "a list"
    if isinstance(node, Fields):
        return "a mapping"
    if node.is_null:
        return "nothing"
    return f"'{shorten(node.text)}'" + (" in quotes" if node.quoted else "")


def shorten(text: str, most: int = 60) -> str:
    """Text from a stranger, fit for one line of an error."""
    clean = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[: most + 1])
    return clean if len(clean) <= most else clean[: most - 1] + "…"


def parse_yaml(text: str, source: str) -> Fields:
    """The one mapping that `text` holds.

    Raises:
        UserError: no YAML, not one mapping, a key twice, or something a recipe has no use for.
    """
    if len(text) > LONGEST:
        raise UserError(
            f"{source} has {len(text):,} characters, at most {LONGEST:,} are read.", "Is it a recipe?"
        )
    try:
        return _Builder(yaml.parse(text.removeprefix("\ufeff"), Loader=_LOADER), source).document()
    except yaml.MarkedYAMLError as damage:
        line = damage.problem_mark.line + 1 if damage.problem_mark else 1
        raise UserError(
            f"{source}, line {line}: this is not YAML: {damage.problem}.", _mend(text, line)
        ) from None
    except (yaml.YAMLError, UnicodeError):
        raise UserError(
            f"{source} has characters that YAML does not allow.", "Save it as plain UTF-8 text."
        ) from None


def _mend(text: str, line: int) -> str:
    lines = text.splitlines()
    here = lines[line - 1] if line <= len(lines) else ""
    if any(each.lstrip().startswith("```") for each in lines):
        return "Leave out the lines with ```."
    if "\t" in here[: len(here) - len(here.lstrip())]:
        return "Indent with spaces, not with tabs."
    return "Check the indentation and the colons around that line."


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


class _Builder:
    """Turns parser events into nodes without recursing deeper than `DEEPEST`."""

    def __init__(self, events: Iterator[yaml.Event], source: str) -> None:
        self._events = events
        self._source = source

    def document(self) -> Fields:
        root: Node | None = None
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                if root is not None:
                    raise self._refuse(
                        event, "a second document begins.", "A recipe is one document: cut at '---'."
                    )
                root = self._node(next(self._events), 1)
        if root is None or (isinstance(root, Text) and root.is_null):
            raise UserError(f"{self._source} is empty.", "A recipe needs at least merge_method and models.")
        if not isinstance(root, Fields):
            raise UserError(
                f"{self._source}, line {root.line}: expected 'key: value' lines, found {describe(root)}.",
                "A recipe starts with keys such as merge_method: and models:.",
            )
        return root

    def _node(self, event: yaml.Event, level: int) -> Node:
        line = _line(event)
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise self._refuse(
                event, "anchors (&) and aliases (*) are not read.", "Write the value out, or quote it."
            )
        if getattr(event, "tag", None):
            raise self._refuse(event, "tags (!) are not read.", "Write the plain value, or quote it.")
        if level > DEEPEST:
            raise self._refuse(
                event, f"this is nested more than {DEEPEST} levels deep.", "No recipe needs that."
            )
        if isinstance(event, yaml.ScalarEvent):
            return Text(event.value, event.style in ("'", '"', "|", ">"), line)
        if isinstance(event, yaml.SequenceStartEvent):
            items: list[Node] = []
            while not isinstance(following := next(self._events), yaml.SequenceEndEvent):
                items.append(self._node(following, level + 1))
            return Items(tuple(items), line)
        return self._fields(line, level)

    def _fields(self, line: int, level: int) -> Fields:
        entries: dict[str, tuple[Text, Node]] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._node(event, level + 1)
            if not isinstance(key, Text):
                raise self._refuse(event, "a list or mapping cannot be a key.", "Keys are plain words.")
            if key.text in entries:
                first = entries[key.text][0].line
                raise self._refuse(
                    event,
                    f"'{shorten(key.text)}' is here again; it is already on line {first}.",
                    "Keep one of them.",
                )
            entries[key.text] = (key, self._node(next(self._events), level + 1))
        return Fields(tuple(entries.values()), line)

    def _refuse(self, event: yaml.Event, message: str, hint: str) -> UserError:
        return UserError(f"{self._source}, line {_line(event)}: {message}", hint)
