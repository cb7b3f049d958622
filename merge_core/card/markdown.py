"""Markdown that shows strangers' words as they are: no link, no markup, no HTML comes out of a name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

LONGEST = 120  # characters of one name


def code(text: str) -> str:
    """`text` as it is, on one line, between as many backticks as it takes."""
    clean = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in " ".join(text.split()))
    if len(clean) > LONGEST:
        clean = clean[: LONGEST - 1] + "…"
    if not clean:
        return "(no name)"
    fence = "`" * (_longest_run(clean) + 1)
    space = " " if clean.startswith("`") or clean.endswith("`") else ""
    return f"{fence}{space}{clean}{space}{fence}"


def block(text: str, language: str) -> str:
    """`text` as a block of code, whatever it holds."""
    fence = "`" * max(3, _longest_run(text) + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], words: int = 1) -> str:
    """A table of ready Markdown: its first `words` columns flush left, the others, which are numbers, flush right."""
    rule = [":--" if column < words else "--:" for column in range(len(head))]
    return "\n".join((_row(head), _row(rule), *(_row(row) for row in rows)))


def listed(items: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join(filter(None, (", ".join(items[:-1]), items[-1] if items else "")))


def _row(cells: Sequence[str]) -> str:
    # Within a table a bar ends its cell even between backticks, unless a backslash stands before it.
    return "| " + " | ".join(re.sub(r"(?<!\\)\|", r"\\|", cell) for cell in cells) + " |"


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)
