"""One line of a probe file, read key by key, so that every error names file, line and key."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, NoReturn

from merge_core.errors import UserError

LONGEST_TEXT = 200_000  # characters of one text
SHOWN = 60  # characters of a value that an error quotes


@dataclass(frozen=True)
class Fields:
    """The object on one line.

    Args:
        source: the file as errors call it.
        line: from 1.
        values: its keys and values.
    """

    source: str
    line: int
    values: dict[str, Any]

    @classmethod
    def parse(cls, source: str, line: int, raw: bytes) -> Fields:
        """Read one line.

        Raises:
            UserError: it is not one JSON object in UTF-8 whose keys are all different.
        """
        empty = cls(source, line, {})
        try:
            values = json.loads(raw.decode("utf-8"), object_pairs_hook=_without_repeats)
        except UnicodeDecodeError as error:
            empty.fail(f"expected UTF-8, found a byte that is none at position {error.start + 1}.")
        except _Repeated as error:
            empty.fail(f"the key {_quoted(str(error))} stands there twice.", "Keep one.")
        except (ValueError, RecursionError) as error:
            why = (
                error.msg
                if isinstance(error, json.JSONDecodeError)
                else "numbers too long or nested too deep"
            )
            empty.fail(f"expected one JSON object, found something else ({why}).", "Write one object a line.")
        if not isinstance(values, dict):
            empty.fail(f"expected a JSON object, found {shown(values)}.", "Write one object a line.")
        return cls(source, line, values)

    def fail(self, message: str, hint: str = "") -> NoReturn:
        """Raise an error about this line."""
        raise UserError(f"{self.source}, line {self.line}: {message}", hint)

    def wrong(self, key: str, expected: str, hint: str = "") -> NoReturn:
        """Raise an error about what stands under `key`."""
        found = shown(self.values[key]) if key in self.values else "nothing"
        self.fail(f"{key}: expected {expected}, found {found}.", hint)

    def only(self, *keys: str) -> None:
        """Raise unless every key is one of `keys`."""
        for key in self.values:
            if key not in keys:
                self.fail(f"there is no key {_quoted(key)} here.", f"Keys are {', '.join(keys)}.")

    def text(self, key: str, longest: int = LONGEST_TEXT, empty: bool = False) -> str:
        """The text under `key`."""
        value = self.values.get(key)
        if not _is_text(value, longest, empty):
            least = "" if empty else "of at least one character, "
            self.wrong(key, f"a text {least}at most {longest:,} characters long")
        return str(value)

    def texts(self, key: str, least: int, longest: int = LONGEST_TEXT) -> tuple[str, ...]:
        """The list of different texts under `key`."""
        value = self.values.get(key)
        if not isinstance(value, list) or len(value) < least:
            self.wrong(key, f"a list of {least} or more texts")
        for place, text in enumerate(value):
            if not _is_text(text, longest):
                self.fail(
                    f"{key}: expected texts of at most {longest:,} characters, found {shown(text)} at place {place}."
                )
        if len(set(value)) < len(value):
            twice = next(text for place, text in enumerate(value) if text in value[:place])
            self.fail(f"{key}: expected different texts, found {shown(twice)} twice.")
        return tuple(value)

    def place(self, key: str, among: int) -> int:
        """The whole number from 0 to `among` − 1 under `key`."""
        value = self.values.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < among:
            self.wrong(key, f"a whole number from 0 to {among - 1}")
        return int(value)

    def label(self, labels: tuple[str, ...]) -> str:
        """The class under `label`, one of those that the header lists."""
        value = self.values.get("label")
        if value not in labels:
            listed = ", ".join(labels[:12]) + (", …" if len(labels) > 12 else "")
            self.wrong("label", "one of the header's labels", f"They are {listed}.")
        return str(value)


def shown(value: Any) -> str:
    """A value as an error names it."""
    if isinstance(value, str):
        return (
            f"a text of {len(value):,} characters"
            if len(value) > SHOWN
            else _quoted(value)
            if value
            else "an empty text"
        )
    if isinstance(value, list):
        return f"a list of {len(value):,}"
    if isinstance(value, dict):
        return "an object"
    return json.dumps(value)[:SHOWN]


class _Repeated(Exception):
    """A key that stands twice in one object."""


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in pairs:
        if key in values:
            raise _Repeated(key)
        values[key] = value
    return values


def _quoted(text: str) -> str:
    return repr(text if len(text) <= SHOWN else text[:SHOWN] + "…")


def _is_text(value: Any, longest: int, empty: bool = False) -> bool:
    """Half of a surrogate pair is valid JSON and no text: it has no bytes."""
    if not isinstance(value, str) or not (empty or value) or len(value) > longest:
        return False
    return not any("\ud800" <= character <= "\udfff" for character in value)
