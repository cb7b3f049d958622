"""Many tensors in few words: grouped by what they are within their layer, with the layers as ranges."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from merge_core.network.layers import locate

MOST = 3  # groups that are named; the rest is counted
LONGEST = 100  # characters of a name


def grouped(names: Iterable[str], most: int = MOST) -> str:
    """`lm_head.weight; self_attn.q_proj.bias in layers 0–31`: tensors outside the layers first, then the largest group.

    Args:
        names: of tensors, as strangers chose them.
        most: how many groups are named.
    """
    groups: dict[tuple[str, str], list[int | None]] = {}
    alone: dict[tuple[str, str], str] = {}
    for name in names:
        layer, module, stack = locate(name)
        groups.setdefault((stack, module), []).append(layer)
        alone[stack, module] = name
    ordered = sorted(groups.items(), key=lambda group: (group[1][0] is not None, -len(group[1])))
    several = len({stack for stack, _ in groups if stack}) > 1
    words = []
    for (stack, module), layers in ordered[:most]:
        numbers = sorted({layer for layer in layers if layer is not None})
        if len(numbers) < 2:
            words.append(_shown(alone[stack, module]))
        else:
            words.append(
                f"{_shown(f'{stack}.…{module}' if several else module)} in layers {_ranges(numbers)}"
            )
    rest = sum(len(layers) for _, layers in ordered[most:])
    if rest:
        words.append(f"and {rest:,} more")
    return "; ".join(words)


def _ranges(numbers: Sequence[int]) -> str:
    """`0–3, 5, 7–9`, of ascending numbers."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    shown = [str(first) if first == last else f"{first}–{last}" for first, last in runs]
    return ", ".join(shown[:6]) + (", …" if len(shown) > 6 else "")


def _shown(name: str) -> str:
    clean = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name[: LONGEST + 1])
    return clean if len(clean) <= LONGEST else clean[: LONGEST - 1] + "…"
