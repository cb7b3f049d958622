"""Put into README.md what is written down elsewhere: the probe format, and what the demo's models score."""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import merge_core.probe  # noqa: E402


def probe_format() -> str:
    """The module's own words on probe files."""
    said = inspect.getdoc(merge_core.probe) or ""
    first, *rest = said.split("\n\n")
    body = "\n\n".join(_fenced(part) for part in rest)
    return f"**{first.partition(':')[0]}** are{first.partition(':')[2].replace(chr(10), ' ')}\n\n{body}"


def _fenced(part: str) -> str:
    lines = part.splitlines()
    indented = [line for line in lines if line.startswith("    ")]
    if not indented:
        return part
    words = [line for line in lines if not line.startswith("    ")]
    block = "\n".join(line[4:] for line in indented)
    return "\n".join([*words, "", "```", block, "```"])


def demo_results() -> str:
    """The table of assets/demo/RESULTS.md with the words above it."""
    text = (ROOT / "assets" / "demo" / "RESULTS.md").read_text()
    return text.partition("\n\n")[2].strip()


def fill(text: str, mark: str, content: str) -> str:
    """`text` with `content` between the marks of that name."""
    pattern = re.compile(rf"<!-- {mark} -->.*?<!-- /{mark} -->", re.DOTALL)
    assert pattern.search(text), f"README.md has no marks called {mark}"
    return pattern.sub(lambda _: f"<!-- {mark} -->\n{content}\n<!-- /{mark} -->", text)


def main() -> None:
    """Rewrite README.md where it changed."""
    path = ROOT / "README.md"
    text = path.read_text()
    made = fill(fill(text, "probe-format", probe_format()), "demo-results", demo_results())
    if made != text:
        path.write_text(made)


if __name__ == "__main__":
    main()
