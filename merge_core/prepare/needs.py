"""Room on the disk: what a piece of work will write, and whether that fits."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from merge_core.checkpoint import Checkpoint
from merge_core.checkpoint.lora import is_adapter, parts_of
from merge_core.errors import UserError
from merge_core.home import on_space
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
        streams: bytes of weights that are read where they lie instead of being fetched, by `owner/name@commit`.
    """

    downloads: Mapping[str, int] = field(default_factory=dict)
    output: int = 0
    streams: Mapping[str, int] = field(default_factory=dict)

    @property
    def download(self) -> int:
        """Bytes still to be fetched in all."""
        return sum(self.downloads.values())

    @property
    def stream(self) -> int:
        """Bytes of weights that are read where they lie in all."""
        return sum(self.streams.values())


class NoRoom(UserError):
    """A disk is too small for what is to be written on it."""


def needs_of(
    checkpoints: Mapping[ModelRef, Checkpoint], hub: HubClient | None = None, output: int = 0
) -> Needs:
    """What it takes to have all `checkpoints` here, and to write `output` bytes.

    Args:
        checkpoints: opened models.
        hub: where those were opened that are not here; None uses the default client, made only if it is needed.
        output: bytes, see `preflight.Verdict.bytes_out`.
    """
    absent = _absent(checkpoints.values())
    if absent and hub is None:
        hub = _default_hub()
    return Needs({name: hub.bytes_to_fetch(c) for name, c in absent.items()} if hub else {}, output)


def needs_streamed(
    checkpoints: Mapping[ModelRef, Checkpoint],
    template: ModelRef,
    hub: HubClient | None = None,
    output: int = 0,
) -> Needs:
    """What a merge takes that reads the weights of models on the Hub where they lie; adapters are fetched.

    Args:
        checkpoints, hub, output: see `needs_of`.
        template: the model whose small files the output takes over, see `preflight.template_ref`.
    """
    absent = _absent(checkpoints.values())
    downloads, streams = {}, {}
    for name, part in absent.items():
        hub = hub or _default_hub()
        if is_adapter(part):
            downloads[name] = hub.bytes_to_fetch(part)
            continue
        streams[name] = part.nbytes
        if name in _absent([checkpoints[template]]) and (beside := hub.bytes_beside(part)):
            downloads[name] = beside
    return Needs(downloads, output, streams)


def _absent(checkpoints: Iterable[Checkpoint]) -> dict[str, Checkpoint]:
    """The models and adapters that are not on this machine, by `owner/name@commit`."""
    parts = [part for checkpoint in checkpoints for part in parts_of(checkpoint)]
    return {f"{ModelRef.parse(p.ref).path}@{p.commit}": p for p in parts if p.root is None}


def _default_hub() -> HubClient:
    from merge_core.hub import HubClient

    return HubClient()


@dataclass(frozen=True)
class Shortage:
    """A disk that is too small.

    Args:
        device: the disk, as `disk_of` numbers it.
        wanted: bytes to be written under each of its folders.
        free: bytes that are free.
        missing: bytes that would have to be freed.
    """

    device: int
    wanted: Mapping[Path, int]
    free: int
    missing: int


def disk_of(folder: Path) -> int:
    """The number of the disk that holds a folder, or will."""
    return _nearest(folder).stat().st_dev


def shortages(wanted: Mapping[Path, int]) -> list[Shortage]:
    """The disks that are too small; folders on one disk count together.

    Args:
        wanted: bytes to be written under each folder, which need not exist.
    """
    disks: dict[int, dict[Path, int]] = {}
    for folder, nbytes in wanted.items():
        if nbytes:
            disks.setdefault(disk_of(folder), {})[folder] = nbytes
    found = []
    for device, parts in disks.items():
        free = shutil.disk_usage(_nearest(next(iter(parts)))).free
        missing = sum(parts.values()) + SPARE - free
        if missing > 0:
            found.append(Shortage(device, parts, free, missing))
    return found


def require_room(wanted: Mapping[Path, int], takes: str = "this takes") -> None:
    """Find out before the work that a disk is too small for it.

    Args:
        wanted: see `shortages`.
        takes: who takes that room, for the error.

    Raises:
        NoRoom: says how much is missing where.
    """
    for short in shortages(wanted):
        where = " and ".join(f"{nbytes / 1e6:,.1f} MB in {folder}" for folder, nbytes in short.wanted.items())
        hint = (
            "What can go here makes way by itself, and that was not enough: try smaller models, or later."
            if on_space()
            else "Free some space: `python -m merge_core cache` lists the models and runs, which only you remove. Or "
            "set HF_HOME to another disk."
        )
        raise NoRoom(f"No space on the disk: {takes} {where}, and {short.free / 1e6:,.1f} MB are free.", hint)


def _nearest(folder: Path) -> Path:
    """The folder, or the first above it that exists."""
    return next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())


def memory_there() -> int | None:
    """Bytes of memory that the system could give to a process now; None where it does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, IndexError, StopIteration):
        return None
