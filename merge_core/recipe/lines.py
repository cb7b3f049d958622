"""Where in its source each part of a recipe was read, so that every error names its line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from merge_core.errors import UserError, UserErrors

MOST_TOLD = 20  # mistakes; whoever has more begins with these

Path = tuple[str | int, ...]  # ("models", 1, "parameters", "weight")


class Mistake(UserError):
    """Something wrong with one line of a recipe."""

    def __init__(self, line: int, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.line = line


@dataclass
class Lines:
    """The lines of one recipe, and what was noted or found wrong while reading it.

    Args:
        source: what errors call the text; "" for a recipe made from controls.
    """

    source: str
    notes: list[str] = field(default_factory=list)
    _marks: dict[Path, int] = field(default_factory=dict)
    _mistakes: list[Mistake] = field(default_factory=list)

    def mark(self, path: Path, line: int) -> None:
        """Remember that `path` stands on `line`."""
        self._marks[path] = line

    def note(self, line: int, sentence: str) -> None:
        """Keep a sentence about something read and set aside."""
        self.notes.append(f"{self.source}, line {line}: {sentence}")

    def error(self, line: int, message: str, hint: str = "") -> Mistake:
        """An error at a line."""
        return Mistake(line, f"{self.source}, line {line}: {message}", hint)

    def error_at(self, path: Path, message: str, hint: str = "") -> Mistake:
        """An error at a part of the recipe, or at the nearest part around it whose line is known."""
        line = self.line(path)
        return self.error(line, message, hint) if self.source else Mistake(line, message, hint)

    @contextmanager
    def gathering(self) -> Iterator[None]:
        """Go on after a mistake found in here: what stands beside it is read too."""
        try:
            yield
        except Mistake as mistake:
            self.keep(mistake)

    def keep(self, mistake: Mistake) -> None:
        """Gather a mistake."""
        self._mistakes.append(mistake)

    @property
    def sound(self) -> bool:
        """False once a mistake was gathered."""
        return not self._mistakes

    def tell(self) -> None:
        """Raise what was gathered, by line.

        Raises:
            UserError: the mistake, or `UserErrors` where there are several.
        """
        found = sorted(self._mistakes, key=lambda mistake: mistake.line)
        if len(found) == 1:
            raise found[0]
        if found:
            more = len(found) - MOST_TOLD
            rest = [UserError(f"There are {more} more.")] if more > 0 else []
            raise UserErrors([*found[:MOST_TOLD], *rest])

    def line(self, path: Path) -> int:
        """The line of `path` or of the nearest part around it; 1 where none is known."""
        while path and path not in self._marks:
            path = path[:-1]
        return self._marks.get(path, 1)
