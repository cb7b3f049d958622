"""Which modules a key of an adapter's settings means, told in time linear in a name's length whatever the key."""

from __future__ import annotations

import re

_LONGEST = 200  # characters of a key
_PARTS = re.compile(
    r"(?P<anything>\.\*)|(?P<digits>(?:\\d|\[0-9\])\+)|(?P<any>\.)|\\(?P<escaped>[.\-])"
    r"|(?P<plain>[^\\.*+?^$|(){}\[\]])"
)


class ModulePattern:
    r"""A module's name as PEFT matches it, `(.*\.)?KEY$`: literal, with `.`, `.*`, `\d+` and `[0-9]+` among it.

    Read from the right, where a name of another module differs at once. All the places of the key that a name could
    have reached are followed together, a bit each, so nothing is ever tried twice.

    Args:
        key: as the settings write it; a `^` before it asks for the whole name.

    Raises:
        ValueError: the key is longer than any name, or a regular expression of another form.
    """

    def __init__(self, key: str) -> None:
        inner = key.removeprefix("^")
        parts = list(_PARTS.finditer(inner))
        if len(key) > _LONGEST or sum(len(part[0]) for part in parts) != len(inner):
            raise ValueError(key)
        self._whole = inner != key
        # One bit per place: which characters lead from it to the next, and which leave it where it is.
        self._literal: dict[str, int] = {}
        self._any = self._digit = self._stay = self._stay_at_digit = 0
        place = 1
        for part in reversed(parts):
            if part["anything"]:
                self._stay |= place
                continue
            if part["digits"]:
                self._digit |= place
                self._stay_at_digit |= place << 1
            elif part["any"]:
                self._any |= place
            else:
                character = part["escaped"] or part["plain"]
                self._literal[character] = self._literal.get(character, 0) | place
            place <<= 1
        self._end = place

    def matches(self, module: str) -> bool:
        """Whether the key means the module of this name."""
        reached = 1
        for character in reversed(module):
            if character == "." and reached & self._end and not self._whole:
                return True
            step, stay = self._any | self._literal.get(character, 0), self._stay
            if "0" <= character <= "9":
                step, stay = step | self._digit, stay | self._stay_at_digit
            reached = (reached & step) << 1 | reached & stay
            if not reached:
                return False
        return bool(reached & self._end)
