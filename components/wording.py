"""Numbers as a person reads them: counts, sizes, durations, percentages."""

from __future__ import annotations

import re
from itertools import zip_longest

_CODE = re.compile(r"`([^`\n]+)`")
_COMMIT = re.compile(r"@[0-9a-f]{40}\b")
NARROW = "\u202f"  # narrow no-break space, between a number and its unit


def count(n: int) -> str:
    """457 k, 7.2 B: three digits and a letter."""
    for limit, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if n >= limit * 0.9995:
            return f"{_three_digits(n / limit)}{NARROW}{letter}"
    return str(n)


def size(n: int) -> str:
    """Bytes in decimal units, as disks and the Hub count them."""
    for limit, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if n >= limit * 0.9995:
            return f"{_three_digits(n / limit)}{NARROW}{unit}"
    return f"{n}{NARROW}bytes"


def duration(seconds: float) -> str:
    """0.4 s, 12 s, 3 min 20 s, 2 h 5 min."""
    if seconds < 9.95:
        return f"{seconds:.1f}{NARROW}s"
    if seconds < 99.5:
        return f"{seconds:.0f}{NARROW}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}{NARROW}min" + (f" {rest}{NARROW}s" if rest and minutes < 10 else "")
    hours, minutes = divmod(minutes, 60)
    return f"{hours}{NARROW}h" + (f" {minutes}{NARROW}min" if minutes else "")


def percent(share: float, digits: int = 0) -> str:
    """0.2 as "20 %"."""
    return f"{100 * share:.{digits}f}{NARROW}%"


def plain_markdown(text: str) -> str:
    """Text that Markdown shows as it is, what stands between backticks as code."""
    parts = _CODE.split(text)
    plain = [re.sub(r"([\\`*_{}\[\]<>#|!~])", r"\\\1", part) for part in parts[::2]]
    code = [f"`{part}`" for part in parts[1::2]]
    return "".join(word for pair in zip_longest(plain, code, fillvalue="") for word in pair)


def without_commits(text: str) -> str:
    """A sentence about models without the forty digits that pin each to a commit."""
    return _COMMIT.sub("", text)


def number(value: float) -> str:
    """A setting without trailing zeros: 1, 0.6, 1.25."""
    return f"{value:.4g}"


def _three_digits(x: float) -> str:
    return f"{x:.0f}" if x >= 99.95 else f"{x:.1f}" if x >= 9.995 else f"{x:.2f}".rstrip("0").rstrip(".")
