"""Where in its source each part of a recipe was read, so that every error names its line."""

from __future__ import annotations

from dataclasses import dataclass, field

from merge_core.errors import UserError

Path = tuple[str | int, ...]  # ("models", 1, "parameters", "weight")


@dataclass
class Lines:
    """The lines of one recipe, and what was noted while reading it.

    Args:
        source: what errors call the text; "" for a recipe made from controls.
    """

    source: str
    notes: list[str] = field(default_factory=list)
    _marks: dict[Path, int] = field(default_factory=dict)

    def mark(self, path: Path, line: int) -> None:
        """Remember that `path` stands on `line`."""
        self._marks[path] = line

    def note(self, line: int, sentence: str) -> None:
        """Keep a sentence about something read and set aside."""
        self.notes.append(f"{self.source}, line {line}: {sentence}")

    def error(self, line: int, message: str, hint: str = "") -> UserError:
        """An error at a line."""
        return UserError(f"{self.source}, line {line}: {message}", hint)

    def error_at(self, path: Path, message: str, hint: str = "") -> UserError:
        """An error at a part of the recipe, or at the nearest part around it whose line is known."""
        if not self.source:
            return UserError(message, hint)
        return self.error(self.line(path), message, hint)

    def line(self, path: Path) -> int:
        """The line of `path` or of the nearest part around it; 1 where none is known."""
        while path and path not in self._marks:
            path = path[:-1]
        return self._marks.get(path, 1)
