"""Errors a person can mend, and nothing else.

Anything that is not a `UserError` is a bug: it is logged whole and never shown as a traceback.
"""

from __future__ import annotations

from collections.abc import Sequence


class UserError(Exception):
    """A problem the user can mend.

    Args:
        message: which file, key or field; what was expected; what was found.
        hint: what to do about it, one sentence. May be empty.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class UserErrors(UserError):
    """Several problems that were found at once; its message names each on a line of its own.

    Args:
        problems: at least one.
    """

    def __init__(self, problems: Sequence[UserError]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


class TryAgain(UserError):
    """Nothing is wrong with what was asked for: the same may succeed later, so what was done of it is worth keeping."""
