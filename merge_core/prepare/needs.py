"""Room on the disk: what a piece of work will write, and whether that fits."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from merge_core.checkpoint import Checkpoint
from merge_core.checkpoint.lora import parts_of
from merge_core.errors import UserError
from merge_core.recipe import ModelRef

if TYPE_CHECKING:
    from merge_core.hub import HubClient

SPARE = 64 << 20  # bytes left free on a disk


@dataclass(frozen=True)
class Needs:
    """What a piece of work will write.

    Args:
        downloads: bytes still to be fetched, by `owner/name@commit`.
        output: bytes of the model that is made; 0 where none is.
    """

    downloads: Mapping[str, int] = field(default_factory=dict)
    output: int = 0

    @property
    def download(self) -> int:
        """Bytes still to be fetched in all."""
        return sum(self.downloads.values())


def needs_of(
    checkpoints: Mapping[ModelRef, Checkpoint], hub: HubClient | None = None, output: int = 0
) -> Needs:
    """What it takes to have all `checkpoints` here, and to write `output` bytes.

    Args:
        checkpoints: opened models.
        hub: where those were opened that are not here; None uses the default client, made only if it is needed.
        output: bytes, see `preflight.Verdict.bytes_out`.
    """
    parts = [part for checkpoint in checkpoints.values() for part in parts_of(checkpoint)]
    absent = {f"{ModelRef.parse(p.ref).path}@{p.commit}": p for p in parts if p.root is None}
    if absent and hub is None:
        from merge_core.hub import HubClient

        hub = HubClient()
    return Needs({name: hub.bytes_to_fetch(c) for name, c in absent.items()} if hub else {}, output)


def require_room(wanted: Mapping[Path, int], takes: str = "this takes") -> None:
    """Find out before the work that a disk is too small for it; folders on one disk count together.

    Args:
        wanted: bytes to be written under each folder, which need not exist.
        takes: who takes that room, for the error.

    Raises:
        UserError: says how much is missing where.
    """
    disks: dict[int, list[tuple[Path, Path, int]]] = {}
    for folder, nbytes in wanted.items():
        near = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
        disks.setdefault(near.stat().st_dev, []).append((near, folder, nbytes))
    for parts in disks.values():
        needed = sum(nbytes for _, _, nbytes in parts)
        free = shutil.disk_usage(parts[0][0]).free
        if needed and needed + SPARE > free:
            where = " and ".join(
                f"{nbytes / 1e6:,.1f} MB in {folder}" for _, folder, nbytes in parts if nbytes
            )
            raise UserError(
                f"No space on the disk: {takes} {where}, and {free / 1e6:,.1f} MB are free.",
                "Free some space (`python -m merge_core cache` lists what can go), or set HF_HOME to another disk.",
            )


def memory_there() -> int | None:
    """Bytes of memory that the system could give to a process now; None where it does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, IndexError, StopIteration):
        return None
