"""One tensor, block by block, as text."""

from __future__ import annotations

from merge_core.cli.tables import percents, table
from merge_core.cli.terminal import plain
from merge_core.interference.block_counts import BlockCounts
from merge_core.interference.chance import chance


def blocks_text(found: BlockCounts, density: float, voters: int) -> str:
    """A tensor's counts by block at the density of the grid that is nearest to the one asked for.

    Args:
        found: the counts.
        density: a share.
        voters: how many models vote; chance is reckoned for those.
    """
    at = min(range(len(found.density)), key=lambda i: abs(found.density[i] - density))
    rows = []
    for number, block in enumerate(found.blocks.blocks):
        entries = max(1, found.numel[number])
        counts = (found.touched[number][at], found.contested[number][at], found.conflicted[number][at])
        kept = sum(row[at] for row in found.kept[number]) / (entries * max(1, len(found.models)))
        told = percents(*(count / entries for count in counts))
        rows.append(
            (f"{block.group} {block.label}".strip(), f"{found.numel[number]:,}", f"{kept:.1%}", *told)
        )
    expected = chance(voters, [found.density[at]])
    by_chance = percents(expected.touched[0], expected.contested[0], expected.conflicted[0])
    rows.append(("chance", "–", f"{found.density[at]:.1%}", *by_chance))
    shape = " × ".join(f"{n:,}" for n in found.shape) or "one number"
    title = f"{plain(found.tensor)}, {shape}: each task vector trimmed to density {found.density[at]:g}"
    head = (found.blocks.kind, "entries", "kept", "touched", "contested", "conflicted", "of contested")
    return "\n\n".join(part for part in (title, table(head, rows), found.blocks.note) if part)
