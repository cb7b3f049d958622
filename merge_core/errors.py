"""Errors a person can mend, and nothing else.

Anything that is not a `UserError` is a bug: it is logged whole and never shown as a traceback.
"""

from __future__ import annotations


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
